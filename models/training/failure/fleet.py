"""Runs to failure from a table: a column says which unit a row belongs to, another how old the unit was.

The age stays among the channels, after the settings: how worn a machine looks for its age tells how fast it wears.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from models.training.anomaly.base import Floats
from models.training.table import DataError, read_table


class Layout(NamedTuple):
    """What the columns mean. `header`: their names, for a file without a header line."""

    unit: str
    time: str  # the age of a unit: rises from row to row
    settings: tuple[str, ...] = ()
    separator: str = ","
    header: tuple[str, ...] | None = None


# Saxena, Goebel, Simon & Eklund (2008), Damage Propagation Modeling for Aircraft Engine Run-to-Failure Simulation, PHM.
_SETTINGS = ("setting1", "setting2", "setting3")
CMAPSS = Layout("unit", "cycle", _SETTINGS, " ", ("unit", "cycle", *_SETTINGS, *(f"s{n}" for n in range(1, 22))))


class Fleet(NamedTuple):
    """`units`: float64 [rows, channels] each, in ascending order of `numbers`."""

    numbers: tuple[int, ...]
    units: tuple[Floats, ...]
    channels: tuple[str, ...]  # the settings, the time, then the sensors
    settings: int  # how many of them


def read_fleet(path: Path, layout: Layout = CMAPSS) -> Fleet:
    """Read units with their rows in order. Raises DataError, also where a unit's time does not rise by equal steps."""
    table = read_table(path, separator=layout.separator, header=layout.header)
    channels = _channels(path, table.columns, layout)
    unit, time = (table.values[:, table.columns.index(name)] for name in (layout.unit, layout.time))
    values = table.values[:, [table.columns.index(name) for name in channels]]
    numbers, units = np.unique(unit), []
    for number in numbers:
        rows = unit == number
        steps = np.diff(time[rows])
        if (steps <= 0).any() or not np.allclose(steps, steps[:1].sum()):
            msg = f"{path}: {layout.unit} {number:g}: {layout.time} must rise by the same step from row to row"
            raise DataError(msg)
        units.append(values[rows])
    return Fleet(tuple(int(number) for number in numbers), tuple(units), channels, len(layout.settings))


def _channels(path: Path, columns: Sequence[str], layout: Layout) -> tuple[str, ...]:
    for name in (layout.unit, layout.time, *layout.settings):
        if name not in columns:
            msg = f"{path}: no column {name!r}; there are {', '.join(columns)}"
            raise DataError(msg)
    first = (*layout.settings, layout.time)
    return (*first, *(name for name in columns if name not in (layout.unit, *first)))
