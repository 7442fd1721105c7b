"""One cell of a table as people read it."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime

from rich.cells import cell_len, chop_cells

from aggregator.core.views import Row
from models.contract.quality import label

TIMES = frozenset({"time", "since", "first", "last"})
_EXACT = 1e15  # above it whole numbers are no longer exact as floats
_MARKS = re.compile(r"(?<=[-/_.])")
_ESCAPES = {"\n": " ⏎ ", "\r": "", "\t": " "}

Cell = str | float | int | None


def is_time(column: str, cells: Iterable[Cell]) -> bool:
    """Whether a column holds times in ns since 1970."""
    return column in TIMES and all(isinstance(cell, int) for cell in cells)


def is_number(column: str, cell: Cell) -> bool:
    """Whether a cell is shown as a number, at the right of its column."""
    return isinstance(cell, (int, float)) and column not in {"quality", "is_open", *TIMES}


def text(column: str, cell: Cell) -> str:
    """Everything but a time. What a terminal would obey is made harmless."""
    if cell is None or cell == "":
        return "-"
    if isinstance(cell, str):
        return "".join(char if char.isprintable() else _ESCAPES.get(char, f"\\x{ord(char):02x}") for char in cell)
    if column == "quality":
        return label(cell)
    if column == "is_open":
        return "yes" if cell else "no"
    return f"{cell:.0f}" if float(cell).is_integer() and abs(cell) < _EXACT else f"{cell:.6g}"


class Clock:
    """How the times of one table are written: what all share is said once, and no digit more than is needed."""

    def __init__(self, rows: Iterable[Row], columns: Iterable[str]) -> None:
        names = tuple(columns)
        times = [cell for row in rows for name in names if isinstance(cell := row.get(name), int)]
        dates = {_moment(time_ns).date() for time_ns in times}
        years = {date.year for date in dates}
        self.shared = dates.pop().isoformat() if len(dates) == 1 else str(years.pop()) if len(years) == 1 else ""
        self._format = {0: "%Y-%m-%d %H:%M:%S", 4: "%m-%d %H:%M:%S", 10: "%H:%M:%S"}[len(self.shared)]
        digits = max((len(f"{time_ns % 10**9:09}".rstrip("0")) for time_ns in times), default=0)
        # a thousandth of a second says enough, but of a waveform
        self._digits = -(-digits // 3) * 3 if max(times, default=0) - min(times, default=0) < 10**9 else min(digits, 3)

    def text(self, time_ns: int) -> str:
        """UTC."""
        whole = _moment(time_ns).strftime(self._format)
        return f"{whole}.{time_ns % 10**9:09}"[: len(whole) + 1 + self._digits] if self._digits else whole


def wrap(content: str, width: int) -> list[str]:
    """Lines of at most `width` columns of a terminal (2 at the least), broken between words where that is possible.

    A word that is too long is broken behind its marks (`compressor-`, `anomaly`), and else anywhere.
    """
    width = max(width, 2)  # the widest letter
    lines = [""]
    for word in content.split(" "):
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if cell_len(joined) <= width:
            lines[-1] = joined
        else:
            parts = _chopped(word, width) or [""]
            lines[-1:] = [line for line in (lines[-1], *parts) if line]
    return lines


def _chopped(word: str, width: int) -> list[str]:
    if cell_len(word) <= width:
        return [word]
    lines = [""]
    for part in _MARKS.split(word):
        if cell_len(lines[-1] + part) <= width:
            lines[-1] += part
        else:
            lines += chop_cells(part, width)
    return [line for line in lines if line]


def pad(content: str, width: int, *, right: bool) -> str:
    """Filled with blanks to a width in columns of a terminal."""
    blanks = " " * (width - cell_len(content))
    return blanks + content if right else content + blanks


def _moment(time_ns: int) -> datetime:
    return datetime.fromtimestamp(time_ns // 10**9, UTC)
