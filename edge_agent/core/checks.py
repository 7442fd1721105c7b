"""Checks of a reading against those before it on the same channel: readings are marked, never removed or changed.

    rate   the value moves faster than `max_rate_per_s` since the reading before it
    flat   the value has been exactly the same for longer than `flat_s`, in event time: a sensor that sticks

Both look at readings in order of arrival that are usable (no bad range); one whose time does not ascend is not judged
and becomes nobody's neighbour. Invariant: marks depend on the readings before, never on how they were cut into batches.
"""

import numpy as np
from numpy.typing import NDArray

from edge_agent.core.align import NEVER
from edge_agent.core.segments import grown, running_max, segments, windows

Ids = NDArray[np.intp]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Neighbours:
    """State per channel: the last judged reading, and since when its value has been what it is."""

    def __init__(self) -> None:
        self.time_ns: Ints = np.empty((0, 1), np.int64)
        self.value: Floats = np.empty((0, 1))
        self.since_ns: Ints = np.empty(0, np.int64)

    def grow(self, channels: int) -> None:
        """Make room for more channels."""
        self.time_ns = grown(self.time_ns, channels, NEVER)
        self.value = grown(self.value, channels, np.nan)
        self.since_ns = grown(self.since_ns, channels, NEVER)

    def step(
        self, ids: Ids, time_ns: Ints, value: Floats, max_rate_per_s: Floats, flat_ns: Ints
    ) -> tuple[Flags, Flags]:
        """Take n usable readings in order of arrival, [n] each; the limits are inf and the largest int64 for none.

        Returns (is_too_fast [n], is_flat [n]).
        """
        too_fast, flat = np.zeros(len(ids), bool), np.zeros(len(ids), bool)
        at = np.flatnonzero(self._ascends(ids, time_ns))
        if not len(at):
            return too_fast, flat
        grouped = segments(ids[at])
        order = at[grouped.order]
        times, values = windows(grouped, time_ns[at], self.time_ns), windows(grouped, value[at], self.value)
        is_first = times[:, 0] == NEVER
        passed_ns = np.where(is_first, 1, times[:, 1] - times[:, 0])
        moved = np.where(is_first, 0.0, np.abs(values[:, 1] - values[:, 0]))
        too_fast[order] = moved > max_rate_per_s[order] * (passed_ns / 1e9)
        since_ns = self._since(grouped.starts, grouped.series, times[:, 1], values[:, 1] == values[:, 0])
        flat[order] = times[:, 1] - since_ns > flat_ns[order]
        last = np.append(grouped.starts[1:], len(order)) - 1
        self.since_ns[grouped.series] = since_ns[last]
        return too_fast, flat

    def _ascends(self, ids: Ids, time_ns: Ints) -> Flags:
        """Whether each reading is newer than all before it on its channel."""
        if not len(ids):
            return np.zeros(0, bool)
        grouped = segments(ids)
        ordered = time_ns[grouped.order]
        # By their ranks, for the times themselves may span all of an int64.
        known, ranks = np.unique(ordered, return_inverse=True)
        before = np.append(NEVER, known[running_max(ranks, grouped.rank)[:-1]])
        before[grouped.starts] = NEVER
        out = np.empty(len(ids), bool)
        out[grouped.order] = ordered > np.maximum(before, self.time_ns[grouped.series, 0][grouped.rank])
        return out

    def _since(self, starts: Ids, series: Ids, time_ns: Ints, is_same: Flags) -> Ints:
        """Since when each reading's value has been what it is: its own time, or that of the first of its run."""
        began = np.where(is_same, NEVER, time_ns)
        # The first of a channel's run may lie in an earlier step.
        carried = is_same[starts]
        began[starts[carried]] = self.since_ns[series[carried]]
        run = np.maximum.accumulate(np.where(began > NEVER, np.arange(len(began)), 0))
        out: Ints = began[run]
        return out
