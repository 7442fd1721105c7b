"""No data: a channel from which nothing has come for `no_data_factor` of its usual intervals. UNCERTAIN_NO_DATA.

An interval is by how much the newest event time has moved between two ticks that follow readings, so that a block of
a minute's readings once a minute is an interval of a minute. Mean and variance of its logarithm are learnt
(exponentially weighted, memory 1 / WEIGHT intervals; a single one pulls by no more than a factor of ten):

    usual = exp(mean + 2 deviations)              regular senders: the interval; irregular ones: far above the median
    limit = max(no_data_factor usual, 2 longest)  longest: of the intervals, forgotten by 1 % an interval

so a channel that speaks when something happens is given the pauses that it takes. Silence is measured on the listening
clock, which stands still while the broker is away: an outage of the network is nobody's silence. The longest
interval makes the check blunt for some hundred intervals after an outage.

Warm-up: WARM_UP intervals. Delay: the limit, at least FLOOR_NS, up to a tick more. Looked for at ticks only.
"""

import numpy as np

from edge_agent.core.align import NEVER
from edge_agent.core.checks.rows import NONE, Flags, Floats, Ints, Rows
from edge_agent.core.segments import Ids, grown

WARM_UP = 16
WEIGHT = 1 / 32
FLOOR_NS = 3_000_000_000  # a stall of the agent or the link is not yet a silence
_PULL = np.log(10.0)
_FORGET = 0.99


class Silence:
    """State per channel: what was heard last and when, and what was learnt of the intervals."""

    def __init__(self) -> None:
        self.listened_ns = 0  # the listening clock at the last tick
        self.heard_ns: Ints = np.empty(0, np.int64)  # the listening clock at the tick before the last reading
        self.spoke: Flags = np.empty(0, bool)  # since the last tick
        self.is_silent: Flags = np.empty(0, bool)  # and reported
        self.newest_ns: Ints = np.empty(0, np.int64)  # event time
        self.value: Floats = np.empty(0)  # the last usable one
        self.ticked_ns: Ints = np.empty(0, np.int64)  # what that was at the last tick
        self.intervals: Ints = np.empty(0, np.int64)  # learnt of
        self.mean: Floats = np.empty(0)  # of the logarithm of intervals in s
        self.variance: Floats = np.empty(0)
        self.longest_s: Floats = np.empty(0)

    def grow(self, channels: int) -> None:
        """Make room for more channels."""
        for name in ("heard_ns", "newest_ns", "ticked_ns"):
            setattr(self, name, grown(getattr(self, name), channels, NEVER))
        self.value = grown(self.value, channels, np.nan)
        for name in ("spoke", "is_silent", "intervals", "mean", "variance", "longest_s"):
            setattr(self, name, grown(getattr(self, name), channels, 0))

    def forget(self, channels: Ids | Flags) -> None:
        """Event times begin anew; what was learnt of the intervals stays."""
        self.newest_ns[channels] = self.ticked_ns[channels] = NEVER

    def step(self, rows: Rows, is_usable: Flags) -> None:
        """Take m readings, bad ones as well: they too are data."""
        series = rows.series
        self.heard_ns[series] = self.listened_ns
        self.spoke[series], self.is_silent[series] = True, False
        newest_ns = np.maximum.reduceat(rows.time_ns, rows.grouped.starts)
        self.newest_ns[series] = np.maximum(self.newest_ns[series], newest_ns)
        usable = rows.where(is_usable)
        self.value[usable.series] = usable.value[usable.ends]

    def tick(self, wanted: Flags | bool, no_data_factor: Floats, listened_ns: int) -> Ids:
        """The listening clock has come this far: returns the channels that are silent now, each once.

        wanted: [channels], those to look at, or all or none of them. no_data_factor: [channels].
        """
        self.listened_ns = max(self.listened_ns, listened_ns)
        if wanted is False:
            return NONE
        self._learn()
        asked = wanted & ~self.is_silent & (self.intervals >= WARM_UP)
        asked &= self.listened_ns - self.heard_ns > FLOOR_NS
        at = np.flatnonzero(asked)
        usual_s = np.exp(self.mean[at] + 2 * np.sqrt(self.variance[at]))
        limit_s = np.maximum(no_data_factor[at] * usual_s, 2 * self.longest_s[at])
        silent: Ids = at[(self.listened_ns - self.heard_ns[at]) / 1e9 > limit_s]
        self.is_silent[silent] = True
        return silent

    def _learn(self) -> None:
        spoke = np.flatnonzero(self.spoke)
        if not len(spoke):
            return
        moved_ns = self.newest_ns[spoke] - self.ticked_ns[spoke]
        moved = (self.ticked_ns[spoke] > NEVER) & (moved_ns > 0)
        self.ticked_ns[spoke], self.spoke[spoke] = self.newest_ns[spoke], False
        at, interval_s = spoke[moved], moved_ns[moved] / 1e9
        self.longest_s[at] = np.maximum(self.longest_s[at] * _FORGET, interval_s)
        count = self.intervals[at]
        weight = np.maximum(1 / (count + 1), WEIGHT)
        off = np.log(interval_s) - self.mean[at]
        off = np.where(count > 0, np.clip(off, -_PULL, _PULL), off)
        self.mean[at] += weight * off
        self.variance[at] = np.where(count > 0, (1 - weight) * (self.variance[at] + weight * off**2), 0.0)
        self.intervals[at] = count + 1
