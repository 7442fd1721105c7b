"""What is particular to one recipe, against scikit-learn; and the helpers that recipes share."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from models.training.anomaly import base, ensemble, forecast, isolation_forest, pca
from models.training.anomaly.base import Floats, raw_of, sliding, split_by_time
from models.training.anomaly.calibrate import Budget, calibrate
from models.training.table import DataError


def quiet(_done: int, _total: int) -> None:
    pass


def series(rows: int = 800, seed: int = 0) -> Floats:
    """Three channels, each following the one before it a frame later."""
    rng = np.random.default_rng(seed)
    drive = rng.normal(size=rows + 2)
    columns = np.column_stack([drive[2:], drive[1:-1], drive[:-2]])
    mixed: Floats = (columns + 0.3 * rng.normal(size=(rows, 3))) * [1, 20, 0.1] + [5, 100, 1]
    return mixed


def test_a_forecast_misses_what_the_ridge_regression_of_scikit_learn_misses() -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    lags, run = 3, series()
    model = forecast.fit([run], forecast.Params(lags=lags, window=lags + 1, ridge=0.01))
    z = (run - run.mean(0)) / run.std(0, ddof=1)
    past = np.column_stack([z[at : len(z) - lags + at] for at in range(lags)])
    oracle = linear.Ridge(alpha=0.01 * len(past), fit_intercept=False).fit(past, z[lags:])
    missed = z[lags:] - oracle.predict(past)
    distance = np.einsum("ij,jk,ik->i", missed, np.linalg.inv(missed.T @ missed / len(missed)), missed)
    np.testing.assert_allclose(model.raw(sliding(run, lags + 1))[0], distance / 3, rtol=1e-6)


def test_a_broken_relation_in_time_is_a_surprise_to_a_forecast_though_every_value_is_usual() -> None:
    model = forecast.fit([series()], forecast.Params(lags=3, window=8))
    usual, apart = series(seed=1), series(seed=1)
    apart[:, 1] = series(seed=2)[:, 1]  # a channel that follows another machine
    assert np.median(model.raw(sliding(apart, 8))[0]) > 3 * np.median(model.raw(sliding(usual, 8))[0])


def chain(rows: int, seed: int) -> Floats:
    """Five channels, each of which is fed by the one before it and keeps a part of what it was."""
    rng = np.random.default_rng(seed)
    own, values = rng.normal(size=(rows, 5)) * [0.3, 0.1, 0.1, 0.1, 0.1], np.zeros((rows, 5))
    for at in range(1, rows):
        before = values[at - 1]
        values[at] = np.concatenate(([0.95 * before[0]], 0.5 * (before[1:] + before[:-1]))) + own[at]
    return values


@pytest.mark.parametrize("channel", range(5))
@pytest.mark.parametrize("way", ["offset", "drift", "stuck"])
def test_a_forecast_blames_the_channel_at_fault_and_not_those_it_feeds(channel: int, way: str) -> None:
    normal, model = chain(1500, 0), forecast.fit([chain(1500, 0)], forecast.Params())
    values = chain(300, 7)
    off = {"offset": 3.0, "drift": np.linspace(0, 4, 300), "stuck": values[0, channel] - values[:, channel]}[way]
    values[:, channel] += off if way == "stuck" else off * normal[:, channel].std()
    raw, shares = raw_of(model, values)
    loud = raw > np.quantile(raw_of(model, normal)[0], 0.999)
    assert loud.any()
    assert (shares[loud].argmax(1) == channel).mean() > 0.95


def test_slow_drift_is_less_of_a_surprise_to_a_forecast_than_to_components() -> None:
    rng = np.random.default_rng(3)
    walk = np.cumsum(0.05 * rng.normal(size=(3000, 2)), axis=0) + 0.1 * rng.normal(size=(3000, 2))
    ratios = []
    for recipe, params in ((forecast, forecast.Params(lags=5, window=10)), (pca, pca.Params(window=10))):
        model = recipe.fit([walk[:500]], params)
        seen, later = raw_of(model, walk[:500])[0], raw_of(model, walk[500:])[0]
        ratios.append(later.max() / seen.max())
    assert ratios[0] < ratios[1] / 3


def test_a_window_without_frames_to_average_is_refused() -> None:
    with pytest.raises(ValidationError, match="window 5 must be larger than lags 5"):
        forecast.Params(lags=5, window=5)


def test_a_forest_scores_as_that_of_scikit_learn_does() -> None:
    sklearn = pytest.importorskip("sklearn.ensemble")
    run = series()
    model = isolation_forest.fit([run], isolation_forest.Params(window=1, trees=20), seed=5, advance=quiet)
    z = ((run - run.mean(0)) / run.std(0, ddof=1)).astype(np.float32)
    oracle = sklearn.IsolationForest(n_estimators=20, max_samples=256, random_state=5).fit(z)
    np.testing.assert_allclose(2 ** (-1 / model.raw(run[:, None])[0]), -oracle.score_samples(z), rtol=1e-6)


def test_the_highest_score_of_a_forest_is_reached_and_a_limit_from_few_rows_lies_below() -> None:
    pytest.importorskip("sklearn.ensemble")
    normal = np.random.default_rng(1).normal(size=(1000, 2))
    model = isolation_forest.fit([normal[:500]], isolation_forest.Params(), seed=0, advance=quiet)
    ways = np.random.default_rng(2).choice([-1e9, 0, 1e9], size=(200, 1, 2))
    far = model.raw(np.repeat(ways, model.window, 1))[0]
    assert model.ceiling == pytest.approx(far.max())
    held_out = [raw_of(model, normal[510:])[0]]
    free, bounded = (calibrate(held_out, Budget(), sample_period_s=60.0, ceiling=c) for c in (np.inf, model.ceiling))
    assert held_out[0].max() < bounded.limit < model.ceiling < free.limit


def _member(method: ensemble.Method, **params: object) -> ensemble.Member:
    return ensemble.Member(method=method, params=params)


def test_an_ensemble_of_one_is_that_model_measured_by_its_held_out_surprises() -> None:
    run = series()
    params = ensemble.Params(members=(_member("pca", window=5),), held_out=0.25)
    alone = pca.fit([run[:600]], pca.Params(window=5))
    held_out = raw_of(alone, run[600:])[0]
    typical, edge = np.quantile(held_out, (0.5, 0.99))
    raw, shares = raw_of(ensemble.fit([run], params, seed=0, advance=quiet), run)
    plain, plain_shares = raw_of(alone, run)
    np.testing.assert_allclose(raw, np.maximum(plain - typical, 0) / (edge - typical))
    np.testing.assert_allclose(shares, plain_shares)


def test_a_member_with_a_shorter_window_sees_the_last_frames() -> None:
    run = series()
    members = (_member("pca", window=3), _member("forecast", lags=4, window=12))
    model = ensemble.fit([run], ensemble.Params(members=members), seed=0, advance=quiet)
    assert model.window == 12
    windows = sliding(run, 12)
    changed = windows.copy()
    changed[:, :9] = 1e3
    first = model.parts[0].model
    np.testing.assert_array_equal(first.raw(windows[:, 9:])[0], first.raw(changed[:, 9:])[0])
    assert (model.raw(changed)[0] > model.raw(windows)[0]).all()


def test_weights_count_as_shares_of_their_sum() -> None:
    run = series()
    members = tuple(ensemble.Member(method="pca", weight=weight) for weight in (1.0, 3.0))
    model = ensemble.fit([run], ensemble.Params(members=members), seed=0, advance=quiet)
    assert [part.weight for part in model.parts] == [0.25, 0.75]


def test_an_ensemble_tells_how_many_members_are_done() -> None:
    told: list[tuple[int, int]] = []
    ensemble.fit([series()], ensemble.Params(), seed=0, advance=lambda done, total: told.append((done, total)))
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_a_fault_in_a_members_parameters_names_the_member_and_the_key() -> None:
    with pytest.raises(ValidationError, match="params of forecast: lag: unknown key; did you mean 'lags'"):
        _member("forecast", lag=3)
    with pytest.raises(ValidationError, match="method"):
        ensemble.Member.model_validate({"method": "ensemble"})


def test_a_member_that_would_remember_is_refused() -> None:
    assert _member("pca", follow=0.0).params == {"follow": 0.0}
    with pytest.raises(ValidationError, match="params of pca: follow: the members of an ensemble remember nothing"):
        _member("pca", follow=0.5)


def test_too_few_held_out_windows_name_the_member_that_needs_more() -> None:
    params = ensemble.Params(members=(_member("pca", window=60),), held_out=0.1)
    with pytest.raises(DataError, match="member pca: 21 held-out windows; at least 30 are needed"):
        ensemble.fit([series()], params.model_copy(update={"held_out": 0.1}), seed=0, advance=quiet)


@settings(max_examples=50, deadline=None)
@given(rows=st.lists(st.integers(0, 200), min_size=1, max_size=4), held_out=st.floats(0.05, 0.95))
def test_a_split_by_time_keeps_order_and_loses_no_row(rows: list[int], held_out: float) -> None:
    runs = [np.arange(2 * n, dtype=np.float64).reshape(n, 2) for n in rows]
    fitted, later = split_by_time(runs, held_out)
    for run, first, last in zip(runs, fitted, later, strict=True):
        assert len(last) == pytest.approx(held_out * len(run), abs=1)
        np.testing.assert_array_equal(np.concatenate([first, last]), run)


def test_a_long_run_is_scored_in_parts_as_if_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    model, run = pca.fit([series()], pca.Params(window=4)), series(seed=9)
    whole = raw_of(model, run)
    monkeypatch.setattr(base, "AT_ONCE", 100)
    for one, other in zip(whole, raw_of(model, run), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    assert [len(part) for part in raw_of(model, run[:3])] == [0, 0]
