"""Tables of text: one row a frame, one column a channel."""

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

_SEPARATORS = {"tab": "\t", "comma": ",", "semicolon": ";", "space": " "}


class DataError(ValueError):
    """The data cannot be used; the text names the place, what is wrong and what is allowed."""


class Columns(Protocol):
    """A table by columns, whatever file it came from; `name` is always one of `names`."""

    path: Path
    names: tuple[str, ...]
    rows: int

    def is_numeric(self, name: str) -> bool:
        """Whether the column holds numbers, as its first value that is there tells, or the most of them."""

    def numbers(self, name: str) -> NDArray[np.float64]:
        """float64 [rows], NaN where there is nothing. Raises DataError where there is something else."""

    def texts(self, name: str) -> list[str]:
        """[rows], "" where there is nothing."""

    def place(self, row: int) -> str:
        """Where row 0, 1, … stands in the file, in words for a fault."""


class Table(NamedTuple):
    """`values`: float64 [rows, columns], all finite, in the file's units; `times`: the time column's text."""

    columns: tuple[str, ...]
    values: NDArray[np.float64]
    times: tuple[str, ...] = ()


class TextColumns:
    """The columns of a text file."""

    def __init__(self, path: Path, separator: str = ",", header: Sequence[str] | None = None) -> None:
        """Read the file: UTF-8; a blank as separator stands for any run of blanks, as in C-MAPSS.

        `header`: the names of a file that has no header line. Raises DataError, with the line.
        """
        rows = list(_rows(path, separator))
        if header is None and rows:
            header = [name.strip() for name in rows.pop(0)[1]]
        if header is None or not rows:
            msg = f"{path}: no rows" if header else f"{path}: empty; a header line is needed"
            raise DataError(msg)
        _check_shape(path, separator, header, rows)
        self.path, self.names, self.rows = path, tuple(header), len(rows)
        self._lines = [line for line, _ in rows]
        self._cells = dict(zip(header, zip(*(row for _, row in rows), strict=True), strict=True))

    def is_numeric(self, name: str) -> bool:
        """See `Columns`. A word among numbers does not make it text: `numbers` tells where that word is."""
        cells = self._cells[name]
        first = next((cell for cell in cells if cell.strip()), "")
        return _is_number(first) or 2 * sum(map(_is_number, cells)) > len(cells)

    def numbers(self, name: str) -> NDArray[np.float64]:
        """See `Columns`."""
        cells = [cell if cell and not cell.isspace() else "nan" for cell in self._cells[name]]
        try:
            return np.array(list(map(float, cells)))
        except ValueError:
            row = next(at for at, cell in enumerate(cells) if not _is_number(cell))
            says = "a finite number is needed: with a point for a comma, or an empty cell; else exclude the column"
            msg = f"{self.path}: {self.place(row)}, column {name}: {cells[row]!r}; {says}"
            raise DataError(msg) from None

    def texts(self, name: str) -> list[str]:
        """See `Columns`."""
        return [cell.strip() for cell in self._cells[name]]

    def place(self, row: int) -> str:
        """See `Columns`."""
        return f"line {self._lines[row]}"


def read_table(
    path: Path,
    *,
    separator: str = ",",
    header: Sequence[str] | None = None,
    time_column: str | None = None,
    columns: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
) -> Table:
    """Read the file whole, without looking at its times.

    Args:
        path: a text file in UTF-8.
        separator: one character, or its name: tab, comma, semicolon, space; that stands for any run of blanks.
        header: the column names of a file that has no header line.
        time_column: kept as text beside the numbers.
        columns: which to read, in this order; without it every column of numbers.
        exclude: columns to leave out when `columns` is not given, such as labels.

    Raises:
        DataError: with file, line and column of the first fault. Empty, NaN and infinite values are faults, and
            names that the file does not have.
    """
    table = TextColumns(path, separator, header)
    chosen = choose(table, columns or (), (*exclude, *([time_column] if time_column else [])))
    values = np.column_stack([table.numbers(name) for name in chosen])
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        text = table.texts(chosen[column])[row]
        msg = f"{path}: {table.place(row)}, column {chosen[column]}: {text!r}; a finite number is needed"
        raise DataError(msg)
    return Table(chosen, values, tuple(table.texts(time_column)) if time_column else ())


def choose(table: Columns, columns: Sequence[str], left_out: Sequence[str]) -> tuple[str, ...]:
    """`columns`, or every numeric one that is not left out. Raises DataError: a name that is not there, none left."""
    for name in (*columns, *left_out):
        if name not in table.names:
            msg = f"{table.path}: no column {name!r}; there are {', '.join(table.names)}"
            raise DataError(msg)
    chosen = tuple(columns) or tuple(n for n in table.names if n not in left_out and table.is_numeric(n))
    if not chosen:
        cure = "is the separator right, and a point in each number, no comma?"
        msg = f"{table.path}: no numeric column is left; {cure} There are {', '.join(table.names)}"
        raise DataError(msg)
    return chosen


def _check_shape(path: Path, separator: str, header: Sequence[str], rows: Sequence[tuple[int, list[str]]]) -> None:
    if len(set(header)) < len(header):
        msg = f"{path}: line 1: a column name stands twice in {list(header)}"
        raise DataError(msg)
    for line, row in rows:
        if len(row) != len(header):
            msg = f"{path}: line {line}: {len(row)} values for {len(header)} columns; is the separator {separator!r}?"
            msg += f" The columns are {', '.join(header)}" if len(header) == 1 else ""
            raise DataError(msg)


def _rows(path: Path, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of each line that is not blank."""
    separator = _SEPARATORS.get(separator, separator)
    if len(separator) != 1:
        msg = f"separator {separator!r}: one character is allowed, or {', '.join(_SEPARATORS)}"
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
    except UnicodeDecodeError as error:
        msg = (
            f"{path}: no text table in UTF-8, which is needed ({error.reason}); a Parquet file's name ends in .parquet"
        )
        raise DataError(msg) from error
    except csv.Error as error:
        msg = f"{path}: no text table: {error}"
        raise DataError(msg) from error


def _is_number(text: str) -> bool:
    try:
        return not math.isnan(float(text)) or text.strip().lower().lstrip("+-") == "nan"
    except ValueError:
        return False
