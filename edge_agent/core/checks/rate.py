"""Rate of change: a value that moves faster than `max_rate_per_s` since the reading before it: UNCERTAIN_RATE.

In units of the value a second of event time. Both flanks of a spike are marked, and so is the first reading after a
real step. Warm-up: one reading. Source: the rate-of-change test of IOOS QARTOD (Manual for Real-Time Quality Control).
"""

import numpy as np

from edge_agent.core.checks.rows import Floats, LastReading, Rows, before
from edge_agent.core.segments import Ids


class Rate(LastReading):
    """State per channel: time and value of the last reading."""

    def step(self, rows: Rows, max_rate_per_s: Floats) -> Ids:
        """The readings that moved too fast; the limit is [channels]. Times must ascend on each channel."""
        passed_s = (rows.time_ns - before(rows, rows.time_ns, self.time_ns)) / 1e9
        # Of the first reading the move is NaN, which is above no limit.
        moved = np.abs(rows.value - before(rows, rows.value, self.value))
        return np.flatnonzero(moved > rows.spread(max_rate_per_s) * passed_s)
