"""Fusion of redundant sensors: the mean of those that agree, weighted by the inverse of their variances.

Of independent sensors without bias that is the mean with the least variance (J. Hartung, G. Knapp, B. K. Sinha,
Statistical Meta-Analysis with Applications, 2008, chapter 4). A member farther than `max_difference` from the median
of those present is left out of that frame; of two that disagree by more than twice that, nobody knows which is right,
and both are. No delay.

Variances are declared, or learnt: per member the squared differences to the median of the group, exponentially
forgotten. To the median, not to the fused value: else the member with the greatest weight would confirm itself.
A bias counts like noise. Taught only by frames with three members or more, for of two both differ by the same.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FORGETTING = 1 / 256  # share of the newest frame
START = 1 / 3  # standard deviation at the start, in parts of max_difference
FLOOR = 1 / 30  # … and the least, so that one member outweighs another at most 900 times


def fuse(values: Floats, variances: Floats, max_difference: float) -> Floats:
    """values: [n, members], NaN = missing; variances: [n, members]. Returns [n]; NaN where no member is left."""
    near = np.abs(values - median(values)[:, None]) <= max_difference
    weights = np.where(near, 1 / variances, 0.0)
    weighted = np.where(near, values, 0.0) * weights
    # One member after the other: a sum along the axis may be grouped by the number of rows.
    total, weight = np.zeros(len(values)), np.zeros(len(values))
    for member in range(values.shape[1]):
        total += weighted[:, member]
        weight += weights[:, member]
    out: Floats = np.divide(total, weight, out=np.full(len(values), np.nan), where=weight > 0)
    return out


def start(max_difference: float) -> float:
    """The variance of a member of which nothing has been learnt."""
    return (START * max_difference) ** 2


def lessons(values: Floats, max_difference: float) -> tuple[Floats, NDArray[np.bool_]]:
    """What frames with values [n, members] teach: the squared differences, and to whom, both [n, members]."""
    differences = np.abs(values - median(values)[:, None])
    squares = np.minimum(differences, max_difference) ** 2
    is_there = ~np.isnan(values)
    return squares, is_there & (np.count_nonzero(is_there, axis=1) >= 3)[:, None]


def learnt(variances: Floats, squares: Floats, teaches: NDArray[np.bool_], max_difference: float) -> Floats:
    """Variances [n, members] after one more frame of each of n groups, with the `lessons` of these."""
    moved = np.maximum(variances + FORGETTING * (squares - variances), (FLOOR * max_difference) ** 2)
    return np.where(teaches, moved, variances)


def median(values: Floats) -> Floats:
    """Of those present: [n, members] -> [n]; NaN where none is."""
    ordered = np.sort(values, axis=1)  # missing ones come last
    count = np.count_nonzero(~np.isnan(values), axis=1)
    row = np.arange(len(values))
    out: Floats = (ordered[row, np.maximum(count - 1, 0) // 2] + ordered[row, count // 2]) / 2
    return out
