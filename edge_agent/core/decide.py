"""From scores to alarms: a threshold with hysteresis, delays and minimum evidence, per asset and model.

    CLOSED ──open_after scored windows in a row beyond open_at, and─────▶ OPEN
       ▲     `evidence` of the last `evidence_windows` windows scored      │ blind_after unscored windows in a row:
       │                                                                   │ a change that says so
       └──────────close_after scored windows in a row back at close_at─────┘

A window without a score is an abstention: evidence for neither side. It breaks no row, opens nothing and closes
nothing; an open alarm that has not been judged for long says so, and says when it is judged again. An alarm's id is
made of its asset, model and opening time, so that a replay gives the same one; its changes share it.

Invariant: the alarms depend on the windows of an asset and their order, never on how they were cut into steps.
Cost: a pass over all rows for each change of one and the same asset in a step, and one more.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_agent.core.model import Scores
from edge_agent.core.segments import begins, grown, lasts_of, segments, trailing
from edge_agent.core.wording import Wording
from models.contract.batch import Alarm
from models.manifest import Manifest

Ids = NDArray[np.intp]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

_ROWS = 4096  # taken together: where an asset's alarm changes at each row, each pass is over these only
_STATE = ("opened_ns", "spoke_ns", "streak", "blind", "was_scored")


class _Change(NamedTuple):
    """An alarm that opens, closes, or has something to say at a row."""

    row: int
    opened_ns: int  # of the opening
    is_open: bool
    message: str


class Decide:
    """The alarms of one model.

    State, per asset: when its alarm opened (0 = closed) and when it spoke last, scored windows in a row towards the
    other state, windows in a row without a score, and which of the last windows were scored.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.opened_ns: Ints = np.zeros(0, np.int64)
        self.spoke_ns: Ints = np.zeros(0, np.int64)
        self.streak: Ints = np.zeros(0, np.int64)
        self.blind: Ints = np.zeros(0, np.int64)
        self.was_scored: Flags = np.zeros((0, manifest.threshold.evidence_windows - 1), bool)
        self._say = Wording(manifest)

    def grow(self, assets: int) -> None:
        """Make room for more assets."""
        for name in _STATE:
            setattr(self, name, grown(getattr(self, name), assets, 0))

    def step(self, assets: Sequence[str], asset: Ids, time_ns: Ints, scores: Scores) -> list[Alarm]:
        """Take n windows, ascending in time for each asset; NaN = not scored. Returns the changes, by asset and time.

        assets: names; asset: [n], positions in them.
        """
        if not len(asset):
            return []
        grouped = segments(asset)
        score = scores.fields[self.manifest.threshold.output][grouped.order]
        is_scored = np.isfinite(score)
        enough = self._evidence(asset[grouped.order], is_scored)
        alarms = []
        for begin in range(0, len(asset), _ROWS):
            order = grouped.order[begin : begin + _ROWS]
            some = slice(begin, begin + _ROWS)
            for change in self._step(asset[order], time_ns[order], score[some], enough[some], order, scores):
                row = order[change.row]
                self.spoke_ns[asset[row]] = time_ns[row]
                alarms.append(self._alarm(assets[asset[row]], int(time_ns[row]), change))
        return alarms

    def close(self, assets: Sequence[str], numbers: Ids, now_ns: int) -> list[Alarm]:
        """The model judges these assets no more: what is open is closed, and nothing is remembered of them."""
        alarms = []
        for number in numbers[self.opened_ns[numbers] > 0].tolist():
            # Behind all that it has said, though the sender's clock be ahead: the last word in time holds.
            at_ns = max(now_ns, int(self.spoke_ns[number]) + 1)
            change = _Change(0, int(self.opened_ns[number]), is_open=False, message=self._say.leaving())
            alarms.append(self._alarm(assets[number], at_ns, change))
        for name in _STATE:
            getattr(self, name)[numbers] = 0
        return alarms

    def take_over(self, other: "Decide", numbers: Ids) -> None:
        """Go on for these assets where another version of the model stopped: what is open is this one's.

        Under other limits windows in a row are counted anew.
        """
        for name in ("opened_ns", "spoke_ns", "blind"):
            getattr(self, name)[numbers] = getattr(other, name)[numbers]
        mine, its = self.manifest.threshold, other.manifest.threshold
        self.streak[numbers] = other.streak[numbers] if mine == its else 0
        if shared := min(mine.evidence_windows, its.evidence_windows) - 1:
            self.was_scored[numbers, -shared:] = other.was_scored[numbers, -shared:]
        other.opened_ns[numbers] = 0

    def snapshot(self) -> dict[str, Any]:
        """The state as arrays: not a copy."""
        return {name: getattr(self, name) for name in _STATE}

    def restore(self, saved: dict[str, Any]) -> None:
        """The reverse."""
        for name in _STATE:
            setattr(self, name, saved[name])

    def _evidence(self, asset: Ids, is_scored: Flags) -> Flags:
        """Whether there is enough for an alarm to open at each row."""
        limit = self.manifest.threshold
        if limit.evidence_windows == 1:
            return is_scored
        seen: Flags = trailing(segments(asset), is_scored, self.was_scored).sum(axis=1) >= limit.evidence
        return seen

    def _step(
        self, asset: Ids, time_ns: Ints, score: NDArray[np.float64], enough: Flags, at: Ids, scores: Scores
    ) -> list[_Change]:
        """Rows in groups; at: [rows], where they stand in `scores`."""
        limit, is_scored = self.manifest.threshold, np.isfinite(score)
        beyond = score >= limit.open_at if limit.above else score <= limit.open_at
        back = score <= limit.close_at if limit.above else score >= limit.close_at
        opened = self.opened_ns[asset]  # before each row
        if not (beyond | (opened > 0) | ~is_scored).any():  # as a rule: all is well, was well, and was judged
            self.streak[asset] = self.blind[asset] = 0
            return []
        found: list[_Change] = []
        rows = np.flatnonzero(is_scored)
        while len(rows):
            changes, rows = self._next_changes(asset, rows, beyond, back, enough)
            for row in changes.tolist():
                number = asset[row]
                was_ns = int(self.opened_ns[number])
                self.opened_ns[number] = 0 if was_ns else time_ns[row]
                opened[row + 1 : np.searchsorted(asset, number, "right")] = self.opened_ns[number]
                message = self._say.closing(score[row]) if was_ns else self._say.opening(score[row], at[row], scores)
                found.append(_Change(row, was_ns or int(time_ns[row]), not was_ns, message))
        found += self._blindness(asset, opened, score, is_scored, {change.row for change in found})
        return sorted(found)

    def _next_changes(self, asset: Ids, rows: Ids, beyond: Flags, back: Flags, enough: Flags) -> tuple[Ids, Ids]:
        """The first change of each asset among the scored rows, and the rows behind it of the assets that have one.

        rows: ascending, in groups.
        """
        limit = self.manifest.threshold
        is_first = begins(asset[rows])
        starts, rank = np.flatnonzero(is_first), np.cumsum(is_first) - 1
        touched, n = asset[rows[starts]], np.arange(len(rows))
        is_open = (self.opened_ns[touched] > 0)[rank]
        towards = np.where(is_open, back[rows], beyond[rows])
        broken = np.maximum.accumulate(np.where(towards, -1, n))
        carried = broken < starts[rank]  # the row began before these
        streak = n - np.where(carried, starts[rank] - 1 - self.streak[touched][rank], broken)
        is_due = streak >= np.where(is_open, limit.close_after, limit.open_after)
        due = np.flatnonzero(is_due & (is_open | enough[rows]))
        first = due[begins(rank[due])]
        self.streak[touched] = streak[lasts_of(starts, len(rows))]
        self.streak[touched[rank[first]]] = 0
        behind = np.full(len(starts), len(rows))
        behind[rank[first]] = first
        return rows[first], rows[n > behind[rank]]

    def _blindness(
        self, asset: Ids, opened: Ints, score: NDArray[np.float64], is_scored: Flags, changed: set[int]
    ) -> list[_Change]:
        """What open alarms say of windows without a score. opened: before each row."""
        if is_scored.all() and not self.blind[asset].any():
            return []
        limit = self.manifest.threshold
        is_first = begins(asset)
        starts, rank, n = np.flatnonzero(is_first), np.cumsum(is_first) - 1, np.arange(len(asset))
        touched = asset[starts]
        seen = np.maximum.accumulate(np.where(is_scored, n, -1))
        run = n - np.where(seen < starts[rank], starts[rank] - 1 - self.blind[touched][rank], seen)
        before = np.where(is_first, self.blind[asset], np.append(0, run[:-1]))
        self.blind[touched] = run[lasts_of(starts, len(asset))]
        told = opened > 0
        lost = np.flatnonzero(told & (run == limit.blind_after)).tolist()
        back = np.flatnonzero(told & is_scored & (before >= limit.blind_after)).tolist()
        says = [(row, self._say.blind(limit.blind_after)) for row in lost]
        says += [(row, self._say.seeing(score[row])) for row in back if row not in changed]
        return [_Change(row, int(opened[row]), is_open=True, message=message) for row, message in says]

    def _alarm(self, asset: str, time_ns: int, change: _Change) -> Alarm:
        name = self.manifest.name
        return Alarm(
            asset=asset,
            code=name,
            time_ns=time_ns,
            is_open=change.is_open,
            severity=self.manifest.threshold.severity,
            id=f"{asset}/{name}/{change.opened_ns}",
            message=change.message,
        )
