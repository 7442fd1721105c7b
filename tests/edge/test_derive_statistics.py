"""Features of windows, against scipy on the values that are there."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from edge_agent.core.derive.statistics import FEATURES

Floats = NDArray[np.float64]


def mann_kendall(x: Floats) -> float:
    """By pairs, with the variance for ties written out."""
    score = sum(int(np.sign(b - a)) for a, b in combinations(x.tolist(), 2))
    n, sizes = len(x), np.unique(x, return_counts=True)[1]
    variance = (n * (n - 1) * (2 * n + 5) - int(np.sum(sizes * (sizes - 1) * (2 * sizes + 5)))) / 18
    return float((score - np.sign(score)) / math.sqrt(variance)) if variance else 0.0


ORACLES = {
    "mean": np.mean,
    "std": np.std,
    "min": np.min,
    "max": np.max,
    "rms": lambda x: np.sqrt(np.mean(x**2)),
    "p2p": np.ptp,
    "trend": mann_kendall,
    "skewness": stats.skew,
    "kurtosis": lambda x: stats.kurtosis(x, fisher=False),
}


@pytest.mark.parametrize("name", sorted(ORACLES))
@given(data=st.data())
@settings(deadline=None, max_examples=40)
def test_a_feature_is_that_of_the_values_that_are_there(name: str, data: st.DataObject) -> None:
    n = data.draw(st.integers(3, 40))
    values = st.floats(-100, 100) if data.draw(st.booleans()) else st.integers(-3, 3).map(float)
    x = np.array(data.draw(st.lists(values, min_size=n, max_size=n)))
    gone = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    gone[:2] = False
    if np.ptp(x[~gone]) < 1e-3:
        x[0] += 10  # of a constant there is no shape: below
    found = FEATURES[name](np.where(gone, math.nan, x)[None])
    assert found[0] == pytest.approx(ORACLES[name](x[~gone]), rel=1e-7, abs=1e-7)


def test_the_slope_is_that_of_the_least_squares_line_in_units_a_frame() -> None:
    x = np.random.default_rng(0).normal(size=(5, 50)).cumsum(axis=1)
    x[2, 10:20] = math.nan
    for row, found in zip(x, FEATURES["slope"](x), strict=True):
        there = ~np.isnan(row)
        assert found == pytest.approx(stats.linregress(np.flatnonzero(there), row[there]).slope, rel=1e-9)


def test_the_trend_of_noise_is_seldom_significant_and_that_of_a_drift_always() -> None:
    noise = np.random.default_rng(1).normal(size=(2000, 60))
    assert np.mean(np.abs(FEATURES["trend"](noise)) > 1.96) == pytest.approx(0.05, abs=0.015)
    assert (FEATURES["trend"](noise + np.arange(60) * 0.1) > 5).all()


@pytest.mark.parametrize("frames", [3, 64, 65, 700])
def test_the_trend_of_a_long_window_with_ties_and_gaps_is_that_of_all_its_pairs(frames: int) -> None:
    rng = np.random.default_rng(frames)
    x = np.zeros((4, frames))
    x[:3] = rng.normal(size=frames), rng.integers(0, 9, frames), np.arange(frames)
    x[:, rng.random(frames) < 0.2] = math.nan
    x[0, ::50] = math.inf
    x[:, :2] = [-0.0, 0.0]
    for row, found in zip(x, FEATURES["trend"](x), strict=True):
        there = row[~np.isnan(row)]
        with np.errstate(invalid="ignore"):  # between two that are infinite
            score = int(np.triu(np.nan_to_num(np.sign(there - there[:, None]))).sum())
        n, sizes = len(there), np.unique(there, return_counts=True)[1]
        variance = (n * (n - 1) * (2 * n + 5) - int(np.sum(sizes * (sizes - 1) * (2 * sizes + 5)))) / 18
        assert found == ((score - np.sign(score)) / math.sqrt(variance) if variance else 0.0)


@pytest.mark.parametrize("name", sorted(FEATURES))
def test_a_constant_has_no_spread_and_no_shape(name: str) -> None:
    expected = {"std": 0, "p2p": 0, "slope": 0, "trend": 0, "skewness": math.nan, "kurtosis": math.nan}.get(name, 0.1)
    found = FEATURES[name](np.full((2, 7), 0.1))
    np.testing.assert_allclose(found, expected, atol=1e-15)


@pytest.mark.parametrize("name", sorted(FEATURES))
def test_a_row_gives_the_same_bits_whatever_stands_beside_it(name: str) -> None:
    x = np.random.default_rng(7).normal(size=(33, 61))
    x[x > 1.5] = math.nan
    together = FEATURES[name](x.copy())
    alone = np.concatenate([FEATURES[name](row[None].copy()) for row in x])
    assert together.tobytes() == alone.tobytes()
