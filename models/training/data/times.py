"""Times of rows as int64 ns since 1970, and whether they fit the period of the grid."""

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from models.training.data.section import TimeUnit
from models.training.table import Columns, DataError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

SECOND_NS = 10**9
_UNIT_NS: dict[TimeUnit, float] = {
    "ns": 1,
    "us": 1e3,
    "ms": 1e6,
    "s": 1e9,
    "min": 60e9,
    "h": 3600e9,
    "d": 86_400e9,
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_NS = 2**62
_TOLERANCE = 0.05  # of a period: clocks drift, and times are rounded


def times_ns(table: Columns, name: str, unit: TimeUnit) -> Ints:
    """[rows]. Text is ISO 8601, to the microsecond, without a zone UTC. Raises DataError with the place."""
    if name.endswith("_ns") and unit == "iso":
        unit = "ns"
    if unit != "iso" and table.is_numeric(name):
        return _counted(table, name, unit)
    times = np.empty(table.rows, np.int64)
    for row, text in enumerate(table.texts(name)):
        try:
            times[row] = iso_ns(text)
        except (ValueError, OverflowError):
            cure = "give time_unit if it counts" if table.is_numeric(name) else "ISO 8601 is needed"
            msg = f"{table.path}: {table.place(row)}, column {name}: {text!r} is no time; {cure}"
            raise DataError(msg) from None
    return times


def iso_ns(text: str) -> int:
    """Epoch ns of ISO 8601 text, to the microsecond; without a zone it is UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    span = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    return ((span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds) * 1000


def holds_dates(table: Columns, name: str) -> bool:
    """Whether the column is text whose first cell is a date or a time."""
    return not table.is_numeric(name) and is_iso(table.texts(name)[0])


def is_iso(text: str) -> bool:
    """Whether `iso_ns` reads it."""
    try:
        iso_ns(text)
    except ValueError:
        return False
    return True


def found_period_s(times: Sequence[Ints]) -> float | None:
    """The usual distance of the times of the fastest channel; ascending times of each are given. None: too few."""
    usual = [float(np.median(steps)) for each in times if len(steps := np.diff(each)[np.diff(each) > 0])]
    return min(usual) / SECOND_NS if usual else None


def check_period(path: str, times: dict[str, Ints], period_s: float, hold_s: float, *, thin: bool) -> None:
    """Raises DataError where the grid is finer or coarser than the rows, or a slow channel is not held long enough."""
    found = found_period_s(list(times.values()))
    if found is None:
        return
    if found > period_s * (1 + _TOLERANCE) or (not thin and found < period_s * (1 - _TOLERANCE)):
        cure = "" if found > period_s else ", or thin = true to keep the last row of each period"
        wrong = f"sample_period_s is {period_s:g}, but rows come every {found:g} s"
        msg = f"{path}: {wrong}: sample_period_s = {found:g}{cure}"
        raise DataError(msg)
    for channel, each in times.items():
        usual = found_period_s([each])
        if usual is not None and usual > (hold_s + period_s) * (1 + _TOLERANCE):
            msg = (
                f"{path}: channel {channel} comes every {usual:g} s, but hold_s lets a value stand for {hold_s:g} s: "
                f"hold_s = {usual:g}, here and in the edge agent, or leave the channel out"
            )
            raise DataError(msg)


def _counted(table: Columns, name: str, unit: TimeUnit) -> Ints:
    values = table.numbers(name)
    if unit == "ns":  # float64 holds no ns of today
        try:
            return np.array([int(text) for text in table.texts(name)], np.int64)
        except (ValueError, OverflowError):
            pass
    ns = values * _UNIT_NS[unit]
    wrong = np.flatnonzero(~(np.abs(ns) < _LATEST_NS))
    if len(wrong):
        row = int(wrong[0])
        msg = f"{table.path}: {table.place(row)}, column {name}: {table.texts(name)[row]!r} is no time in {unit}"
        raise DataError(msg)
    return np.round(ns).astype(np.int64)
