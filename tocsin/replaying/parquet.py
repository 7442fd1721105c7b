"""From a Parquet file to the readings it states, as `tocsin.plant.table` does from a CSV file.

Rows are read a chunk at a time: the memory needed does not depend on the file's size.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from tocsin.errors import UserError
from tocsin.plant.messages import Row
from tocsin.plant.table import AssetNames, Layout, allowed_times, choose, count_ns, parse_iso_ns, refuse

_CHUNK_ROWS = 16_384
_NS = {"ns": 1, "us": 1000, "ms": 1_000_000}
_DAY_NS = 86_400 * 10**9
_LIMIT_NS = 2**62  # as of CSV files


def read_parquet(path: Path, layout: Layout, on_read: Callable[[int, int], None]) -> Iterator[tuple[Row, ...]]:
    """The readings of each row, in order. Nulls, NaN and infinities are no readings.

    The time column holds timestamps (without a zone: UTC), dates, ISO 8601 text, or numbers of `layout.time_unit`.
    `on_read(done, total)` counts rows. Raises UserError, OSError.
    """
    with path.open("rb"):  # what cannot be read is an OSError that names the file
        pass
    try:
        lazy = pl.scan_parquet(path, glob=False)
        schema = lazy.collect_schema()
        total = int(lazy.select(pl.len()).collect().item())
        reader = _Reader(layout, schema, str(path))
        for start in range(0, total, _CHUNK_ROWS):
            chunk = lazy.select(reader.columns).slice(start, _CHUNK_ROWS).collect()
            yield from reader.read(chunk, start + 1)
            on_read(start + len(chunk), total)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        text = str(error).partition("\n")[0]
        msg = f"{path}: cannot be read as Parquet: {text} (allowed: a whole file; for CSV text the name ends in .csv)"
        raise UserError(msg) from error


class _Reader:
    """Knows which column means what; which are numeric is told by their types."""

    def __init__(self, layout: Layout, schema: pl.Schema, source: str) -> None:
        self._layout, self._source, self._schema = layout, source, schema
        if not schema:
            msg = f"{source}: holds no columns (allowed: a time column and columns of numbers)"
            raise UserError(msg)
        numeric = [name for name, kind in schema.items() if kind.is_numeric() or kind == pl.Boolean]
        chosen = choose(layout, list(schema), numeric, source)
        for name, _ in chosen.channels:
            if name not in numeric:
                msg = f"{source}: column {name!r} is of type {schema[name]} (allowed: numbers or booleans)"
                raise UserError(msg)
        self._time, self._channels = chosen.time, chosen.channels
        self._assets = AssetNames(layout, source)

    @property
    def columns(self) -> list[str]:
        """Those that are needed."""
        wanted = [self._time, self._layout.asset_column, *(name for name, _ in self._channels)]
        return list(dict.fromkeys(filter(None, wanted)))

    def read(self, chunk: pl.DataFrame, first: int) -> Iterator[tuple[Row, ...]]:
        """`first`: the number of the chunk's first row, counted from 1."""
        times = self._times_ns(chunk[self._time], first)
        assets = self._asset_names(chunk, first)
        columns = [chunk[name].cast(pl.Float64).to_list() for name, _ in self._channels]
        channels = [channel for _, channel in self._channels]
        for time_ns, asset, values in zip(times, assets, zip(*columns, strict=True), strict=True):
            cells = zip(channels, values, strict=True)
            yield tuple(Row(asset, name, time_ns, v) for name, v in cells if v is not None and math.isfinite(v))

    def _asset_names(self, chunk: pl.DataFrame, first: int) -> list[str]:
        column = self._layout.asset_column
        if not column:
            return [self._assets.find(self._layout.asset, f"row {first}")] * len(chunk)
        cells = chunk[column].cast(pl.String).fill_null("").to_list()
        return [self._assets.find(cell, f"row {row}") for row, cell in enumerate(cells, first)]

    def _times_ns(self, column: pl.Series, first: int) -> list[int]:
        convert = self._converter(column.dtype)
        cells = (column.to_physical() if column.dtype.is_temporal() else column).to_list()
        times = []
        for row, cell in enumerate(cells, first):
            try:
                times.append(_within_limits(convert(cell)))
            except (ValueError, TypeError):
                what = "nothing is no time" if cell is None else f"{cell!r} is no time"
                refuse(self._source, f"row {row}", self._time, what, allowed_times(self._layout.time_unit))
        return times

    def _converter(self, kind: pl.DataType) -> Callable[[Any], int]:
        """From a cell to epoch ns; raises ValueError or TypeError where it is no time."""
        unit, start_ns = self._layout.time_unit, self._layout.start_ns
        if isinstance(kind, pl.Datetime):
            scale = _NS[kind.time_unit]
            return lambda count: count * scale
        if kind == pl.Date:
            return lambda days: days * _DAY_NS
        if kind == pl.String and unit == "iso":
            return parse_iso_ns
        if unit != "iso" and (kind == pl.String or kind.is_numeric()):
            return lambda cell: start_ns + count_ns(str(cell), unit)
        cure = "give --time-unit" if kind.is_numeric() else "name another with --time-column"
        msg = f"{self._source}: column {self._time!r} is of type {kind}, which is no time: {cure}"
        raise UserError(msg)


def _within_limits(time_ns: int) -> int:
    if abs(time_ns) > _LIMIT_NS:
        raise ValueError(time_ns)
    return time_ns
