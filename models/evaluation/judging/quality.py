"""A quality model on products that it was not fitted on."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.evaluation.metrics import Curve, precision_recall, rmse, roc
from models.evaluation.running import Runner
from models.manifest import Manifest
from models.training.data import Run
from models.training.quality.base import QualityParams, quality_of

Floats = NDArray[np.float64]


class JudgedQuality(NamedTuple):
    """A value each product that was measured, [n], 0 to 100; [n, channels]."""

    predicted: Floats
    true: Floats
    contribution: Floats
    direction: Floats
    alarm_below: float
    roc: Curve | None  # of telling those below the alarm's limit

    @property
    def figures(self) -> dict[str, float]:
        """For the manifest and the card; only what could be counted."""
        if not len(self.true):
            return {}
        found = {"test_products": float(len(self.true)), "test_rmse": rmse(self.predicted, self.true)}
        if spread := float(self.true.var()):
            found["test_explained"] = 1 - found["test_rmse"] ** 2 / spread
        is_bad = self.true < self.alarm_below
        if self.roc:
            found["test_bad_share"] = float(is_bad.mean())
            found["test_roc_auc"] = self.roc.area
            found["test_average_precision"] = precision_recall(is_bad, -self.predicted).area
        return found


def judge_quality(manifest: Manifest, runner: Runner, runs: tuple[Run, ...], params: QualityParams) -> JudgedQuality:
    """Score each window that ends where the target was measured."""
    channels = len(manifest.channels)
    parts: list[tuple[Floats, Floats, Floats, Floats]] = []
    for run in runs:
        if run.target is None or len(run) < manifest.window:
            continue
        target = run.target[manifest.window - 1 :]
        measured = np.isfinite(target)
        given = {name: values[measured] for name, values in runner.outputs(run.values).items()}
        parts.append((given["quality_score"], target[measured], given["contribution"], given["direction"]))
    none = (np.empty(0), np.empty(0), np.empty((0, channels)), np.empty((0, channels)))
    predicted, target, contribution, direction = (np.concatenate(each) for each in zip(none, *parts, strict=True))
    true = quality_of(target, params) if len(target) and _is_varied(target) else np.full(len(target), np.nan)
    keep = np.isfinite(true)
    is_bad = true[keep] < manifest.threshold.open_at
    curve = roc(is_bad, -predicted[keep]) if 0 < is_bad.sum() < keep.sum() else None
    return JudgedQuality(
        predicted[keep], true[keep], contribution[keep], direction[keep], manifest.threshold.open_at, curve
    )


def _is_varied(target: Floats) -> bool:
    """Whether there is anything to tell apart: of like products no figure says much."""
    return bool(target.min() < target.max())
