"""Readings as columns: what a decoder makes of messages and what the journal keeps.

`Readings` is a structure of arrays with a dictionary of channels, so that one journal entry can be read
by itself. `Waveform` is a block of samples at a high rate; it stays whole until the feature stage.
"""

from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.contract.quality import Quality

ChannelKey = tuple[str, str]  # (asset, channel)


class Value(NamedTuple):
    """One reading of a decoded message. `time_ns` None: the message names no time."""

    channel: ChannelKey
    time_ns: int | None
    value: float


class Waveform(msgspec.Struct, frozen=True, kw_only=True):
    """Samples of one channel; `position` readings of the same entry came before it."""

    channel: ChannelKey
    time_ns: int  # of the first sample
    dt_ns: int
    samples: bytes  # float32, little-endian
    position: int = 0


class Decoded(NamedTuple):
    """What one message holds, in its own order."""

    values: list[Value]
    waveforms: list[Waveform]


@dataclass(frozen=True, slots=True)
class Readings:
    """Columns of n readings in order of arrival."""

    channels: list[ChannelKey]
    index: NDArray[np.int32]  # [n], position in `channels`
    time_ns: NDArray[np.int64]  # [n], event time
    value: NDArray[np.float64]  # [n]
    quality: NDArray[np.uint8]  # [n]


class ReadingsBuilder:
    """Collects decoded messages into one entry's columns. Pure; used once per commit."""

    def __init__(self) -> None:
        self._ids: dict[ChannelKey, int] = {}
        self._index: list[int] = []
        self._time_ns: list[int] = []
        self._value: list[float] = []
        self._quality: list[int] = []
        self.waveforms: list[Waveform] = []

    def add(self, decoded: Decoded, arrival_ns: int) -> None:
        """Append one message that arrived at `arrival_ns`; a value without a time gets that, and is marked."""
        for waveform in decoded.waveforms:
            self.waveforms.append(msgspec.structs.replace(waveform, position=len(self._index)))
        for channel, time_ns, value in decoded.values:
            self._index.append(self._ids.setdefault(channel, len(self._ids)))
            self._time_ns.append(arrival_ns if time_ns is None else time_ns)
            self._value.append(value)
            self._quality.append(Quality.UNCERTAIN_ARRIVAL_TIME if time_ns is None else Quality.GOOD)

    def build(self) -> Readings:
        """The columns."""
        return Readings(
            list(self._ids),
            np.array(self._index, np.int32),
            np.array(self._time_ns, np.int64),
            np.array(self._value, np.float64),
            np.array(self._quality, np.uint8),
        )
