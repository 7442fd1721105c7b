"""From scores to alarms: a threshold with hysteresis, per asset and model.

    CLOSED ──open_after windows in a row beyond open_at──▶ OPEN
       ▲                                                    │
       └──close_after windows in a row back at close_at─────┘

A window that was not scored is no evidence for either side. An alarm's id is made of its asset, model and
opening time, so that a replay gives the same one.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.bundle import Manifest
from models.contract.batch import Alarm

_WHY = 3  # channels that an alarm names


class Scores(NamedTuple):
    """A model's outputs for n windows: name -> [n], and the contribution of each channel [n, channels] or None."""

    fields: dict[str, NDArray[np.float64]]
    contribution: NDArray[np.float64] | None


class Decide:
    """State: asset name -> (time the alarm opened, 0 = closed; windows in a row towards the other state)."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.states: dict[str, tuple[int, int]] = {}

    def step(self, assets: Iterable[str], time_ns: NDArray[np.int64], scores: Scores) -> list[Alarm]:
        """Take n scored windows, ascending in time for each asset; returns the changes in the same order."""
        limit = self.manifest.threshold
        score = scores.fields[limit.output]
        beyond = score >= limit.open_at if limit.above else score <= limit.open_at
        back = score <= limit.close_at if limit.above else score >= limit.close_at
        changes = []
        for row, asset in enumerate(assets):
            opened_ns, streak = self.states.get(asset, (0, 0))
            towards, needed = (back, limit.close_after) if opened_ns else (beyond, limit.open_after)
            if not towards[row]:
                self.states[asset] = (opened_ns, 0)
            elif streak + 1 < needed:
                self.states[asset] = (opened_ns, streak + 1)
            else:
                now_ns = int(time_ns[row])
                self.states[asset] = (0 if opened_ns else now_ns, 0)
                why = self._why(row, scores)
                changes.append(self._change(asset, now_ns, opened_ns, float(score[row]), why))
        return changes

    def _change(self, asset: str, now_ns: int, opened_ns: int, score: float, why: str) -> Alarm:
        limit, name = self.manifest.threshold, self.manifest.name
        words = limit.output.replace("_", " ")
        if opened_ns:
            message = f"{words} {score:.3g} is back within {limit.close_at:g}"
        else:
            message = f"{words} {score:.3g} {'above' if limit.above else 'below'} {limit.open_at:g}{why}"
        return Alarm(
            asset=asset,
            code=name,
            time_ns=now_ns,
            is_open=not opened_ns,
            severity=limit.severity,
            id=f"{asset}/{name}/{opened_ns or now_ns}",
            message=message,
        )

    def _why(self, row: int, scores: Scores) -> str:
        """The channels that contribute most, in words."""
        if scores.contribution is None:
            return ""
        share = scores.contribution[row]
        top = [i for i in np.argsort(-share, kind="stable")[:_WHY] if share[i] >= 0.1]
        return ": " + ", ".join(f"{self.manifest.channels[i].name} {100 * share[i]:.0f} %" for i in top) if top else ""
