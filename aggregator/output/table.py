"""Rows as a table that fits its terminal.

What is the same in all rows stands above them, once. Long texts are folded; what does not fit beside the other columns
stands below its row. A wider terminal shows more columns, a narrower one no less.
"""

from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len

from aggregator.core.views import Row
from aggregator.output.cells import Clock, is_number, is_time, pad, text, wrap

_GAP = "  "
_NARROWEST = 16  # a text column is not folded to less
_BELOW = ("message", "id")  # the first to stand below
_INDENT = "    "


class Table(NamedTuple):
    """Lines of text; `caption` is empty when the rows share nothing."""

    caption: str
    head: list[str]
    body: list[str]


class _Column(NamedTuple):
    name: str
    cells: list[str]
    is_right: bool  # numbers
    may_fold: bool  # texts

    @property
    def head(self) -> list[str]:
        """The name, broken at its underscores where the cells are narrower than it."""
        room = max([_cells_width(self.cells), *map(len, self.name.split("_"))])
        return wrap(self.name.replace("_", " "), room)

    @property
    def width(self) -> int:
        return max(_cells_width(self.cells), *map(cell_len, self.head))


def table(rows: Sequence[Row], width: int) -> Table:
    """Of at least one row; `width` in columns of the terminal."""
    shared, columns = _columns(rows)
    widths = {column.name: column.width for column in columns}
    beside = list(columns)
    _fold(beside, widths, width)
    for name in _BELOW:
        if _total(beside, widths) > width:
            beside = [column for column in beside if column.name != name] or beside
            _fold(beside, widths, width)
    while _total(beside, widths) > width and len(beside) > 1:
        beside.pop()
        widths |= {column.name: column.width for column in beside}
        _fold(beside, widths, width)
    below = [column for column in columns if column not in beside]
    body: list[str] = []
    for i in range(len(rows)):
        body += _row(beside, widths, i)
        details = [f"{column.name} {column.cells[i]}" for column in below if column.cells[i] != "-"]
        body += [_INDENT + line for line in wrap(" · ".join(details), width - len(_INDENT))] if details else []
    return Table(" · ".join(shared), _head(beside, widths), body)


def _columns(rows: Sequence[Row]) -> tuple[list[str], list[_Column]]:
    names = dict.fromkeys(name for row in rows for name in row)
    times = [name for name in names if is_time(name, (row.get(name) for row in rows))]
    clock = Clock(rows, times)
    shared = [f"{clock.shared} UTC" if clock.shared else "times in UTC"] if times else []
    columns = []
    for name in names:
        values = [row.get(name) for row in rows]
        cells = [clock.text(v) if name in times and isinstance(v, int) else text(name, v) for v in values]
        is_right = all(is_number(name, value) or value is None for value in values)
        if set(cells) == {"-"}:
            continue
        if name not in times and not is_right and len(set(cells)) == 1 and (len(rows) > 1 or name == "site"):
            shared.append(f"{name} {cells[0]}")
        else:
            columns.append(_Column(name, cells, is_right, may_fold=not is_right and name not in times))
    if not columns:  # all blank or all the same: the last column stands for the rows
        name = next(reversed(names))
        columns = [_Column(name, [text(name, row.get(name)) for row in rows], is_right=False, may_fold=True)]
    return shared, columns


def _fold(columns: list[_Column], widths: dict[str, int], width: int) -> None:
    """Narrows the widest text column as long as that helps."""
    while (over := _total(columns, widths) - width) > 0:
        texts = [column.name for column in columns if column.may_fold and widths[column.name] > _NARROWEST]
        if not texts:
            return
        widest = max(texts, key=lambda name: widths[name])
        others = (widths[name] for name in texts if name != widest)
        widths[widest] = min(max(_NARROWEST, widths[widest] - over, *others), widths[widest] - 1)


def _total(columns: list[_Column], widths: dict[str, int]) -> int:
    return sum(widths[column.name] + len(_GAP) for column in columns) - len(_GAP)


def _head(columns: list[_Column], widths: dict[str, int]) -> list[str]:
    heads = [column.head for column in columns]
    height = max(map(len, heads))
    return [
        _GAP.join(
            pad(([""] * (height - len(head)) + head)[i], widths[column.name], right=column.is_right)
            for column, head in zip(columns, heads, strict=True)
        ).rstrip()
        for i in range(height)
    ]


def _row(columns: list[_Column], widths: dict[str, int], i: int) -> list[str]:
    folded = [wrap(column.cells[i], widths[column.name]) for column in columns]
    height = max(map(len, folded))
    return [
        _GAP.join(
            pad((lines + [""] * height)[k], widths[column.name], right=column.is_right)
            for column, lines in zip(columns, folded, strict=True)
        ).rstrip()
        for k in range(height)
    ]


def _cells_width(cells: list[str]) -> int:
    return max(map(cell_len, cells))
