"""Line protocol, column by column: what a request to an InfluxDB carries.

A column becomes text in one call and one cut, a series' name is escaped once and remembered, and the cells of all
rows are joined at the end. `Table.lines` makes the same rows one by one; it is the slow way, for the rare case that
single rows have to be told apart, and the oracle of this one.

Invariants
1. Numbers are floats in the shortest text that reads back the same, times integer ns; an absent field is left out.
2. A body holds the rows of its tables, each once, in any order; it is never cut again (a text may hold a newline).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import orjson
from numpy.typing import NDArray

from aggregator.core.batching import MAX_ROWS
from aggregator.core.points import Points, Table, prefix
from models.contract.batch import Floats, Ints

Cells = list[bytes]
_CUT = b"\x00"  # in no number, so a column's text can be cut at it


@dataclass(frozen=True, eq=False)
class Block:
    """What one request carries."""

    body: bytes  # lines with newlines between them
    tables: tuple[Table, ...]

    def __len__(self) -> int:
        return sum(map(len, self.tables))

    def lines(self) -> list[bytes]:
        """The rows one by one, each as line protocol without newline at its end."""
        return [line for table in self.tables for line in table.lines()]


def blocks(points: Points, max_rows: int = MAX_ROWS) -> list[Block]:
    """All rows, in as few blocks as `max_rows` allows."""
    found: list[Block] = []
    waiting: list[Table] = []
    room = max_rows
    for table in _merged(points.tables):
        start = 0
        while start < len(table):
            part = table.cut(start, start + room)
            waiting.append(part)
            start, room = start + len(part), room - len(part)
            if not room:
                found.append(_block(waiting))
                waiting, room = [], max_rows
    return [*found, _block(waiting)] if waiting else found


def body(table: Table) -> bytes:
    """A table's rows, each with a newline at its end. Rows without any field are not asked of it (Table, 1)."""
    if table.strings:
        return b"".join(line + b"\n" for line in table.lines())
    if not len(table):
        return b""
    # rows with the same fields have the same form, and nearly always there is one or two of them
    form = np.zeros(len(table), dtype=np.int64)
    for bit, values in enumerate(table.floats.values()):
        form |= (~np.isnan(values)).astype(np.int64) << bit
    if (form == form[0]).all():
        return _alike(table, int(form[0]))
    return b"".join(_alike(table.where(form == one), one) for one in np.unique(form).tolist())


def _block(tables: list[Table]) -> Block:
    return Block(b"".join(map(body, tables)).removesuffix(b"\n"), tuple(tables))


def _alike(table: Table, form: int) -> bytes:
    """Rows that all have the fields whose bits are set in `form`."""
    names = [name for bit, name in enumerate(table.floats) if form >> bit & 1]
    columns: list[Cells] = [_names(table)]
    for mark, name in zip([b"", *[b","] * len(names)], names, strict=False):
        columns.append(_numbers(mark + name.encode() + b"=", table.floats[name]))
    columns.append(_times(table.time_ns))
    parts = [b""] * (len(columns) * len(table))
    for position, cells in enumerate(columns):
        parts[position :: len(columns)] = cells
    return b"".join(parts)


def _names(table: Table) -> Cells:
    """Measurement and tags of each row, with the blank behind them."""
    names = np.empty(len(table.tags), dtype=object)
    names[:] = [_name(table.measurement, tags) for tags in table.tags]
    cells: Cells = names[table.index].tolist()
    return cells


@lru_cache(maxsize=100_000)
def _name(measurement: str, tags: tuple[str, ...]) -> bytes:
    return prefix(measurement, tags).encode() + b" "


def _numbers(name: bytes, values: Floats) -> Cells:
    with np.errstate(invalid="ignore"):  # what is no small number is cast to some, and is then unequal
        small = values.astype(np.uint8)
    if (small == values).all():  # quality codes, flags, percentages
        cells: Cells = _small(name)[small].tolist()
        return cells
    text = _text(values)
    return (name + text.replace(b",", _CUT + name)).split(_CUT)


@lru_cache(maxsize=64)
def _small(name: bytes) -> NDArray[np.object_]:
    cells = np.empty(256, dtype=object)
    cells[:] = [name + b"%d.0" % number for number in range(256)]
    return cells


def _times(time_ns: Ints) -> Cells:
    return (b" " + _text(time_ns).replace(b",", b"\n" + _CUT + b" ") + b"\n").split(_CUT)


def _text(column: Floats | Ints) -> bytes:
    """All numbers with commas between them."""
    return orjson.dumps(np.ascontiguousarray(column), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]


def _merged(tables: Iterable[Table]) -> Iterator[Table]:
    """One table for each measurement: many small batches then cost no more than a large one."""
    alike: dict[str, list[Table]] = {}
    for table in tables:
        alike.setdefault(table.measurement, []).append(table)
    for several in alike.values():
        yield several[0] if len(several) == 1 else Table.joined(several)
