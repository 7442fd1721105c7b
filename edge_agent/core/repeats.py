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
from edge_agent.core.segments import grown, segments, windows

DEPTH = 16

Ids = NDArray[np.intp]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Repeats:
    """State: the times and values of each channel's last readings, [channels, DEPTH]."""

    def __init__(self) -> None:
        self.times: Ints = np.empty((0, DEPTH), np.int64)
        self.values: Floats = np.empty((0, DEPTH))

    def grow(self, channels: int) -> None:
        """Make room for more channels."""
        self.times = grown(self.times, channels, NEVER)
        self.values = grown(self.values, channels, np.nan)

    def step(self, ids: Ids, time_ns: Ints, value: Floats) -> tuple[NDArray[np.bool_], Ints]:
        """Take n readings in order of arrival, [n] each.

        Returns (is_repeated [n], how many earlier readings state the same time with another value [n]).
        """
        grouped = segments(ids)
        times, values = windows(grouped, time_ns, self.times), windows(grouped, value, self.values)
        same_time = times[:, :-1] == times[:, -1:]
        is_repeated, conflicts = np.zeros(len(ids), bool), np.zeros(len(ids), np.int64)
        if same_time.any():
            same = values[:, :-1] == values[:, -1:]
            is_repeated[grouped.order] = (same_time & same).any(axis=1)
            conflicts[grouped.order] = (same_time & ~same).sum(axis=1)
        return is_repeated, conflicts
