"""Flat line: a value that has been the same for longer than `flat_s`, in event time: UNCERTAIN_FLAT. A stuck sensor.

The same: no move from one reading to the next was larger than `flat_band` (0: exactly the same), so a band belongs
below the noise of a sensor that works; a slow ramp in steps within the band counts as flat. Marked are the readings
beyond `flat_s`, not those that began the line. Warm-up: `flat_s`. Source: the flat line test of IOOS QARTOD.
"""

import numpy as np

from edge_agent.core.align import NEVER
from edge_agent.core.checks.rows import NONE, Flags, Floats, Ints, Rows, before
from edge_agent.core.segments import Ids, grown


class Flat:
    """State per channel: the last value, and since when it has been what it is."""

    def __init__(self) -> None:
        self.value: Floats = np.empty(0)
        self.since_ns: Ints = np.empty(0, np.int64)

    def grow(self, channels: int) -> None:
        """Make room for more channels."""
        self.value = grown(self.value, channels, np.nan)
        self.since_ns = grown(self.since_ns, channels, NEVER)

    def forget(self, channels: Ids | Flags) -> None:
        """The next reading begins a line."""
        self.value[channels] = np.nan

    def step(self, rows: Rows, flat_ns: Ints, flat_band: Floats) -> Ids:
        """The readings on a flat line; settings are [channels]. Times must ascend on each channel."""
        series, starts = rows.series, rows.grouped.starts
        is_same = np.abs(rows.value - before(rows, rows.value, self.value)) <= rows.spread(flat_band)
        if not is_same.any():
            self.since_ns[series] = rows.time_ns[rows.ends]
            return NONE
        began = np.where(is_same, 0, np.arange(len(is_same)))
        began[starts] = starts
        since_ns = rows.time_ns.copy()
        # The first of a channel's line may lie in an earlier step.
        since_ns[starts] = np.where(is_same[starts], self.since_ns[series], rows.time_ns[starts])
        since_ns = since_ns[np.maximum.accumulate(began)]
        self.since_ns[series] = since_ns[rows.ends]
        return np.flatnonzero(rows.time_ns - since_ns > rows.spread(flat_ns))
