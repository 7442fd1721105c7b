"""Files with a column a channel."""

import re

import numpy as np

from models.training.data.grid import Readings
from models.training.data.section import DataSection
from models.training.data.tables import Floats, Ints, Machine, Read
from models.training.data.times import holds_dates, is_iso, times_ns
from models.training.table import Columns, DataError, choose

_TIMES = frozenset({"time", "time_ns", "time_ms", "time_s", "timestamp"})  # names of what no model should learn from

_LARGEST = float(np.finfo(np.float32).max)
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+")
_DATE = re.compile(r"(\d{4}([./-])\d{1,2}\2\d{1,2}|\d{1,2}([./-])\d{1,2}\3(\d{4}|\d{2}))([ T,].*)?")


def read_wide(table: Columns, section: DataSection) -> Read:
    """Raises DataError."""
    time = section.time_column or (table.names[0] if holds_dates(table, table.names[0]) else None)
    aside = [section.unit_column, section.label_column, section.target_column, *section.exclude]
    if section.layout != "cmapss":  # there the time is an age, which a live machine can tell as well
        aside.append(time)
    left_out = [name for name in aside if name is not None]
    chosen = choose(table, section.columns, (*left_out, *section.settings))
    if time is None and not section.columns and (clocks := _TIMES.intersection(chosen)):
        name = min(clocks)
        cure = f"time_column = {name!r} with its time_unit, or exclude = [{name!r}]"
        msg = f"{table.path}: column {name!r} holds numbers, and would be an input of the model: say {cure}"
        raise DataError(msg)
    words = () if section.columns else tuple(n for n in table.names if n not in (*chosen, *section.settings, *left_out))
    for name in words:
        _check_words(table, name, has_times=time is not None)
    channels = (*section.settings, *(name for name in chosen if name not in section.settings))
    extra = [name for name in (section.label_column, section.target_column) if name is not None]
    values = np.column_stack([_finite_or_nan(table, name) for name in (*channels, *extra)])
    if section.label_column is not None:
        _check_labels(table, section.label_column, values[:, len(channels)])
    times = None if time is None else times_ns(table, time, section.time_unit)
    machines = []
    for unit, rows in _units(table, section.unit_column):
        if times is None:
            machines.append(Machine(unit, (*channels, *extra), table=values[rows]))
            continue
        _check_order(table, time or "", times, rows, section)
        machines.append(Machine(unit, (*channels, *extra), _readings(times[rows], values[rows])))
    has_label, has_target = section.label_column is not None, section.target_column is not None
    return Read(channels, tuple(machines), times is not None, table.rows, has_label, has_target, words=words)


def _check_words(table: Columns, name: str, *, has_times: bool) -> None:
    """A column of text is no input; one of numbers or times in another writing was meant to be more."""
    row, first = next(((row, text) for row, text in enumerate(table.texts(name)) if text), (0, ""))
    place = f"{table.path}: {table.place(row)}, column {name}: {first!r}"
    leave = f"exclude = [{name!r}] leaves it out"
    if _DECIMAL_COMMA.fullmatch(first):
        msg = f"{place} has a comma where a number has a point; write it so, or {leave}"
        raise DataError(msg)
    if not has_times and is_iso(first):
        msg = f"{place} is a time: time_column = {name!r} says so, {leave}"
        raise DataError(msg)
    if not has_times and _DATE.fullmatch(first):
        msg = f"{place} looks like a time, but is not ISO 8601, such as 2026-01-31T13:00:00; write it so, or {leave}"
        raise DataError(msg)


def _finite_or_nan(table: Columns, name: str) -> Floats:
    values = table.numbers(name)
    wrong = np.flatnonzero(np.abs(values) > _LARGEST)
    if len(wrong):
        row = int(wrong[0])
        says = "infinite" if np.isinf(values[row]) else f"{values[row]:g} is more than float32 holds, as models see it"
        msg = f"{table.path}: {table.place(row)}, column {name}: {says}; a finite number is needed"
        raise DataError(msg)
    return values


def _readings(times: Ints, values: Floats) -> Readings:
    row, channel = np.nonzero(np.isfinite(values))
    return Readings(channel, times[row], values[row, channel])


def _units(table: Columns, name: str | None) -> list[tuple[str, Ints]]:
    """Each machine with its rows, in the order of their first rows."""
    if name is None:
        return [(table.path.stem, np.arange(table.rows))]
    if name not in table.names:
        msg = f"{table.path}: no column {name!r}; there are {', '.join(table.names)}"
        raise DataError(msg)
    found, first, position = np.unique(np.array(table.texts(name)), return_index=True, return_inverse=True)
    return [(str(found[at]), np.flatnonzero(position == at)) for at in np.argsort(first)]


def _check_order(table: Columns, time: str, times: Ints, rows: Ints, section: DataSection) -> None:
    back = np.flatnonzero(np.diff(times[rows]) < 0)
    if len(back):
        row = int(rows[back[0] + 1])
        cure = "sort the rows by time" if section.unit_column else "sort them, or name unit_column if it has several"
        msg = f"{table.path}: {table.place(row)}, column {time}: earlier than the row before of its machine; {cure}"
        raise DataError(msg)


def _check_labels(table: Columns, name: str, values: Floats) -> None:
    wrong = np.flatnonzero(~np.isin(values, (0, 1)) & ~np.isnan(values))
    if len(wrong):
        row = int(wrong[0])
        msg = f"{table.path}: {table.place(row)}, column {name}: {values[row]:g}; a label is 0 or 1"
        raise DataError(msg)
