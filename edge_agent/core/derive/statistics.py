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
    are accounted for, and the continuity correction is applied. 0 where all are equal. Cost: O(frames log frames).
    Source: M. G. Kendall, Rank Correlation Methods, 4th ed. 1975; H. B. Mann, Econometrica 13 (1945) 245-259.
    """
    row, equal = _ties(x)
    n = np.count_nonzero(~np.isnan(x), axis=1).astype(np.float64)
    # Of equal values none is above the other: these pairs neither rise nor fall.
    tied = np.bincount(row, equal * (equal - 1) / 2, len(x))
    score = n * (n - 1) / 2 - tied - 2 * _falling(x)
    variance = (n * (n - 1) * (2 * n + 5) - np.bincount(row, equal * (equal - 1) * (2 * equal + 5), len(x))) / 18
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


def _ties(x: Floats) -> tuple[NDArray[np.intp], Floats]:
    """The groups of equal values: the row of each, ascending, and how many values it has. Most have one."""
    ordered = np.sort(x, axis=1)  # missing ones come last, and equal nothing
    first = np.ones(x.shape, bool)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    size = np.bincount(np.cumsum(first) - 1).astype(np.float64)
    return np.repeat(np.arange(len(x)), np.count_nonzero(first, axis=1)), size


def _falling(x: Floats) -> Floats:
    """Pairs of which the newer value is below the older one, [n]: the inversions of a permutation.

    A row's frames in order of their values (of equal ones the older first) are parted in those of its older and those
    of its newer half, each of these again, and so on; at each parting the pairs count that it turns round.
    """
    n, frames = x.shape
    count = np.zeros(n)
    if not n:
        return count
    width = 1 << max(frames - 1, 1).bit_length()
    there = ~np.isnan(x)
    present = np.count_nonzero(there, axis=1)[:, None]
    age = np.cumsum(there, axis=1, dtype=np.int32) - 1  # among the values that are there
    part = np.tile(np.arange(width, dtype=np.int32), (n, 1))  # what is not there is in order
    order = np.argsort(x, axis=1, kind="stable")
    by_value = np.take_along_axis(age, order, axis=1)
    part[:, :frames] = np.where(np.arange(frames) < present, by_value, part[:, :frames])
    while width > 1:
        width //= 2
        newer = (part & width).astype(bool).reshape(-1, 2 * width)
        before = np.cumsum(newer, axis=1, dtype=np.int32)
        before[newer] = 0
        count += before.reshape(n, -1).sum(axis=1)
        part = part.reshape(-1, 2 * width)
        part = np.stack((part[~newer].reshape(-1, width), part[newer].reshape(-1, width)), axis=1)
    return count


def _ratio(a: Floats, b: Floats) -> Floats:
    return np.divide(a, b, out=np.full_like(a, np.nan), where=b > 0)
