"""Rows as CSV and JSON, for programs."""

import csv
import io
from collections.abc import Sequence

import orjson

from aggregator.core.times import iso
from aggregator.core.views import Row
from aggregator.output.cells import TIMES, Cell


def to_csv(rows: Sequence[Row]) -> str:
    """A header and a line each row; times in ISO 8601 (UTC) to the nanosecond, no value = nothing between commas."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_cell(name, row.get(name)) for name in names] for row in rows)
    return text.getvalue()


def to_json(rows: Sequence[Row]) -> str:
    """A list of objects; times in ns since 1970, no value = null, and so what is no finite number."""
    return orjson.dumps(rows).decode() + "\n"


def _cell(name: str, cell: Cell) -> Cell:
    return f"{iso(cell)}Z" if name in TIMES and isinstance(cell, int) else cell
