"""Limits from a budget: whether fresh normal data keep to it, and what is said where they cannot."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal, stats

from models.evaluation.metrics import hysteresis
from models.training.anomaly.base import Floats
from models.training.anomaly.calibrate import WEEK_S, Budget, Calibration, calibrate
from models.training.table import DataError

MINUTE_S = 60.0
A_WEEK = 10_080  # windows, one a minute


def surprise(windows: int, memory: float, seed: int) -> Floats:
    """Squared length of three correlated Gaussian series: each value remembers `memory` of the one before."""
    noise = np.random.default_rng(seed).normal(size=(windows + 200, 3))
    series = signal.lfilter([np.sqrt(1 - memory**2)], [1, -memory], noise, axis=0)[200:]
    total: Floats = (series**2).sum(1)
    return total


def alarms(found: Calibration, scores: Floats) -> int:
    is_open = hysteresis(
        scores,
        open_at=found.limit,
        close_at=found.close_at * found.limit,
        open_after=found.open_after,
        close_after=found.close_after,
    )
    return int((np.diff(is_open.astype(int)) > 0).sum())


def settle(scores: Floats, per_week: float, open_after: int = 3) -> Calibration:
    return calibrate([scores], Budget(alarms_per_week=per_week, open_after=open_after), sample_period_s=MINUTE_S)


@pytest.mark.parametrize("memory", [0.0, 0.9])
@pytest.mark.parametrize("open_after", [1, 4])
def test_with_enough_normal_data_fresh_data_keep_to_the_budget(memory: float, open_after: int) -> None:
    limits = [settle(surprise(A_WEEK, memory, seed), 20.0, open_after) for seed in range(5)]
    assert {found.method for found in limits} == {"conformal"}
    assert not any(found.warning for found in limits)
    counted = [alarms(found, surprise(10 * A_WEEK, memory, 100)) / 10 for found in limits]
    assert 8 <= np.mean(counted) <= 24
    assert np.mean([found.expected_per_week for found in limits]) <= 20


@pytest.mark.parametrize("memory", [0.0, 0.9])
def test_a_tail_reaches_beyond_what_was_seen_and_keeps_about_to_the_budget(memory: float) -> None:
    limits = [settle(surprise(A_WEEK // 2, memory, seed), 0.5) for seed in range(5)]
    assert {found.method for found in limits} == {"tail"}
    counted = [alarms(found, surprise(60 * A_WEEK, memory, 100)) / 60 for found in limits]
    assert np.mean(counted) <= 1.0
    assert max(counted) > 0, "a limit that nothing ever reaches finds no fault either"


def test_neighbouring_windows_that_say_the_same_count_once() -> None:
    """Each score held for ten windows: as many windows, a tenth of what they tell."""
    scores = surprise(A_WEEK, 0.0, 0)
    found, held = settle(scores, 20.0, 1), settle(np.repeat(scores[: A_WEEK // 10], 10), 20.0, 1)
    assert held.held_out_blocks < found.held_out_blocks / 3
    assert held.close_after > found.close_after


def test_the_limit_of_independent_scores_is_about_the_quantile_that_the_budget_asks_for() -> None:
    found = settle(surprise(20 * A_WEEK, 0.0, 1), 50.0, 1)
    exact = stats.chi2(3).isf(50 / A_WEEK)
    assert found.limit == pytest.approx(exact, rel=0.05)
    assert found.expected_per_week == pytest.approx(50, rel=0.02)


def capped(scores: Floats, ceiling: float, per_week: float) -> Calibration:
    budget = Budget(alarms_per_week=per_week)
    return calibrate([scores], budget, sample_period_s=MINUTE_S, ceiling=ceiling)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), windows=st.integers(60, 2000), per_week=st.floats(0.1, 100))
def test_a_limit_stays_below_the_highest_score_that_there_is(seed: int, windows: int, per_week: float) -> None:
    scores = 3 * stats.logistic.cdf(surprise(windows, 0.5, seed) - 5)  # far fewer than a week's, and none above 3
    found, stricter = capped(scores, 3.0, per_week), capped(scores, 3.0, per_week / 10)
    assert found.limit <= stricter.limit <= 3.001  # rounded up
    is_near = stricter.method != "conformal" and stricter.limit > 0.95 * 3
    assert ("hardly anything reaches" in stricter.warning) == is_near


def test_a_tail_below_a_ceiling_keeps_about_to_the_budget() -> None:
    def scores(windows: int, seed: int) -> Floats:
        below: Floats = 3 - 3 / (1 + surprise(windows, 0.5, seed) / 10)
        return below

    limits = [capped(scores(A_WEEK // 4, seed), 3.0, 0.5) for seed in range(5)]
    assert {found.method for found in limits} == {"tail"}
    assert 0 < np.mean([alarms(found, scores(60 * A_WEEK, 100)) / 60 for found in limits]) <= 1.0


def test_a_ceiling_far_away_changes_nothing() -> None:
    scores = surprise(2000, 0.5, 7)
    assert capped(scores, 1e7, 1.0).limit == pytest.approx(settle(scores, 1.0).limit, rel=1e-3)
    assert capped(scores, 1.0, 1.0) == settle(scores, 1.0), "what was seen is above: it is no ceiling"


def test_what_was_seen_bounds_the_rate_from_above_as_the_poisson_law_has_it() -> None:
    found = settle(surprise(A_WEEK, 0.0, 2), 0.5)
    assert found.at_most_per_week == pytest.approx(-np.log(0.1) / found.held_out_weeks)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), low=st.floats(0.01, 10), factor=st.floats(1.5, 100), memory=st.sampled_from((0, 0.8)))
def test_who_accepts_fewer_false_alarms_gets_no_lower_limit(
    seed: int, low: float, factor: float, memory: float
) -> None:
    scores = surprise(2000, memory, seed)
    strict, lax = settle(scores, low), settle(scores, low * factor)
    assert strict.limit >= lax.limit * (1 - 1e-9)
    for found in (strict, lax):
        assert 0.5 <= found.close_at <= 0.9
        assert found.open_after == 3 <= found.close_after
        assert np.isfinite(found.limit)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), unit=st.floats(1e-3, 1e3))
def test_the_unit_of_the_scores_does_not_matter(seed: int, unit: float) -> None:
    scores = surprise(1500, 0.5, seed)
    assert settle(unit * scores, 1.0).limit == pytest.approx(unit * settle(scores, 1.0).limit, rel=1e-3)


def test_the_sample_period_counts_as_time() -> None:
    scores = surprise(3000, 0.0, 3)
    one = calibrate([scores], Budget(alarms_per_week=1.0), sample_period_s=120.0)
    other = calibrate([scores], Budget(alarms_per_week=2.0), sample_period_s=60.0)
    assert one.limit == other.limit
    assert one.held_out_weeks == pytest.approx(3000 * 120 / WEEK_S, rel=0.01)


def test_runs_are_not_joined() -> None:
    """A run of one machine that is always more surprising than the other is no change within either."""
    low, high = surprise(2000, 0.0, 4), 5 + surprise(2000, 0.0, 5)
    budget = Budget(alarms_per_week=5.0)
    apart = calibrate([low, high], budget, sample_period_s=MINUTE_S)
    joined = calibrate([np.concatenate([low, high])], budget, sample_period_s=MINUTE_S)
    assert apart.close_after < joined.close_after


def test_too_little_data_for_the_budget_is_said_with_how_much_would_do() -> None:
    found = settle(surprise(300, 0.0, 6), 1.0)
    assert found.method == "tail"
    assert "hours of held-out normal data cannot show 1 alarms a week" in found.warning
    assert "1 week would show it" in found.warning


def test_scores_that_never_forget_are_told_as_drift() -> None:
    found = settle(np.linspace(1, 2, 500), 1.0)
    assert "drift" in found.warning
    assert found.limit > 2


@pytest.mark.parametrize(
    ("scores", "fault"),
    [
        (surprise(12, 0.0, 0), "at least 5 are needed"),
        (np.zeros(500), "all 0"),
        (np.full(500, np.nan), "not finite"),
        (np.empty(0), "0 held-out windows"),
    ],
    ids=["few", "zeros", "nan", "none"],
)
def test_scores_that_settle_no_limit_are_refused(scores: Floats, fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        settle(scores, 1.0)
