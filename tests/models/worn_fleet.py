"""A small made-up fleet that wears out, for the tests of the failure recipes."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@cache
def worn_fleet(units: int, seed: int, regimes: int = 1) -> tuple[Floats, ...]:
    """Units of 100 to 200 rows: a setting, two sensors that drift with wear, one of noise, one constant."""
    rng = np.random.default_rng(seed)
    fleet = []
    for rows in rng.integers(100, 200, size=units):
        wear = np.exp(-np.arange(rows)[::-1] / 40)
        setting = rng.integers(regimes, size=rows) * 10.0
        noise = rng.normal(size=(rows, 3))
        sensors = [5 * wear + 0.5 * noise[:, 0] + setting, 600 - 8 * wear + noise[:, 1] - setting, noise[:, 2]]
        fleet.append(np.column_stack([setting + 0.01 * rng.normal(size=rows), *sensors, np.full(rows, 3.0)]))
    return tuple(fleet)
