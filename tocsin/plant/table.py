"""From the lines of any CSV file to the readings they state. Pure: text in, readings out.

Every fault names file, line and column, and what is allowed there. What the columns of a table mean (`choose`,
`AssetNames`, `count_ns`) holds for tables that are no text as well.
"""

import csv
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Literal, NamedTuple, NoReturn

from models.contract.topics import is_channel_name
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
_IN_NO_LEVEL = re.compile(r"[+#/]")  # of a topic
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
    if not header:
        msg = f"{source}: the file is empty (allowed: a header and lines of data)"
        raise UserError(msg)
    reader: _LineReader | None = None
    for line, row in cells:
        if len(row) != len(header):
            msg = f"{source}: line {line}: {len(row)} cells (allowed: {len(header)}, as many as there are columns)"
            msg += _asked(layout)
            raise UserError(msg)
        reader = reader or _LineReader(layout, header, row, source)
        yield reader.read(line, row)


class Chosen(NamedTuple):
    """Which columns of a table are read. A channel is called as its column, without the blanks around it."""

    time: str
    channels: tuple[tuple[str, str], ...]  # column, and the channel's name


def choose(layout: Layout, header: Sequence[str], numeric: Iterable[str], source: str, hint: str = "") -> Chosen:
    """The columns that `layout` means in a table with this header, of which some are numeric. Raises UserError.

    `hint`: ends an error that tells that the header may have been read wrongly.
    """
    time = layout.time_column or header[0]
    special = {time, layout.asset_column}
    for name in (*special, *layout.channels, *layout.exclude):
        if name and name not in header:
            msg = f"{source}: there is no column {name!r} (allowed: {', '.join(header)})"
            raise UserError(msg + (hint if len(header) == 1 else ""))
    wanted = layout.channels or [name for name in numeric if name not in special]
    channels = tuple((name, name.strip()) for name in wanted if name not in layout.exclude)
    names = [channel for _, channel in channels]
    if not names:
        found = ", ".join(map(repr, header))
        msg = f"{source}: no channel is left (allowed: numeric columns besides the time; found: {found}){hint}"
        raise UserError(msg)
    for name in names:
        if not is_channel_name(name):
            msg = (
                f"{source}: column {name!r} is no name of a channel (allowed: 1 to 500 characters that can be printed)"
            )
            raise UserError(msg)
        if names.count(name) > 1:
            msg = f"{source}: {name!r} stands for several columns (allowed: distinct names)"
            raise UserError(msg)
    return Chosen(time, channels)


class AssetNames:
    """From what a table says to names of assets, each checked once."""

    def __init__(self, layout: Layout, source: str) -> None:
        self._layout, self._source = layout, source
        self._known: dict[str, str] = {}

    def find(self, raw: str, place: str) -> str:
        """The asset's name; `place` names the row in errors. Raises UserError."""
        if raw not in self._known:
            asset = self._layout.asset_prefix + raw.strip()
            if not is_channel_name(asset) or _IN_NO_LEVEL.search(asset):
                allowed = "1 to 500 characters that can be printed, without +, # and /"
                column = self._layout.asset_column or "--asset"
                refuse(self._source, place, column, f"{asset!r} is no name of an asset", allowed)
            self._known[raw] = asset
        return self._known[raw]


class _LineReader:
    """Knows which column means what; which are numeric is told by the first line with data."""

    def __init__(self, layout: Layout, header: tuple[str, ...], first: Sequence[str], source: str) -> None:
        self._layout, self._source = layout, source
        numeric = [name for name, cell in zip(header, first, strict=True) if _number(cell) is not None]
        chosen = choose(layout, header, numeric, source, _asked(layout))
        position = {name: i for i, name in enumerate(header)}
        self._time, self._time_at = chosen.time, position[chosen.time]
        self._channels = [(position[name], name, channel) for name, channel in chosen.channels]
        self._asset_at = position[layout.asset_column] if layout.asset_column else None
        self._assets = AssetNames(layout, source)

    def read(self, line: int, row: Sequence[str]) -> tuple[Row, ...]:
        place = f"line {line}"
        time_ns = self._time_ns(place, row[self._time_at])
        asset = self._assets.find(self._layout.asset if self._asset_at is None else row[self._asset_at], place)
        rows = []
        for at, name, channel in self._channels:
            value = _number(row[at])
            if value is None:
                allowed = "a number with '.', or nothing; else --exclude the column"
                refuse(self._source, place, name, f"{row[at]!r} is no number", allowed)
            if math.isfinite(value):
                rows.append(Row(asset, channel, time_ns, value))
        return tuple(rows)

    def _time_ns(self, place: str, text: str) -> int:
        unit = self._layout.time_unit
        try:
            return parse_iso_ns(text) if unit == "iso" else self._layout.start_ns + count_ns(text, unit)
        except ValueError:
            refuse(self._source, place, self._time, f"{text!r} is no time", allowed_times(unit))


def count_ns(text: str, unit: TimeUnit) -> int:
    """A decimal number of a unit as ns. Raises ValueError when it is none, or reaches further than 146 years."""
    try:
        count = Decimal(text.strip()) * _UNIT_NS[unit]
    except InvalidOperation as error:
        raise ValueError(text) from error
    if not count.is_finite() or abs(count) > _LATEST_NS:
        raise ValueError(text)
    return int(count)


def allowed_times(unit: TimeUnit) -> str:
    """What a time may look like, for an error."""
    return (
        "ISO 8601; for numbers give --time-unit, where it is another column --time-column"
        if unit == "iso"
        else f"a number of {unit}"
    )


def refuse(source: str, place: str, column: str, what: str, allowed: str) -> NoReturn:
    """Raises UserError: `place` names the line or row, `what` says what stands there."""
    msg = f"{source}: {place}, column {column!r}: {what} (allowed: {allowed})"
    raise UserError(msg) from None


def _asked(layout: Layout) -> str:
    return f"; is the separator {layout.separator!r}?"


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
