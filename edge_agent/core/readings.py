"""Readings as columns: what a decoder makes of messages and what the journal keeps.

`Readings` is a structure of arrays with a dictionary of channels, so that one journal entry can be read
by itself. `Waveform` is a block of samples at a high rate; it stays whole until the feature stage.
"""

from collections.abc import Sequence
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
    is_timed: bool  # whether the message itself says when each of them was measured


@dataclass(frozen=True, slots=True)
class Readings:
    """Columns of n readings in order of arrival."""

    channels: list[ChannelKey]
    index: NDArray[np.int32]  # [n], position in `channels`
    time_ns: NDArray[np.int64]  # [n], event time
    value: NDArray[np.float64]  # [n]
    quality: NDArray[np.uint8]  # [n]


def join(parts: Sequence[Readings]) -> Readings:
    """One after the other."""
    base = np.cumsum([0, *(len(part.channels) for part in parts[:-1])]).astype(np.int32)
    columns = (np.concatenate([getattr(part, name) for part in parts]) for name in ("time_ns", "value", "quality"))
    index = np.concatenate([part.index for part in parts]) + np.repeat(base, [len(part.index) for part in parts])
    return Readings([key for part in parts for key in part.channels], index, *columns)


class ReadingsBuilder:
    """Collects decoded messages into one entry's columns, in the order of their positions. Pure; used once a commit."""

    def __init__(self) -> None:
        self._ids: dict[ChannelKey, int] = {}
        self._rows: list[tuple[int, int, float, int, int]] = []  # index, time_ns, value, quality, position
        self._blocks: list[tuple[NDArray[np.generic], ...]] = []
        self._waveforms: list[tuple[int, Waveform]] = []

    def add(self, decoded: Decoded, arrival_ns: int, position: int) -> None:
        """One message that arrived at `arrival_ns`; a value without a time gets that, and is marked."""
        self._waveforms += [(position, waveform) for waveform in decoded.waveforms]
        untimed: dict[int, int] = {}
        for channel, time_ns, value in decoded.values:
            index = self._ids.setdefault(channel, len(self._ids))
            if time_ns is None:
                # Two values of one channel must not share a time: the later would take the place of the earlier.
                untimed[index] = nth = untimed.get(index, -1) + 1
                self._rows.append((index, arrival_ns + nth, value, Quality.UNCERTAIN_ARRIVAL_TIME, position))
            else:
                self._rows.append((index, time_ns, value, Quality.GOOD, position))

    def add_block(
        self,
        channels: Sequence[ChannelKey],
        time_ns: NDArray[np.int64],
        value: NDArray[np.float64],
        position: NDArray[np.int64],
    ) -> None:
        """Messages of one good reading each, [n]."""
        ids = self._ids
        index = np.array([ids.setdefault(channel, len(ids)) for channel in channels], np.int32)
        self._blocks.append((index, time_ns, value, np.full(len(index), Quality.GOOD, np.uint8), position))

    def build(self) -> tuple[Readings, list[Waveform]]:
        """The columns, and the waveforms with their positions among the readings."""
        rows = list(zip(*self._rows, strict=True)) or [()] * 5
        types = (np.int32, np.int64, np.float64, np.uint8, np.int64)
        blocks = [*self._blocks, tuple(np.array(column, kind) for column, kind in zip(rows, types, strict=True))]
        index, time_ns, value, quality, position = (np.concatenate(column) for column in zip(*blocks, strict=True))
        if len(self._rows) and len(index) > len(self._rows):
            order = np.argsort(position, kind="stable")
            index, time_ns, value, quality, position = (
                column[order] for column in (index, time_ns, value, quality, position)
            )
        waveforms = [
            msgspec.structs.replace(waveform, position=int(np.searchsorted(position, at)))
            for at, waveform in self._waveforms
        ]
        return Readings(list(self._ids), index, time_ns, value, quality), waveforms
