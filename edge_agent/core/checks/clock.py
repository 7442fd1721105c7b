"""The clock of a sender, held against the gateway's: an asset is a sender. UNCERTAIN_CLOCK, UNCERTAIN_CLOCK_JUMP.

The offset of a reading is its time less the gateway's clock at the last tick before it (0: unknown, nothing is
judged). `max_skew_s` is how far it may lie ahead. A sender that is late by habit (a mean stamped at its beginning, a
slow radio) looks like one whose clock is behind: that is judged only where `max_delay_s` says what is too long.

    ahead   an offset above max_skew_s: marked at once, and `is_ahead`: such a reading must not move a watermark.
            When all readings of the asset have been ahead for a while, it lives in a time of its own: those that are
            no more than max_skew_s beyond its usual offset are marked, but not `is_ahead`.
    behind  all readings of the asset have been late by more than max_delay_s for a while, by a delay that does not
            shrink (a backlog that is caught up shrinks): marked as long as it lasts.
    jump    the newest times of the asset have for a while stayed more than max_skew_s below what it said before, and
            go at the speed of the gateway's clock (late readings and backlogs do not): readings whose time it had
            said before are marked.

A while is DEPTH stretches in which the asset spoke, each at least max_skew_s / (DEPTH - 1) of the gateway's clock: no
less than max_skew_s together, and that is delay and warm-up of all but `ahead`. What is learnt changes at ticks only.
A backlog that is caught up at less than 9/8 of the speed of time passes for a clock that is behind. One channel that
is late or ahead while others of its asset are not is no matter of the clock: only what is ahead of it is marked. A
reading that names no time (UNCERTAIN_ARRIVAL_TIME) tells nothing of its sender's clock.
"""

from typing import NamedTuple

import numpy as np

from edge_agent.core.align import NEVER
from edge_agent.core.checks.rows import NONE, Flags, Ints, Rows
from edge_agent.core.segments import Ids, grown

DEPTH = 15
_HALF = DEPTH // 2
_SHRINK = 8  # a delay may change by an eighth of the time that passes and still be constant
_EVER = np.iinfo(np.int64).max


class Told(NamedTuple):
    """What the clocks say about m readings: positions, ascending."""

    off: Ids
    jumped: Ids
    is_ahead: Ids


_NOTHING = Told(NONE, NONE, NONE)


