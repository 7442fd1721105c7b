"""An anomaly model on rows it has not seen: false alarms where nothing is wrong; with labels also what it finds."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.evaluation.metrics import Alarms, Curve, alarms, hysteresis, precision_recall, roc
from models.evaluation.running import Runner
from models.manifest import Manifest
from models.training.data import Run

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
_WEEK_S = 7 * 86_400.0


class JudgedRun(NamedTuple):
    """One run, a value each window; the time is that of the window's last frame."""

    unit: str
    time_ns: NDArray[np.int64]
    score: Floats
    share: Floats  # [n, channels]
    is_open: Flags
    wrong: Flags | None


class JudgedAnomaly(NamedTuple):
    """What was found; curves only where both labels occur."""

    runs: tuple[JudgedRun, ...]
    alarms: Alarms
    roc: Curve | None
    precision_recall: Curve | None

    @property
    def has_labels(self) -> bool:
        """Whether someone said which rows are wrong."""
        return any(run.wrong is not None for run in self.runs)

    @property
    def figures(self) -> dict[str, float]:
        """For the manifest and the card; only what could be counted."""
        if not self.runs:
            return {}
        counted = self.alarms
        found = {
            "test_windows": float(sum(len(run.score) for run in self.runs)),
            "test_false_alarms": float(counted.false_alarms),
        }
        if counted.well_s:
            found["test_false_alarms_per_week"] = counted.false_alarms * _WEEK_S / counted.well_s
            found["test_healthy_share_in_alarm"] = counted.well_open_s / counted.well_s
        if self.has_labels:
            found |= {
                "test_events": float(counted.events),
                "test_events_found": float(counted.found),
                "test_events_already_in_alarm": float(counted.already_open),
            }
            if len(counted.delays_s):
                found["test_median_delay_s"] = float(np.median(counted.delays_s))
        if self.roc and self.precision_recall:
            found |= {"test_roc_auc": self.roc.area, "test_average_precision": self.precision_recall.area}
        return found


def judge_anomaly(manifest: Manifest, runner: Runner, runs: tuple[Run, ...]) -> JudgedAnomaly:
    """Score each window of each run; without labels all of them count as well."""
    limit = manifest.threshold
    judged = []
    for run in runs:
        if len(run) < manifest.window:
            continue
        given = runner.outputs(run.values)
        score = given["anomaly_score"]
        ends = slice(manifest.window - 1, None)
        is_open = hysteresis(
            score,
            open_at=limit.open_at,
            close_at=limit.close_at,
            open_after=limit.open_after,
            close_after=limit.close_after,
        )
        wrong = None if run.label is None else run.label[ends] > 0
        judged.append(JudgedRun(run.unit, run.time_ns[ends], score, given["contribution"], is_open, wrong))
    labels = [np.zeros(len(run.score), np.bool_) if run.wrong is None else run.wrong for run in judged]
    counted = alarms([run.is_open for run in judged], labels, manifest.sample_period_s)
    wrong, scores = (np.concatenate([*each, np.empty(0)]) for each in (labels, [run.score for run in judged]))
    is_wrong = wrong.astype(np.bool_)
    has_both = bool(is_wrong.any() and not is_wrong.all())
    return JudgedAnomaly(
        tuple(judged),
        counted,
        roc(is_wrong, scores) if has_both else None,
        precision_recall(is_wrong, scores) if has_both else None,
    )
