"""Runs to failure in the layout of C-MAPSS: unit, cycle, three settings, 21 sensors, a row each cycle.

Saxena, Goebel, Simon & Eklund (2008), Damage Propagation Modeling for Aircraft Engine Run-to-Failure Simulation, PHM.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from models.bundle import Channel
from models.training.pca import Floats
from models.training.table import DataError, read_table

SETTINGS = 3
_NAMES = (*(f"setting{n}" for n in range(1, 4)), *(f"s{n}" for n in range(1, 22)))
CHANNELS = tuple(Channel(name=name) for name in _NAMES)


class Fleet(NamedTuple):
    """`units`: float64 [cycles, 24] each, in ascending order of `numbers`; columns as in `CHANNELS`."""

    numbers: tuple[int, ...]
    units: tuple[Floats, ...]


def read_fleet(path: Path) -> Fleet:
    """Read a train or test file. Raises DataError, also where a unit's cycles do not count up by one."""
    values = read_table(path, separator=" ", header=("unit", "cycle", *_NAMES)).values
    numbers = np.unique(values[:, 0])
    units = []
    for number in numbers:
        rows = values[values[:, 0] == number]
        if (np.diff(rows[:, 1]) != 1).any():
            msg = f"{path}: unit {number:.0f}: cycles must count up by one"
            raise DataError(msg)
        units.append(rows[:, 2:])
    return Fleet(tuple(int(number) for number in numbers), tuple(units))
