"""A page as Markdown (CommonMark with tables). Curves become block characters."""

import math
import re
from collections.abc import Iterator

import numpy as np

from aggregator.core.report.content import Curve
from aggregator.core.report.document import Cell, Document, Mark, Points, Spark, Table, height

_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 20  # characters of a curve
# What would be taken for Markdown or HTML; an underscore only where it could begin or end emphasis.
_SPECIAL = re.compile(r"([\\`*<>\[\]|~&$]|(?<![^\W_])_|_(?![^\W_]))")


def to_markdown(document: Document) -> str:
    """The text, which ends with a line break."""
    return "\n".join(_lines(document)) + "\n"


def _lines(document: Document) -> Iterator[str]:
    yield f"# {_escape(document.title)}"
    for sentence in document.lead:
        yield from ("", _escape(sentence))
    for section in document.sections:
        yield from ("", f"## {_escape(section.title)}")
        for block in section.blocks:
            yield ""
            if isinstance(block, Table):
                yield from _table(block)
            elif isinstance(block, Points):
                for number, (point, reasons) in enumerate(block.points, 1):
                    yield f"{number}. {_escape(point)}"
                    yield from (f"   - {_escape(reason)}" for reason in reasons)
            else:
                yield _escape(block)
        if section.note:
            yield from ("", f"*{_escape(section.note)}*")


def _table(table: Table) -> Iterator[str]:
    cells = [[_escape(column) for column in table.columns], *([_cell(cell) for cell in row] for row in table.rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    right = [column in table.numbers for column in table.columns]
    rule = [f"{'-' * (width - 1)}:" if flush else "-" * width for width, flush in zip(widths, right, strict=True)]
    for row in (cells[0], rule, *cells[1:]):
        padded = (
            cell.rjust(width) if flush else cell.ljust(width)
            for cell, width, flush in zip(row, widths, right, strict=True)
        )
        yield f"| {' | '.join(padded)} |"
    if table.left_out:
        yield from ("", f"and {table.left_out:,} more")


def _cell(cell: Cell) -> str:
    if isinstance(cell, Spark):
        return bars(cell.values, cell.low, cell.high) or "-"
    return _escape(cell.words if isinstance(cell, Mark) else cell)


def bars(values: Curve, low: float, high: float) -> str:
    """At most 20 characters; where there is no value, a blank."""
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return ""
    low, high = min(low, *known), max(high, *known)
    steps = len(_BARS) - 1
    text = ""
    for part in np.array_split(np.array(values), min(_WIDTH, len(values))):
        told = np.sort(part[np.isfinite(part)]).tolist()
        text += _BARS[round(height(told[len(told) // 2], low, high) * steps)] if len(told) else " "
    return text.rstrip()


def _escape(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)
