"""Order: a reading whose event time is not above all before it on its channel: UNCERTAIN_ORDER.

It has no neighbours that a check or a filter could hold it against, and becomes nobody's neighbour. Readings of a
clock that is ahead (see clock.py) are not handed in, so that they put nobody out of order; when a sender's clock has
jumped back for good, its channels begin anew. No warm-up.
"""

import numpy as np

from edge_agent.core.align import NEVER
from edge_agent.core.checks.rows import Flags, Ints, Rows
from edge_agent.core.segments import Ids, ascending, grown


class Order:
    """State per channel: the newest event time."""

    def __init__(self) -> None:
        self.newest_ns: Ints = np.empty(0, np.int64)

    def grow(self, channels: int) -> None:
        """Make room for more channels."""
        self.newest_ns = grown(self.newest_ns, channels, NEVER)

    def forget(self, channels: Ids | Flags) -> None:
        """What was said before counts no more."""
        self.newest_ns[channels] = NEVER

    def step(self, rows: Rows) -> Flags:
        """Whether each reading is newer than all before it on its channel [m]."""
        newest_ns, starts = self.newest_ns[rows.series], rows.grouped.starts
        ascends = ascending(rows.time_ns, starts, rows.grouped.rank, newest_ns)
        self.newest_ns[rows.series] = np.maximum(newest_ns, np.maximum.reduceat(rows.time_ns, starts))
        return ascends