class SenderClock:
    """State per asset: the stretch that is open, the last DEPTH stretches, and what was learnt of them."""

    def __init__(self) -> None:
        self.open_ns: Ints = np.empty(0, np.int64)  # [assets], the gateway's clock when the stretch began; NEVER: none
        self.least_ns: Ints = np.empty(0, np.int64)  # [assets], least offset in it
        self.most_ns: Ints = np.empty(0, np.int64)  # [assets], largest offset of those not ahead
        self.newest_ns: Ints = np.empty(0, np.int64)  # [assets], newest time of those not ahead
        self.opens: Ints = np.empty((0, DEPTH), np.int64)  # the same of the stretches before, newest last
        self.leasts: Ints = np.empty((0, DEPTH), np.int64)
        self.mosts: Ints = np.empty((0, DEPTH), np.int64)
        self.newests: Ints = np.empty((0, DEPTH), np.int64)
        self.usual_ns: Ints = np.empty(0, np.int64)  # [assets], offset of an asset in a time of its own; else 0
        self.is_behind: Flags = np.empty(0, bool)  # [assets]
        self.said_ns: Ints = np.empty(0, np.int64)  # [assets], newest time before the open stretch
        self.before_jump_ns: Ints = np.empty(0, np.int64)  # [assets], newest time before the clock jumped back

    def grow(self, assets: int) -> None:
        """Make room for more assets."""
        for name in ("open_ns", "most_ns", "newest_ns", "opens", "mosts", "newests", "said_ns", "before_jump_ns"):
            setattr(self, name, grown(getattr(self, name), assets, NEVER))
        self.least_ns, self.leasts = grown(self.least_ns, assets, _EVER), grown(self.leasts, assets, NEVER)
        self.usual_ns, self.is_behind = grown(self.usual_ns, assets, 0), grown(self.is_behind, assets, False)

    def step(self, rows: Rows, asset: Ids, max_skew_ns: Ints, max_delay_ns: Ints, clock_ns: int) -> Told:
        """Take m readings; asset: [k], of each channel touched; the limits: [channels]; clock_ns: known."""
        skew_ns, delay_ns, starts = max_skew_ns[rows.series], max_delay_ns[rows.series], rows.grouped.starts
        oldest, newest = np.minimum.reduceat(rows.time_ns, starts), np.maximum.reduceat(rows.time_ns, starts)
        told = _NOTHING
        is_far = newest - clock_ns > skew_ns
        is_back = (self.is_behind[asset] & (clock_ns - oldest > delay_ns)) | (oldest <= self.before_jump_ns[asset])
        if (is_far | is_back).any():
            told = self._judge(rows, asset, skew_ns, delay_ns, clock_ns)
            if len(told.is_ahead):
                rest = rows.time_ns.copy()
                rest[told.is_ahead] = NEVER
                newest = np.maximum.reduceat(rest, starts)
        self.open_ns[asset[self.open_ns[asset] == NEVER]] = clock_ns
        np.minimum.at(self.least_ns, asset, oldest - clock_ns)
        np.maximum.at(self.newest_ns, asset, newest)
        np.maximum.at(self.most_ns, asset, np.where(newest > NEVER, newest - clock_ns, NEVER))
        return told

    def _judge(self, rows: Rows, asset: Ids, skew_ns: Ints, delay_ns: Ints, clock_ns: int) -> Told:
        rank = rows.grouped.rank
        sender, skew, offset_ns = asset[rank], skew_ns[rank], rows.time_ns - clock_ns
        is_far = offset_ns > skew
        usual_ns = self.usual_ns[sender]
        return Told(
            off=np.flatnonzero(is_far | (self.is_behind[sender] & (-offset_ns > delay_ns[rank]))),
            jumped=np.flatnonzero(rows.time_ns <= self.before_jump_ns[sender]),
            is_ahead=np.flatnonzero(is_far & (offset_ns - usual_ns > skew)),
        )

    def tick(self, asset_skew_ns: Ints, asset_delay_ns: Ints, clock_ns: int) -> Ids:
        """The gateway's clock has come this far: returns the assets whose clock turns out to have jumped back.

        The limits: [assets], the smallest of their channels.
        """
        due = (self.open_ns > NEVER) & (clock_ns - self.open_ns >= asset_skew_ns // (DEPTH - 1))
        at = np.flatnonzero(due)
        if not clock_ns or not len(at):
            return NONE
        for ring, newest in (
            (self.opens, self.open_ns),
            (self.leasts, self.least_ns),
            (self.mosts, self.most_ns),
            (self.newests, self.newest_ns),
        ):
            ring[at] = np.column_stack((ring[at, 1:], newest[at]))
        skew_ns, mosts, newests = asset_skew_ns[at], self.mosts[at], self.newests[at]
        is_learnt = self.opens[at, 0] > NEVER
        usual_ns = _median(self.leasts[at])
        self.usual_ns[at] = np.where(is_learnt & (usual_ns > skew_ns), usual_ns, 0)
        is_constant = is_learnt & (mosts.min(axis=1) > NEVER) & self._keeps_its_delay(at)
        self.is_behind[at] = is_constant & (mosts.max(axis=1) < -asset_delay_ns[at])
        newest_ns, said_ns = newests.max(axis=1), self.said_ns[at]
        is_back = is_constant & (newest_ns < said_ns - skew_ns)
        jumped: Ids = at[is_back]
        self.before_jump_ns[jumped] = np.maximum(self.before_jump_ns[jumped], said_ns[is_back])
        self.said_ns[at] = np.where(is_back, newest_ns, np.maximum(said_ns, self.newest_ns[at]))
        for state, empty in (
            (self.open_ns, NEVER),
            (self.least_ns, _EVER),
            (self.most_ns, NEVER),
            (self.newest_ns, NEVER),
        ):
            state[at] = empty
        return jumped

    def _keeps_its_delay(self, at: Ids) -> Flags:
        """Whether the offset changed by little between the first and the last stretches, by their medians."""
        moved_ns = _median(self.mosts[at, -_HALF:]) - _median(self.mosts[at, :_HALF])
        passed_ns = _median(self.opens[at, -_HALF:]) - _median(self.opens[at, :_HALF])
        out: Flags = np.abs(moved_ns) <= passed_ns // _SHRINK
        return out


def _median(rows: Ints) -> Ints:
    """Of an odd number of columns."""
    out: Ints = np.sort(rows, axis=1)[:, rows.shape[1] // 2]
    return out
