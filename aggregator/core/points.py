"""Batches as tables of the schema, and tables as line protocol.

A table keeps the batch's columns as they are: distinct tag sets once, and beside them positions, times and fields.

Invariants
1. Each row has at least one finite field; NaN means that the row has no such field. Infinity never gets here.
2. Tags stand in the schema's order, so a series has one spelling in every store.
3. A line is made from a row without knowledge of other rows; lines are never split at newlines (a text may hold one).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.contract.batch import Floats, Ints
from models.contract.schema import MEASUREMENTS

_TAG_SPECIALS = re.compile(r"([,= ])")
_TEXT_SPECIALS = re.compile(r'(["\\])')


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of one measurement. Columns are of equal length."""

    measurement: str
    tags: list[tuple[str, ...]]  # distinct sets, in the schema's order
    index: NDArray[np.int32]  # position in `tags`
    time_ns: Ints
    floats: dict[str, Floats]  # NaN = absent
    strings: dict[str, list[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.time_ns)

    def where(self, keep: NDArray[np.bool_]) -> "Table":
        """The rows that are marked."""
        if keep.all():
            return self
        return Table(
            self.measurement,
            self.tags,
            self.index[keep],
            self.time_ns[keep],
            {name: values[keep] for name, values in self.floats.items()},
            {
                name: [text for text, kept in zip(texts, keep, strict=True) if kept]
                for name, texts in self.strings.items()
            },
        )

    def cut(self, start: int, stop: int) -> "Table":
        """The rows from `start` to before `stop`, as views."""
        if start == 0 and stop >= len(self):
            return self
        part = slice(start, stop)
        return Table(
            self.measurement,
            self.tags,
            self.index[part],
            self.time_ns[part],
            {name: values[part] for name, values in self.floats.items()},
            {name: texts[part] for name, texts in self.strings.items()},
        )

    @classmethod
    def joined(cls, tables: Sequence["Table"]) -> "Table":
        """The rows of several tables of one measurement; what a table has no column for is absent in its rows."""
        sizes = [len(table) for table in tables]
        offsets = np.cumsum([0, *(len(table.tags) for table in tables)])
        names = dict.fromkeys(name for table in tables for name in table.floats)
        texts = dict.fromkeys(name for table in tables for name in table.strings)
        return cls(
            tables[0].measurement,
            [tags for table in tables for tags in table.tags],
            np.concatenate([table.index + offset for table, offset in zip(tables, offsets, strict=False)]),
            np.concatenate([table.time_ns for table in tables]),
            {
                name: np.concatenate(
                    [
                        table.floats[name] if name in table.floats else np.full(n, np.nan)
                        for table, n in zip(tables, sizes, strict=True)
                    ]
                )
                for name in names
            },
            {
                name: [t for table, n in zip(tables, sizes, strict=True) for t in table.strings.get(name, [""] * n)]
                for name in texts
            },
        )

    def lines(self) -> list[bytes]:
        """One line of line protocol a row, without newline at its end; numbers are always floats, times int ns.

        Slow: `lines.py` makes bodies of many rows.
        """
        prefixes = [prefix(self.measurement, tags) for tags in self.tags]
        columns = [_float_column(name, values) for name, values in self.floats.items()]
        columns += [[f'{name}="{escape_text(text)}"' for text in texts] for name, texts in self.strings.items()]
        rows = zip(self.index.tolist(), zip(*columns, strict=True), self.time_ns.tolist(), strict=True)
        return [
            f"{prefixes[position]} {','.join(cell for cell in cells if cell)} {time_ns}".encode()
            for position, cells, time_ns in rows
        ]


@dataclass(frozen=True, eq=False)
class Points:
    """Tables of one or more batches: what a store writes at once."""

    tables: tuple[Table, ...] = ()

    def __len__(self) -> int:
        return sum(map(len, self.tables))

    def __add__(self, other: "Points") -> "Points":
        return Points(self.tables + other.tables)

    def lines(self) -> list[bytes]:
        """All rows as line protocol."""
        return [line for table in self.tables for line in table.lines()]


def prefix(measurement: str, tags: tuple[str, ...]) -> str:
    """What a line begins with: the measurement and its tags in the schema's order."""
    names = MEASUREMENTS[measurement].tags
    return ",".join((measurement, *(f"{name}={escape_tag(tag)}" for name, tag in zip(names, tags, strict=True))))


def escape_tag(value: str) -> str:
    """A tag's value in line protocol. Values that line protocol cannot carry are refused before (validate.py)."""
    return _TAG_SPECIALS.sub(r"\\\1", value)


def escape_text(value: str) -> str:
    """A string field's content in line protocol."""
    return _TEXT_SPECIALS.sub(r"\\\1", value)


def _float_column(name: str, values: Floats) -> list[str]:
    # repr is the shortest text that reads back as the same number; NaN is the one value unequal to itself
    return [f"{name}={value!r}" if value == value else "" for value in values.tolist()]  # noqa: PLR0124
