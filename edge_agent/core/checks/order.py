"""Order: a reading whose event time is not above all before it on its channel: UNCERTAIN_ORDER.

It has no neighbours that a check or a filter could hold it against, and becomes nobody's neighbour. Readings of a
clock that is ahead (see clock.py) are not handed in, so that they put nobody out of order; when a sender's clock has
jumped back for good, its channels begin anew. No warm-up.
"""

import numpy as np

from edge_agent.core.align import NEVER
from edge_agent.core.checks.rows import Flags, Ints, Rows
from edge_agent.core.segments import Ids, grown, running_max


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
        newest_ns = self.newest_ns[rows.series]
        earlier = np.empty_like(rows.time_ns)
        earlier[1:] = rows.time_ns[:-1]
        earlier[rows.grouped.starts] = newest_ns
        ascends = rows.time_ns > earlier
        if ascends.all():
            self.newest_ns[rows.series] = rows.time_ns[rows.ends]
            return ascends
        # By their ranks, for the times themselves may span all of an int64.
        known, ranks = np.unique(rows.time_ns, return_inverse=True)
        so_far = known[running_max(ranks, rows.grouped.rank)]
        earlier[1:] = so_far[:-1]
        earlier[rows.grouped.starts] = NEVER
        self.newest_ns[rows.series] = np.maximum(newest_ns, so_far[rows.ends])
        out: Flags = rows.time_ns > np.maximum(earlier, newest_ns[rows.grouped.rank])
        return out
