"""A model of remaining life on machines that it was not fitted on, which ran until they failed."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.evaluation.metrics import Reliability, coverage, reliability, rmse
from models.evaluation.running import Runner
from models.manifest import Manifest
from models.training.data import Run

Floats = NDArray[np.float64]


class JudgedUnit(NamedTuple):
    """One run to failure, a value each window, in hours."""

    unit: str
    true_h: Floats
    rul_h: Floats
    low_h: Floats
    high_h: Floats
    failure_prob: Floats
    asked: NDArray[np.bool_]  # from a third of its life on: before, nobody wants to know


class JudgedFailure(NamedTuple):
    """What was found. `cap_h`: the model tells no longer life; `horizon_h`: of the probability of failure."""

    units: tuple[JudgedUnit, ...]
    cap_h: float
    horizon_h: float
    reliability: Reliability | None

    def of(self, field: str) -> Floats:
        """A field of all windows of all units."""
        return np.concatenate([getattr(unit, field) for unit in self.units])

    def asked(self, field: str) -> Floats:
        """A field of the windows in which somebody wants to know."""
        return np.concatenate([getattr(unit, field)[unit.asked] for unit in self.units])

    @property
    def figures(self) -> dict[str, float]:
        """For the manifest and the card; for the error, true lives are capped as the model's are."""
        if not self.units:
            return {}
        true = np.minimum(self.of("true_h"), self.cap_h)
        last = np.array([unit.rul_h[-1] - unit.true_h[-1] for unit in self.units])
        found = {
            "test_units": float(len(self.units)),
            "test_windows": float(len(true)),
            "test_rmse_h": rmse(self.of("rul_h"), true),
            "test_rmse_at_failure_h": float(np.sqrt((last**2).mean())),
            "test_coverage": coverage(self.asked("low_h"), self.asked("high_h"), self.asked("true_h")),
            "test_interval_width_h": float((self.asked("high_h") - self.asked("low_h")).mean()),
        }
        if self.reliability:
            found["test_brier_score"] = self.reliability.brier
        return found


def judge_failure(
    manifest: Manifest, runner: Runner, runs: tuple[Run, ...], *, cap_h: float, horizon_h: float
) -> JudgedFailure:
    """Score each window of each run; the last row of a run is its failure."""
    units = []
    for run in runs:
        if len(run) < manifest.window:
            continue
        given = runner.outputs(run.values)
        left = np.arange(len(given["rul_h"]))[::-1] * manifest.sample_period_s / 3600
        asked = np.arange(manifest.window - 1, len(run)) >= len(run) / 3
        units.append(
            JudgedUnit(
                run.unit, left, given["rul_h"], given["rul_low_h"], given["rul_high_h"], given["failure_prob"], asked
            )
        )
    judged = JudgedFailure(tuple(units), cap_h, horizon_h, None)
    if not units:
        return judged
    told = reliability(judged.asked("failure_prob"), judged.asked("true_h") <= horizon_h)
    return judged._replace(reliability=told)
