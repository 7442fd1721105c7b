"""Remaining useful life on a small made-up fleet that wears out: what both recipes share, and the trees."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("sklearn")
from models.bundle import Channel, read_bundle
from models.training.failure.base import FailureModel, windows_at
from models.training.failure.calibrate import HeldOut, calibrate
from models.training.failure.export import OUTPUTS, to_onnx, write_failure_bundle
from models.training.failure.front import MAX_WINDOW, filters_of, fit_front
from models.training.failure.trees import Params, fit
from models.training.table import DataError
from tests.models.worn_fleet import Floats, worn_fleet

PARAMS = Params(window=30, cap_h=125, horizon_h=30, folds=4, trees=40, learning_rate=0.15)


@cache
def _model(regimes: int = 1) -> FailureModel:
    return fit(worn_fleet(20, 0, regimes), PARAMS, settings=1)


def _windows(model: FailureModel, unit: Floats) -> Floats:
    """Of every row, as an agent sees them: float32."""
    frames = unit[:, list(model.kept)].astype(np.float32).astype(np.float64)
    return windows_at(frames, model.window, np.arange(len(unit)))


def _session(model: FailureModel) -> Any:
    runtime = pytest.importorskip("onnxruntime")
    return runtime.InferenceSession(to_onnx(model), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("regimes", [1, 3])
def test_units_never_seen_are_predicted_far_better_than_by_the_mean(regimes: int) -> None:
    model, errors, spread, held = _model(regimes), [], [], []
    for unit in worn_fleet(20, 1, regimes):
        life = np.arange(len(unit))[::-1]
        found = model.predict(_windows(model, unit))
        errors.append(found.rul - np.minimum(life, 125))
        spread.append(np.minimum(life, 125) - 60)
        held.append((found.low <= life) & (life <= found.high))
    rmse = np.concatenate(errors).std()
    assert rmse < 0.5 * np.concatenate(spread).std()
    assert model.held_out["held_out_rmse_h"] == pytest.approx(float(rmse), rel=0.3)
    assert 0.7 < np.concatenate(held).mean() < 0.9
    assert model.held_out["held_out_coverage"] == pytest.approx(0.8, abs=0.03)
    assert model.held_out["held_out_rmse_of_mean_h"] == pytest.approx(np.concatenate(spread).std(), rel=0.1)


def test_where_rows_say_nothing_of_life_units_held_out_are_predicted_no_better_than_by_the_mean() -> None:
    rng = np.random.default_rng(0)
    mixed = [unit[rng.permutation(len(unit))] for unit in worn_fleet(20, 0)]
    lives = np.concatenate([np.minimum(np.arange(len(unit)), 125) for unit in mixed])
    found = fit(mixed, PARAMS, settings=1).held_out["held_out_rmse_h"]
    assert found > 0.85 * lives.std()
    assert found > 2 * _model().held_out["held_out_rmse_h"]


@pytest.mark.parametrize("regimes", [1, 3])
def test_the_graph_says_what_the_framework_says(regimes: int) -> None:
    model = _model(regimes)
    windows = np.concatenate([_windows(model, unit) for unit in worn_fleet(5, 1, regimes)])
    session = _session(model)
    assert tuple(node.name for node in session.get_outputs()) == OUTPUTS
    found = dict(zip(OUTPUTS, session.run(None, {"window": windows.astype(np.float32)}), strict=True))
    ours = model.predict(windows)
    for name, value in zip(OUTPUTS, (*ours, ours.rul * 100 / 125), strict=True):
        assert found[name].shape == (len(windows), 1)
        error = np.abs(found[name][:, 0] - value) / np.maximum(1, np.abs(value))
        assert error.max() <= 1e-5, name


def test_a_window_has_the_same_prediction_bit_for_bit_alone_and_in_a_batch() -> None:
    model = _model(3)
    windows = _windows(model, worn_fleet(10, 1, 3)[0]).astype(np.float32)[:40]
    session = _session(model)
    alone = [np.concatenate(c) for c in zip(*(session.run(None, {"window": w[None]}) for w in windows), strict=True)]
    for start, count in ((0, 40), (1, 33), (2, 17), (3, 6), (4, 2)):
        together = session.run(None, {"window": windows[start : start + count]})
        for single, column in zip(alone, together, strict=True):
            np.testing.assert_array_equal(column, single[start : start + count])


def test_features_are_whole_numbers_that_float32_holds_exactly_up_to_the_largest_window() -> None:
    assert np.abs(filters_of(MAX_WINDOW)).sum(1).max() * 16 * 64 < 2**24
    frames = np.concatenate(worn_fleet(5, 0, 2)) * 1e3
    front, kept = fit_front(frames, settings=1, window=MAX_WINDOW, regime_step=1000.0)
    windows = windows_at(frames[:, list(kept)] * 1e6, MAX_WINDOW, np.array([50, 400]))
    features = front.features(windows)
    np.testing.assert_array_equal(features, np.round(features))
    assert np.abs(features).max() < 2**24


def test_filters_are_the_sums_and_the_least_squares_slopes_of_the_last_rows() -> None:
    values = np.random.default_rng(0).normal(size=20)
    total, slope, half, half_slope, *_ = filters_of(20) @ values
    assert total == pytest.approx(values.sum())
    assert half == pytest.approx(values[-10:].sum())
    for found, last in ((slope, values), (half_slope, values[-10:])):
        steps = 2 * np.arange(len(last)) - (len(last) - 1)
        assert found / (steps @ steps) == pytest.approx(np.polyfit(steps, last, 1)[0])


def test_a_channel_of_large_level_keeps_its_small_changes() -> None:
    frames = 1e4 + np.random.default_rng(0).normal(size=(500, 1)).round(2) / 8
    front, _ = fit_front(frames, settings=0, window=10, regime_step=1.0)
    given = windows_at(frames.astype(np.float32).astype(np.float64), 10, np.arange(400, 500))
    exact = (given - frames.mean()) / (frames.std() / 64)
    np.testing.assert_allclose(front.features(given)[:, 0], exact.sum((1, 2)), atol=10 * 0.5 + 1)


def test_constant_sensors_and_settings_of_a_single_regime_are_left_out() -> None:
    assert _model().kept == (1, 2, 3)
    assert _model(3).kept == (0, 1, 2, 3)


@given(rows=st.integers(1, 60), window=st.integers(1, 90), data=st.data())
def test_a_window_holds_no_row_after_its_end_whatever_is_missing_before_it(
    rows: int, window: int, data: st.DataObject
) -> None:
    end = data.draw(st.integers(0, rows - 1))
    (found,) = windows_at(np.arange(rows, dtype=float)[:, None], window, np.array([end]))[..., 0]
    assert found.max() <= end
    assert found.min() >= 0
    here = min(window, end + 1)
    np.testing.assert_array_equal(found[-here:], np.arange(end - here + 1, end + 1))
    assert np.isin(np.abs(np.diff(found)), 1 if end else 0).all()


def test_a_prediction_does_not_change_with_what_comes_later() -> None:
    model, unit = _model(), worn_fleet(1, 2)[0]
    whole = model.predict(_windows(model, unit)).rul
    for rows in (1, 7, 29, 60):
        np.testing.assert_array_equal(model.predict_last(unit[:rows]).rul, whole[rows - 1 : rows])


def test_the_probability_of_failing_soon_is_high_at_the_end_and_low_far_from_it() -> None:
    near, far = _model().calibration.failure_prob(np.array([5.0, 120.0]))
    assert near > 0.9
    assert far < 0.05


@given(rul=st.floats(0, 300))
def test_an_interval_holds_its_prediction_and_no_life_below_zero(rul: float) -> None:
    low, high = _model().calibration.interval(np.array([rul]))
    assert 0 <= low[0] <= rul <= high[0]


def test_intervals_hold_the_share_asked_for_of_errors_whose_spread_grows_with_life() -> None:
    rng = np.random.default_rng(0)

    def drawn(n: int) -> HeldOut:
        rul = rng.uniform(0, 120, n)
        return HeldOut(rul, rul + rng.normal(size=n) * rul / 5, np.ones(n))

    for coverage in (0.5, 0.8, 0.95):
        fitted = calibrate(drawn(5000), coverage=coverage, horizon=30)
        new = drawn(5000)
        low, high = fitted.interval(new.rul)
        for part in (new.rul < 60, new.rul >= 60):
            held = ((low <= new.life) & (new.life <= high))[part]
            assert held.mean() == pytest.approx(coverage, abs=0.03)


def test_each_unit_counts_the_same_however_many_rows_it_has() -> None:
    rng = np.random.default_rng(0)
    rul = rng.uniform(0, 120, 6000)
    wide = np.arange(6000) < 5000  # rows of a long-lived unit, whose errors are ten times as large
    life = rul + rng.normal(size=6000) * np.where(wide, 10, 1)
    weights = np.where(wide, 1 / 5000, 99 / 1000)  # against 99 short-lived ones
    fitted = calibrate(HeldOut(rul, life, weights), coverage=0.8, horizon=30)
    assert fitted.intervals.high == pytest.approx(1.28, abs=0.3)


def test_lives_are_told_in_hours_whatever_lies_between_two_rows() -> None:
    params = PARAMS.model_copy(update={"cap_h": 1250.0, "horizon_h": 300.0, "trees": 5})
    tens = fit(worn_fleet(20, 0), params, settings=1, hours_per_row=10)
    ones = fit(worn_fleet(20, 0), PARAMS.model_copy(update={"trees": 5}), settings=1)
    unit = worn_fleet(1, 1)[0]
    for ten, one in zip(tens.predict_last(unit)[:3], ones.predict_last(unit)[:3], strict=True):
        np.testing.assert_allclose(ten, 10 * one)
    np.testing.assert_allclose(tens.predict_last(unit).failure_prob, ones.predict_last(unit).failure_prob, atol=0.01)


def test_the_same_seed_gives_the_same_bytes_and_the_bundle_reads_back(tmp_path: Path) -> None:
    channels = [Channel(name=name) for name in ("load", "a", "b", "c", "still")]
    for name, model in (("a", _model()), ("b", fit(worn_fleet(20, 0), PARAMS, settings=1))):
        write_failure_bundle(tmp_path / name, model, channels, name="wear", version="1", trained_on="made here")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    manifest = read_bundle(tmp_path / "a").manifest
    assert [channel.name for channel in manifest.channels] == ["a", "b", "c"]
    assert manifest.sample_period_s == 3600
    assert manifest.threshold.open_at == 30
    assert not manifest.threshold.above
    assert set(manifest.evaluation) == {"held_out_rmse_h", "held_out_rmse_of_mean_h", "held_out_coverage"}


@pytest.mark.parametrize(
    ("units", "fault"),
    [
        (worn_fleet(2, 0), "2 machines to learn from; at least 3"),
        (tuple(unit * np.nan for unit in worn_fleet(5, 0)), "unit 0"),
        ((*worn_fleet(5, 0), np.ones((90, 4))), "unit 5"),
        (tuple(unit[-20:] for unit in worn_fleet(6, 0)), "a shorter horizon_h, are needed"),
        (tuple(np.ones((90, 3)) for _ in range(6)), "no sensor moves"),
        (tuple(np.arange(300.0).reshape(100, 3) for _ in range(6)), "a larger regime_step"),
    ],
)
def test_fleets_that_cannot_be_learnt_from_are_refused(units: tuple[Floats, ...], fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        fit(units, PARAMS, settings=1)


def test_cap_and_horizon_follow_from_the_lives_unless_they_are_given() -> None:
    assert Params().lengths_h([2.2, 2.5, 7.8]) == (1.6, 0.4)
    assert Params(horizon_h=0.1).lengths_h([2.2, 2.5, 7.8]) == (1.6, 0.1)
    assert Params(cap_h=125).lengths_h([2.2]) == (125, 31)


def test_the_coverage_told_is_that_of_machines_whose_errors_no_interval_knew() -> None:
    """Machines that fail in ways of their own: intervals fitted to some of them do not hold for the next."""
    rng = np.random.default_rng(0)
    mixed = [unit + 20 * rng.normal(size=unit.shape[1]) for unit in worn_fleet(5, 0)]
    model = fit(mixed, PARAMS, settings=1)
    assert model.held_out["held_out_coverage"] < 0.7
    assert len(model.members) == 4
