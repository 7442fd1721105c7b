"""A bundle's graph run over frames: the same numbers as the fitted model, windows and state in order."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
from models.bundle import Channel
from models.evaluation import running
from models.evaluation.running import Runner
from models.training.anomaly import pca, streaming
from models.training.anomaly.base import AnomalyModel, raw_of
from models.training.anomaly.calibrate import Budget, calibrate
from models.training.anomaly.export import write_anomaly_bundle

FRAMES = np.random.default_rng(0).normal(size=(400, 3)).astype(np.float32).astype(np.float64)


def runner_of(model: AnomalyModel, folder: Path) -> tuple[Runner, float]:
    """And the limit in it."""
    limit = calibrate([raw_of(model, FRAMES)[0][100:]], Budget(), sample_period_s=60.0)
    channels = [Channel(name=name) for name in "abc"]
    bundle = write_anomaly_bundle(
        folder / "x", model, limit, channels, name="x", version="1", sample_period_s=60.0, trained_on="noise"
    )
    return Runner(bundle), limit.limit


@pytest.mark.parametrize(
    "model", [pca.fit([FRAMES], pca.Params()), streaming.StreamingModel(streaming.Params(learning=50), 3)]
)
def test_every_window_of_a_run_is_scored_as_by_the_model_itself(
    model: AnomalyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, limit = runner_of(model, tmp_path)
    monkeypatch.setattr(running, "AT_ONCE", 100)  # in many parts
    found = runner.outputs(FRAMES)
    raw, shares = raw_of(model, FRAMES)
    np.testing.assert_allclose(found["anomaly_score"], raw / limit, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found["contribution"], shares, atol=1e-5)


def test_a_run_shorter_than_a_window_has_no_score_and_leaves_shapes_as_they_are(tmp_path: Path) -> None:
    runner, _ = runner_of(pca.fit([FRAMES], pca.Params()), tmp_path)
    parts = [runner.outputs(each) for each in (FRAMES[:9], FRAMES)]
    shapes = {name: np.concatenate([part[name] for part in parts]).shape for name in parts[0]}
    assert shapes == {"anomaly_score": (391,), "health": (391,), "contribution": (391, 3)}
