"""A numeric table from a text file: one row a frame, one column a channel."""

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class DataError(ValueError):
    """The data cannot be used; the text names the place, what is wrong and what is allowed."""


class Table(NamedTuple):
    """`values`: float64 [rows, columns], all finite, in the file's units; `times`: the time column's text."""

    columns: tuple[str, ...]
    values: NDArray[np.float64]
    times: tuple[str, ...] = ()


def read_table(
    path: Path,
    *,
    separator: str = ",",
    header: Sequence[str] | None = None,
    time_column: str | None = None,
    columns: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
) -> Table:
    """Read the file.

    Args:
        path: a text file in UTF-8.
        separator: one character; a blank stands for any run of blanks, as in C-MAPSS.
        header: the column names of a file that has no header line.
        time_column: kept as text beside the numbers.
        columns: which to read, in this order; without it every column whose first value is a number.
        exclude: columns to leave out when `columns` is not given, such as labels.

    Raises:
        DataError: with file, line and column of the first fault. Empty, NaN and infinite values are faults.
    """
    rows = list(_rows(path, separator))
    if header is None and rows:
        header = [name.strip() for name in rows.pop(0)[1]]
    if header is None or not rows:
        msg = f"{path}: no rows" if header else f"{path}: empty; a header line is needed"
        raise DataError(msg)
    _check_shape(path, separator, header, rows)
    if columns is None:
        left_out = {*exclude, time_column}
        first = zip(header, rows[0][1], strict=True)
        columns = [name for name, text in first if name not in left_out and _is_number(text)]
    for name in (*columns, *([time_column] if time_column else [])):
        if name not in header:
            msg = f"{path}: no column {name!r}; there are {', '.join(header)}"
            raise DataError(msg)
    if not columns:
        msg = f"{path}: no numeric column; is the separator {separator!r}?"
        raise DataError(msg)
    positions = [(name, header.index(name)) for name in columns]
    values = [[_number(row[at], path, line, name) for name, at in positions] for line, row in rows]
    times = tuple(row[header.index(time_column)] for _, row in rows) if time_column else ()
    return Table(tuple(columns), np.array(values, np.float64), times)


def _check_shape(path: Path, separator: str, header: Sequence[str], rows: Sequence[tuple[int, list[str]]]) -> None:
    if len(set(header)) < len(header):
        msg = f"{path}: line 1: a column name stands twice in {list(header)}"
        raise DataError(msg)
    for line, row in rows:
        if len(row) != len(header):
            msg = f"{path}: line {line}: {len(row)} values for {len(header)} columns; is the separator {separator!r}?"
            raise DataError(msg)


def _rows(path: Path, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of each line that is not blank."""
    if len(separator) != 1:
        msg = f"separator {separator!r}: one character is allowed"
        raise DataError(msg)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if separator == " ":
                yield from ((number, line.split()) for number, line in enumerate(file, 1) if line.strip())
            else:
                reader = csv.reader(file, delimiter=separator)
                yield from ((reader.line_num, row) for row in reader if row)
    except OSError as error:
        msg = f"{path}: cannot be read: {error.strerror}"
        raise DataError(msg) from error
    except (UnicodeDecodeError, csv.Error) as error:
        msg = f"{path}: no text table: {error}"
        raise DataError(msg) from error


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _number(text: str, path: Path, line: int, column: str) -> float:
    if not _is_number(text) or not math.isfinite(value := float(text)):
        msg = f"{path}: line {line}, column {column}: {text!r}; a finite number is needed"
        raise DataError(msg)
    return value
