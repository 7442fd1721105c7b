"""Remaining useful life on a small made-up fleet that wears out."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.bundle import Channel, read_bundle
from models.evaluation import cmapss
from models.training.table import DataError

pytest.importorskip("sklearn")
from models.training.rul import CAP_CYCLES, RulModel, fit_rul, windows_of
from models.training.rul_export import to_onnx, write_rul_bundle

Floats = NDArray[np.float64]


@cache
def _fleet(units: int, seed: int, regimes: int = 1) -> tuple[Floats, ...]:
    """Units of 100 to 200 cycles: a setting, two sensors that drift with wear, one of noise, one constant."""
    rng = np.random.default_rng(seed)
    fleet = []
    for cycles in rng.integers(100, 200, size=units):
        wear = np.exp(-np.arange(cycles)[::-1] / 40)
        setting = rng.integers(regimes, size=cycles) * 10.0
        noise = rng.normal(size=(cycles, 3))
        sensors = [5 * wear + 0.5 * noise[:, 0] + setting, 600 - 8 * wear + noise[:, 1] - setting, noise[:, 2]]
        fleet.append(np.column_stack([setting + 0.01 * rng.normal(size=cycles), *sensors, np.full(cycles, 3.0)]))
    return tuple(fleet)


@cache
def _model(regimes: int = 1) -> RulModel:
    return fit_rul(_fleet(30, 0, regimes), settings=1)


@pytest.mark.parametrize("regimes", [1, 3])
def test_units_never_seen_are_predicted_far_better_than_by_the_mean(regimes: int) -> None:
    model, errors, spread = _model(regimes), [], []
    for unit in _fleet(10, 1, regimes):
        truth = np.minimum(np.arange(len(unit) - model.window + 1)[::-1], CAP_CYCLES)
        errors.append(model.rul(windows_of(unit[:, model.kept], model.window)) - truth)
        spread.append(truth - 60)
    assert np.concatenate(errors).std() < 0.5 * np.concatenate(spread).std()
    assert model.held_out_rmse == pytest.approx(float(np.concatenate(errors).std()), rel=0.4)


def test_a_window_has_the_same_prediction_bit_for_bit_alone_and_in_a_batch() -> None:
    runtime = pytest.importorskip("onnxruntime")
    model = _model()
    windows = windows_of(_fleet(10, 1)[0][:, model.kept], model.window).astype(np.float32)[:40]
    session = runtime.InferenceSession(to_onnx(model), providers=["CPUExecutionProvider"])
    alone = [np.concatenate(c) for c in zip(*(session.run(None, {"window": w[None]}) for w in windows), strict=True)]
    for start, count in ((0, 40), (1, 33), (2, 17), (3, 6), (4, 2)):
        together = session.run(None, {"window": windows[start : start + count]})
        for single, column in zip(alone, together, strict=True):
            np.testing.assert_array_equal(column, single[start : start + count])


@pytest.mark.parametrize("regimes", [1, 3])
def test_the_graph_agrees_with_scikit_learn_where_no_feature_lies_on_a_split(regimes: int) -> None:
    runtime = pytest.importorskip("onnxruntime")
    model = _model(regimes)
    windows = np.concatenate([windows_of(unit[:, model.kept], model.window) for unit in _fleet(10, 1, regimes)])
    windows = windows.astype(np.float32).astype(np.float64)
    session = runtime.InferenceSession(to_onnx(model), providers=["CPUExecutionProvider"])
    assert [node.name for node in session.get_outputs()] == ["rul_h", "health", "failure_prob"]
    rul, health, failing = session.run(None, {"window": windows.astype(np.float32)})
    assert rul.shape == health.shape == failing.shape == (len(windows), 1)
    ours = model.rul(windows)
    far = np.abs(rul[:, 0] - ours) > 1e-3
    assert far.mean() < 0.03, "float32 may cross a split now and then, not often"
    np.testing.assert_allclose(rul[:, 0], ours, atol=5)
    np.testing.assert_allclose(health, rul / 1.25, rtol=1e-5)
    np.testing.assert_allclose(failing[:, 0], model.failure_prob(rul[:, 0].astype(np.float64)), rtol=1e-4, atol=1e-6)


def test_failure_within_the_horizon_is_likely_at_the_end_and_unlikely_far_from_it() -> None:
    near, far = _model().failure_prob(np.array([5.0, 120.0]))
    assert near > 0.9
    assert far < 0.05


def test_constant_sensors_and_settings_of_a_single_regime_are_left_out() -> None:
    assert _model().kept == (1, 2, 3)
    assert _model(3).kept == (0, 1, 2, 3)


def test_a_unit_shorter_than_the_window_is_padded_with_its_first_row() -> None:
    windows = windows_of(np.array([[1.0], [2.0]]), 4)
    np.testing.assert_array_equal(windows[:, :, 0], [[1, 1, 1, 2]])
    short = (_fleet(1, 2)[0][:7],)
    assert 0 <= cmapss.predict_last(_model(), short)[0] <= CAP_CYCLES


def test_a_prediction_does_not_change_with_what_comes_later() -> None:
    unit = _fleet(1, 2)[0][:, _model().kept]
    whole, cut = (_model().rul(windows_of(rows, _model().window)) for rows in (unit, unit[:60]))
    np.testing.assert_array_equal(whole[: len(cut)], cut)


def test_the_same_seed_gives_the_same_bytes_and_the_bundle_reads_back(tmp_path: Path) -> None:
    channels = [Channel(name=f"s{at}") for at in _model().kept]
    for name, model in (("a", _model()), ("b", fit_rul(_fleet(30, 0), settings=1))):
        write_rul_bundle(tmp_path / name, model, channels, name="wear", version="1", trained_on="made here")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    manifest = read_bundle(tmp_path / "a").manifest
    assert manifest.sample_period_s == 3600
    assert not manifest.threshold.above


@pytest.mark.parametrize(
    ("units", "fault"),
    [
        (_fleet(3, 0), "3 units; at least 5"),
        (tuple(unit * np.nan for unit in _fleet(5, 0)), "unit 0"),
        (tuple(unit[-20:] for unit in _fleet(6, 0)), "no unit ran longer"),
        (tuple(np.ones((90, 3)) for _ in range(6)), "no sensor moves"),
        (tuple(np.arange(300.0).reshape(100, 3) for _ in range(6)), "operating regimes"),
    ],
)
def test_fleets_that_cannot_be_learnt_from_are_refused(units: tuple[Floats, ...], fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        fit_rul(units, settings=1)
