"""Features of windows of frames: float64 [n, frames] in, NaN = missing, oldest first; float64 [n] out. No state.

Each is of the values that are there. NaN where it does not exist: no spread, no shape.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Feature = Literal["mean", "std", "min", "max", "rms", "p2p", "slope", "trend", "skewness", "kurtosis"]

MIN_FRAMES, MAX_FRAMES = 3, 3600


def mean(x: Floats) -> Floats:
    """Arithmetic mean, in the unit of `x`."""
    return _mean(x)[:, 0]


def std(x: Floats) -> Floats:
    """Standard deviation of the population (divisor n), in the unit of `x`."""
    return np.sqrt(_moment(x, 2))


def minimum(x: Floats) -> Floats:
    """The smallest value."""
    out: Floats = np.fmin.reduce(x, axis=1)
    return out


def maximum(x: Floats) -> Floats:
    """The largest value."""
    out: Floats = np.fmax.reduce(x, axis=1)
    return out


def peak_to_peak(x: Floats) -> Floats:
    """Largest minus smallest."""
    return maximum(x) - minimum(x)


def rms(x: Floats) -> Floats:
    """Root mean square about zero, in the unit of `x`."""
    return np.sqrt(_mean(x**2)[:, 0])


def slope(x: Floats) -> Floats:
    """Slope of the least-squares line, in units of `x` a frame; NaN for a single value."""
    there = ~np.isnan(x)
    frame = np.where(there, np.arange(x.shape[1], dtype=np.float64), np.nan)
    frame -= _mean(frame)
    deviation = x - _mean(x)
    return _ratio(_sum(frame * deviation), _sum(frame**2))


def trend(x: Floats) -> Floats:
    """Whether the values rise or fall at all: the score Z of the Mann-Kendall test, no unit, positive = rising.

    Beyond +-1.96 the trend is significant at 5 % if the values are independent; values that follow each other
    closely seldom are, so that limits of 4 to 6 are usual on a fast grid. No assumption on the distribution; ties
    are accounted for, and the continuity correction is applied. 0 where all are equal. Cost: O(frames^2).
    Source: M. G. Kendall, Rank Correlation Methods, 4th ed. 1975; H. B. Mann, Econometrica 13 (1945) 245-259.
    """
    score = np.zeros(len(x))
    for lag in range(1, x.shape[1]):
        newer, older = x[:, lag:], x[:, :-lag]
        score += np.count_nonzero(newer > older, axis=1)
        score -= np.count_nonzero(newer < older, axis=1)
    n = np.count_nonzero(~np.isnan(x), axis=1).astype(np.float64)
    variance = (n * (n - 1) * (2 * n + 5) - _tied(x)) / 18
    out: Floats = np.sign(score) * _ratio(np.maximum(np.abs(score) - 1, 0), np.sqrt(variance))
    out[(variance == 0) & (n > 1)] = 0
    return out


def skewness(x: Floats) -> Floats:
    """Third moment over the standard deviation cubed, no unit: 0 for what is symmetric."""
    return _ratio(_moment(x, 3), _moment(x, 2) ** 1.5)


def kurtosis(x: Floats) -> Floats:
    """Fourth moment over the squared second, no unit: 1.5 for a sine, 3 for noise."""
    return _ratio(_moment(x, 4), _moment(x, 2) ** 2)


FEATURES: dict[str, Callable[[Floats], Floats]] = {
    "mean": mean,
    "std": std,
    "min": minimum,
    "max": maximum,
    "rms": rms,
    "p2p": peak_to_peak,
    "slope": slope,
    "trend": trend,
    "skewness": skewness,
    "kurtosis": kurtosis,
}


def _sum(x: Floats) -> Floats:
    out: Floats = np.where(np.isnan(x), 0.0, x).sum(axis=1)
    return out


def _mean(x: Floats) -> Floats:
    """[n, 1]."""
    return _ratio(_sum(x), np.count_nonzero(~np.isnan(x), axis=1).astype(np.float64))[:, None]


def _moment(x: Floats, order: int) -> Floats:
    """About the mean. What a constant leaves of rounding is nothing."""
    centred = x - _mean(x)
    centred[maximum(x) == minimum(x)] *= 0
    return _mean(centred**order)[:, 0]


def _tied(x: Floats) -> Floats:
    """The sum of t (t - 1) (2 t + 5) over each group of t equal values."""
    ordered = np.sort(x, axis=1)  # missing ones come last, and equal nothing
    first = np.ones(x.shape, bool)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    group = np.cumsum(first) - 1
    size = np.bincount(group.ravel()).astype(np.float64)
    terms = size * (size - 1) * (2 * size + 5)
    row = np.repeat(np.arange(len(x)), np.count_nonzero(first, axis=1))
    out: Floats = np.bincount(row, terms, len(x)).astype(np.float64)
    return out


def _ratio(a: Floats, b: Floats) -> Floats:
    return np.divide(a, b, out=np.full_like(a, np.nan), where=b > 0)
