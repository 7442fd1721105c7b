"""Readings as columns: what a decoder makes of messages and what the journal keeps.

`Readings` is a structure of arrays with a dictionary of channels, so that one journal entry can be read
by itself. `Waveform` is a block of samples at a high rate; it stays whole until the feature stage.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

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
    quality: int = Quality.GOOD  # what the message itself says of it


class Column(NamedTuple):
    """Many readings of one channel in one message, [n], n > 0. Their times are known, if only from the arrival."""

    channel: ChannelKey
    time_ns: NDArray[np.int64]
    value: NDArray[np.float64]  # finite
    dt_ns: int  # from each to the next; 0: they are not equally far apart
    quality: int = Quality.GOOD


class Waveform(msgspec.Struct, frozen=True, kw_only=True):
    """Samples of one channel; `position` readings of the same entry came before it."""

    channel: ChannelKey
    time_ns: int  # of the first sample
    dt_ns: int
    samples: bytes  # float32, little-endian
    position: int = 0
    quality: int = 0


class Decoded(NamedTuple):
    """What one message holds, in its own order: the values, then the columns.

    A decoder makes columns; those of channels that are declared waveforms become `waveforms` in the intake.
    """

    values: list[Value]
    waveforms: list[Waveform]
    is_timed: bool  # whether the message itself says when each of them was measured
    columns: Sequence[Column] = ()
    skipped: int = 0  # values that the topic's settings leave out: nulls, texts
    left_out: str = ""  # what a message that has taken effect holds and cannot be stored, in words; empty: nothing


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
        for channel, time_ns, value, quality in decoded.values:
            index = self._ids.setdefault(channel, len(self._ids))
            if time_ns is None:
                # Two values of one channel must not share a time: the later would take the place of the earlier.
                untimed[index] = nth = untimed.get(index, -1) + 1
                mark = quality or Quality.UNCERTAIN_ARRIVAL_TIME
                self._rows.append((index, arrival_ns + nth, value, mark, position))
            else:
                self._rows.append((index, time_ns, value, quality, position))
        for column in decoded.columns:
            count = np.array([len(column.value)])
            at = np.array([position])
            self.add_block([column.channel], column.time_ns, column.value, at, count, column.quality)

    def add_block(
        self,
        channels: Sequence[ChannelKey],
        time_ns: NDArray[np.int64],
        value: NDArray[np.float64],
        position: NDArray[np.int64],
        count: NDArray[np.int64] | None = None,
        quality: int = Quality.GOOD,
    ) -> None:
        """Messages [m] of one channel each; of `count` readings each, [m], or of one; all readings: [n]."""
        ids = self._ids
        index = np.array([ids.setdefault(channel, len(ids)) for channel in channels], np.int32)
        if count is not None:
            index, position = np.repeat(index, count), np.repeat(position, count)
        self._blocks.append((index, time_ns, value, np.full(len(index), quality, np.uint8), position))

    def build(self) -> tuple[Readings, list[Waveform]]:
        """The columns, and the waveforms with their positions among the readings."""
        blocks = self._blocks
        if self._rows or not blocks:
            rows = list(zip(*self._rows, strict=True)) or [()] * 5
            types = (np.int32, np.int64, np.float64, np.uint8, np.int64)
            # Rows first: within a message its values stand before its columns.
            blocks = [tuple(np.array(column, kind) for column, kind in zip(rows, types, strict=True)), *blocks]
        columns: list[NDArray[Any]] = list(blocks[0])
        if len(blocks) > 1:
            columns = [np.concatenate(parts) for parts in zip(*blocks, strict=True)]
            order = np.argsort(columns[-1], kind="stable")
            columns = [column[order] for column in columns]
        index, time_ns, value, quality, position = columns
        waveforms = [
            msgspec.structs.replace(waveform, position=int(np.searchsorted(position, at)))
            for at, waveform in self._waveforms
        ]
        return Readings(list(self._ids), index, time_ns, value, quality), waveforms
