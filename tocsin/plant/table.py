"""From the lines of any CSV file to the readings they state. Pure: text in, readings out.

Every fault names file, line and column, and what is allowed there.
"""

import csv
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Literal, NamedTuple, NoReturn

from models.contract.topics import NAME_PATTERN, clean_name
from tocsin.errors import UserError
from tocsin.plant.messages import Row

TimeUnit = Literal["iso", "s", "ms", "us", "ns", "min", "h", "d"]
_UNIT_NS: dict[TimeUnit, int] = {
    "ns": 1,
    "us": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "min": 60 * 10**9,
    "h": 3600 * 10**9,
    "d": 86_400 * 10**9,
}
_LATEST_NS = 2**62  # 146 years: sums of two still fit in 64 bits
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAME = re.compile(NAME_PATTERN)
_SEPARATORS = {"tab": "\t", "comma": ",", "semicolon": ";", "space": " "}


class Layout(NamedTuple):
    """How to read the file. Names of columns are those of the header, or of `columns` when it has none."""

    separator: str = ","  # one character, or a word of: comma, semicolon, tab, space (any run of blanks)
    columns: tuple[str, ...] = ()  # empty = the first line is the header
    time_column: str = ""  # empty = the first column
    time_unit: TimeUnit = "iso"
    start_ns: int = 0  # what numbers count from
    asset: str = "replay"
    asset_column: str = ""  # instead of `asset`
    asset_prefix: str = ""
    channels: tuple[str, ...] = ()  # empty = every numeric column
    exclude: tuple[str, ...] = ()


def parse_iso_ns(text: str) -> int:
    """Epoch ns of ISO 8601 text, to the microsecond; without a zone it is UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text.strip())
    span = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    return ((span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds) * 1000


def read_table(lines: Iterable[str], layout: Layout, source: str) -> Iterator[tuple[Row, ...]]:
    """The readings of each line with data, in order. Empty cells and NaN are no readings. Raises UserError."""
    cells = _split(lines, layout.separator, source)
    header = layout.columns or tuple(name.strip() for name in next(cells, (1, ()))[1])
    reader: _LineReader | None = None
    for line, row in cells:
        if len(row) != len(header):
            msg = f"{source}: line {line}: {len(row)} cells (allowed: {len(header)}, as many as there are columns)"
            raise UserError(msg)
        reader = reader or _LineReader(layout, header, row, source)
        yield reader.read(line, row)


class _LineReader:
    """Knows which column means what; which are numeric is told by the first line with data."""

    def __init__(self, layout: Layout, header: tuple[str, ...], first: Sequence[str], source: str) -> None:
        self._layout, self._source = layout, source
        self._position = {name: i for i, name in enumerate(header)}
        self._time = layout.time_column or header[0]
        special = {self._time, layout.asset_column}
        for name in (*special, *layout.channels, *layout.exclude):
            if name and name not in self._position:
                msg = f"{source}: there is no column {name!r} (allowed: {', '.join(header)})"
                raise UserError(msg)
        numeric = [name for name in header if _number(first[self._position[name]]) is not None]
        chosen = layout.channels or [name for name in numeric if name not in special]
        self._channels = [(name, clean_name(name)) for name in chosen if name not in layout.exclude]
        self._check_channels(header)
        self._assets: dict[str, str] = {}

    def read(self, line: int, row: Sequence[str]) -> tuple[Row, ...]:
        time_ns = self._time_ns(line, row[self._position[self._time]])
        asset = self._asset(line, row)
        rows = []
        for name, channel in self._channels:
            value = _number(row[self._position[name]])
            if value is None:
                what = f"{row[self._position[name]]!r} is no number"
                allowed = "a number with '.', or nothing; else --exclude the column"
                _refuse(self._source, line, name, what, allowed)
            if math.isfinite(value):
                rows.append(Row(asset, channel, time_ns, value))
        return tuple(rows)

    def _check_channels(self, header: tuple[str, ...]) -> None:
        names = [channel for _, channel in self._channels]
        if not names:
            msg = f"{self._source}: no channel is left to publish (allowed: numeric columns of {', '.join(header)})"
            raise UserError(msg)
        twice = sorted({name for name in names if names.count(name) > 1 or not name})
        if twice:
            msg = f"{self._source}: channels {twice} stand for no or several columns (allowed: distinct names)"
            raise UserError(msg)

    def _asset(self, line: int, row: Sequence[str]) -> str:
        column = self._layout.asset_column
        raw = row[self._position[column]] if column else self._layout.asset
        if raw not in self._assets:
            asset = self._layout.asset_prefix + raw.strip()
            if not _NAME.match(asset):
                allowed = "1 to 64 letters, digits, '_', '.', '-', the first a letter or digit"
                _refuse(self._source, line, column or "--asset", f"{asset!r} is no name of an asset", allowed)
            self._assets[raw] = asset
        return self._assets[raw]

    def _time_ns(self, line: int, text: str) -> int:
        unit = self._layout.time_unit
        try:
            return parse_iso_ns(text) if unit == "iso" else self._layout.start_ns + _count_ns(text, unit)
        except ValueError:
            allowed = "ISO 8601; for numbers give --time-unit" if unit == "iso" else f"a number of {unit}"
            _refuse(self._source, line, self._time, f"{text!r} is no time", allowed)


def _count_ns(text: str, unit: TimeUnit) -> int:
    """A decimal number of a unit as ns. Raises ValueError when it is none, or reaches further than 146 years."""
    try:
        count = Decimal(text.strip()) * _UNIT_NS[unit]
    except InvalidOperation as error:
        raise ValueError(text) from error
    if not count.is_finite() or abs(count) > _LATEST_NS:
        raise ValueError(text)
    return int(count)


def _refuse(source: str, line: int, column: str, what: str, allowed: str) -> NoReturn:
    msg = f"{source}: line {line}, column {column!r}: {what} (allowed: {allowed})"
    raise UserError(msg) from None


def _number(text: str) -> float | None:
    """A float, NaN for an empty cell, None for anything else."""
    text = text.strip()
    if not text:
        return math.nan
    try:
        return float(text)
    except ValueError:
        return None


def _split(lines: Iterable[str], separator: str, source: str) -> Iterator[tuple[int, Sequence[str]]]:
    """(line number, cells) of each line that is not empty."""
    character = _SEPARATORS.get(separator, separator)
    if len(character) != 1:
        msg = f"separator {separator!r} (allowed: one character, or {', '.join(_SEPARATORS)})"
        raise UserError(msg)
    if character == " ":
        yield from ((number, line.split()) for number, line in enumerate(lines, 1) if line.strip())
        return
    table = csv.reader(lines, delimiter=character)
    try:
        for cells in table:
            if cells:
                yield table.line_num, cells
    except csv.Error as error:
        msg = f"{source}: line {table.line_num}: {error}"
        raise UserError(msg) from error
