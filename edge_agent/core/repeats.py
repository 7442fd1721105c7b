"""Readings that state a time again: a channel and a time name one point for ever, so that writing it twice is harmless.

    same value       the reading was there already: it is left out, and counted
    another value    it gets a point of its own, a few ns later, and the mark "conflict"

Looked for among the channel's last DEPTH readings. Without this the second statement of a point, marked otherwise
than the first (late, say), would replace it or not, depending on which of two batches is written last.

Invariant: what is found depends on the readings before it, never on how they were cut into batches.
"""

import numpy as np
from numpy.typing import NDArray

from edge_agent.core.align import NEVER
from edge_agent.core.segments import Segments, grown, kept, lasts_of, preceding, trailing

DEPTH = 16

Ids = NDArray[np.intp]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Repeats:
    """State: rings with the times and values of each channel's last readings, and how many there ever were."""

    def __init__(self) -> None:
        self.times: Ints = np.empty((0, DEPTH), np.int64)
        self.values: Floats = np.empty((0, DEPTH))
        self.count: Ints = np.empty(0, np.int64)
        self.newest_ns: Ints = np.empty(0, np.int64)

    def grow(self, channels: int) -> None:
        """Make room for more channels."""
        self.times = grown(self.times, channels, NEVER)
        self.values = grown(self.values, channels, np.nan)
        self.count = grown(self.count, channels, 0)
        self.newest_ns = grown(self.newest_ns, channels, NEVER)

    def step(self, grouped: Segments, time_ns: Ints, value: Floats) -> tuple[Flags, Ints]:
        """Take n readings in grouped order, [n] each.

        Returns (is_repeated [n], how many earlier readings state the same time with another value [n]).
        """
        is_repeated, conflicts = np.zeros(len(time_ns), bool), np.zeros(len(time_ns), np.int64)
        if not len(time_ns):
            return is_repeated, conflicts
        before = preceding(time_ns, grouped.starts, self.newest_ns[grouped.series])
        # Where times only ever ascend, none can have been there before.
        doubtful = np.logical_or.reduceat(time_ns <= before, grouped.starts)
        if doubtful.any():
            at = np.flatnonzero(doubtful[grouped.rank])
            is_repeated[at], conflicts[at] = self._look(kept(grouped, doubtful[grouped.rank]), time_ns[at], value[at])
        self._remember(grouped, time_ns, value)
        return is_repeated, conflicts

    def last(self, channels: Ids) -> Floats:
        """The last value of each of these channels, NaN = none came yet."""
        return self.values[channels, (self.count[channels] - 1) % DEPTH]

    def _look(self, grouped: Segments, time_ns: Ints, value: Floats) -> tuple[Flags, Ints]:
        oldest_first = (self.count[grouped.series, None] + np.arange(DEPTH)) % DEPTH
        own = grouped._replace(series=np.arange(len(grouped.series)))
        times = trailing(own, time_ns, np.take_along_axis(self.times[grouped.series], oldest_first, axis=1))
        values = trailing(own, value, np.take_along_axis(self.values[grouped.series], oldest_first, axis=1))
        same_time = times[:, :-1] == times[:, -1:]
        same = values[:, :-1] == values[:, -1:]
        return (same_time & same).any(axis=1), (same_time & ~same).sum(axis=1)

    def _remember(self, grouped: Segments, time_ns: Ints, value: Floats) -> None:
        ends = lasts_of(grouped.starts, len(time_ns)) + 1
        last = np.flatnonzero(ends[grouped.rank] - np.arange(len(time_ns)) <= DEPTH)
        rank = grouped.rank[last]
        channel = grouped.series[rank]
        ring = (self.count[channel] + last - grouped.starts[rank]) % DEPTH
        self.times[channel, ring] = time_ns[last]
        self.values[channel, ring] = value[last]
        self.count[grouped.series] += ends - grouped.starts
        newest = np.maximum.reduceat(time_ns, grouped.starts)
        self.newest_ns[grouped.series] = np.maximum(self.newest_ns[grouped.series], newest)
