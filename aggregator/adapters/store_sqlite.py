"""Writes rows into an SQLite file (its tables: sqlite_tables.py), and removes those that are too old.

Invariants
1. A write is one transaction, on disk before it returns (WAL, synchronous=FULL).
2. Writing a row again changes nothing; a field that is absent leaves the stored one as it is.
3. `newest` and `oldest` of a series enclose the times of all its rows.
4. Age is counted back from this machine's clock or from the newest row, whichever is earlier: a clock that is ahead,
   here or at a gateway, makes no row too old.
5. A file that is moved away or replaced while it is open is written no more: the one at the path is opened instead.
"""

# ruff: noqa: S608 - the names in statements are those of the schema, and values are bound

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from aggregator.adapters.sqlite_tables import TABLES, fields_of, open_to_write, rows_of, series_of, translated
from aggregator.config import Retention, Sqlite
from aggregator.core import minutes
from aggregator.core.bisect import refusal
from aggregator.core.points import Points, Table
from aggregator.ports import RetryLater, Write
from models.contract.batch import Ints, Refusal
from models.contract.schema import MEASUREMENTS

T = TypeVar("T")

_FOR_EVER = Retention()
_SECOND_NS = 1_000_000_000
_ROWS_AT_ONCE = 50  # in one statement: half as long as one by one
_MAX_SERIES_KNOWN = 200_000
_MIN_REMOVED = 1_000  # a write removes this many rows that are too old, or twice what it writes
# Rows are removed an hour after they would not be taken any more, so that no minute's mean is computed of its rest.
_GRACE_NS = 3600 * _SECOND_NS


@dataclass(frozen=True, eq=False)
class _Batch:
    """The rows of one measurement in the order of the key, as far as it is known without the file."""

    table: Table  # its tags are distinct
    cells: list[object]  # row after row: minute, (series, put in later), time, the fields
    oldest: Ints  # of each of the table's tags; meaningless where it has no row
    newest: Ints  # 0 = it has no row


class SqliteStore:
    """Fulfils ports.Store. The file and its folder are made when missing; `now_ns` tells the wall clock's time."""

    def __init__(
        self, config: Sqlite, retention: Retention = _FOR_EVER, now_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self._config = config
        self._raw_ns = minutes.retention_s(retention.raw_d) * _SECOND_NS
        self._minutes_ns = minutes.retention_s(retention.minutes_d) * _SECOND_NS
        self._now_ns = now_ns
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None  # which one is open
        self._ids: dict[tuple[str, tuple[str, ...]], int] = {}  # ids never change and are never taken away
        self._newest_ns = 0  # of all rows in the file

    def prepare(self, rows: Points) -> Write:
        """See ports.Store. Refused is only what is too old."""
        alike: dict[str, list[Table]] = {}
        for table in rows.tables:
            alike.setdefault(table.measurement, []).append(table)
        return partial(self._write, [_arranged(tables) for tables in alike.values() if any(map(len, tables))])

    def close(self) -> None:
        """Closes the file."""
        if self._connection:
            self._connection.close()
            self._connection = None

    def _write(self, batches: list[_Batch]) -> list[Refusal]:
        with translated(self._config.path):
            connection = self._opened()
            newest_ns = max([self._newest_ns, *(int(batch.newest.max()) for batch in batches)])
            refused, batches = self._taken(batches, newest_ns)
            ids: dict[tuple[str, tuple[str, ...]], int] = {}
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                for batch in batches:
                    self._put(connection, batch, ids)
                self._remove(connection, newest_ns, sum(len(batch.table) for batch in batches))
            # only now: what a transaction did that failed is not in the file
            if len(self._ids) + len(ids) > _MAX_SERIES_KNOWN:
                self._ids.clear()
            self._ids |= ids
            self._newest_ns = newest_ns
        return refused

    def _opened(self) -> sqlite3.Connection:
        if self._connection:
            if _identity(self._config.path) == self._file:
                return self._connection
            # what its log still holds must not be taken for that of the file that is there now
            (is_busy, *_) = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if is_busy:
                raise RetryLater(f"{self._config.path}: moved or replaced while it is being read")
            self.close()
        connection = open_to_write(self._config)
        self._file = _identity(self._config.path)
        self._ids.clear()
        newest = [
            connection.execute(f"SELECT max(newest) FROM {series_of(name)}").fetchone()[0] for name in MEASUREMENTS
        ]
        self._newest_ns = max(time_ns or 0 for time_ns in newest)
        self._connection = connection
        return connection

    def _taken(self, batches: list[_Batch], newest_ns: int) -> tuple[list[Refusal], list[_Batch]]:
        """What is too old, and the batches without it."""
        limit_ns = self._limit_ns(self._raw_ns, newest_ns)
        refused: list[Refusal] = []
        taken: list[_Batch] = []
        for batch in batches:
            is_old = batch.table.time_ns < limit_ns
            if not is_old.any():
                taken.append(batch)
                continue
            reason = f"older than retention.raw_d: rows are kept for {minutes.words(self._raw_ns // _SECOND_NS)}"
            refused += [refusal(line.decode(), reason) for line in batch.table.where(is_old).lines()]
            if not is_old.all():
                taken.append(_arranged([batch.table.where(~is_old)]))
        return refused, taken

    def _limit_ns(self, kept_ns: int, newest_ns: int) -> int:
        """Rows before this time are too old; 0 = none is."""
        return min(self._now_ns(), newest_ns) - kept_ns if kept_ns else 0

    def _put(self, connection: sqlite3.Connection, batch: _Batch, new: dict[tuple[str, tuple[str, ...]], int]) -> None:
        measurement = batch.table.measurement
        width = 3 + len(fields_of(measurement))
        batch.cells[1::width] = self._series(connection, batch, new)[batch.table.index].tolist()
        size = width * _ROWS_AT_ONCE
        rest = len(batch.cells) - len(batch.cells) % size
        connection.executemany(
            _upsert(measurement, _ROWS_AT_ONCE), (batch.cells[at : at + size] for at in range(0, rest, size))
        )
        connection.executemany(
            _upsert(measurement, 1), (batch.cells[at : at + width] for at in range(rest, len(batch.cells), width))
        )

    def _series(
        self, connection: sqlite3.Connection, batch: _Batch, new: dict[tuple[str, tuple[str, ...]], int]
    ) -> Ints:
        """The ids of the table's tags, with their `newest` and `oldest` brought up to date in the file."""
        measurement = batch.table.measurement
        ids: list[int] = []
        known: list[tuple[int, int, int, int, int]] = []
        for tags, newest, oldest in zip(batch.table.tags, batch.newest.tolist(), batch.oldest.tolist(), strict=True):
            key = (measurement, tags)
            if not newest:  # a tag set without rows (they were refused) makes no series
                ids.append(0)
            elif key in self._ids:
                ids.append(self._ids[key])
                known.append((newest, oldest, ids[-1], newest, oldest))
            else:
                ids.append(connection.execute(_find(measurement), (*tags, newest, oldest)).fetchone()[0])
                new[key] = ids[-1]
        connection.executemany(
            f"UPDATE {series_of(measurement)} SET newest = max(newest, ?), oldest = min(oldest, ?)"
            " WHERE id_of_series = ? AND (newest < ? OR oldest > ?)",
            known,
        )
        return np.array(ids, dtype=np.int64)

    def _remove(self, connection: sqlite3.Connection, newest_ns: int, written: int) -> None:
        """A portion of what is too old, twice as large as what is written: so there comes an end of it."""
        for name in TABLES:
            kept_ns = self._minutes_ns if name == minutes.MEASUREMENT else self._raw_ns
            if not kept_ns:
                continue
            limit = (self._limit_ns(kept_ns, newest_ns) - _GRACE_NS) // minutes.MINUTE_NS
            rows = rows_of(name)
            (first,) = connection.execute(f"SELECT min(minute) FROM {rows}").fetchone()
            if first is None or first >= limit:
                continue
            key = "minute, series, time"
            portion = max(_MIN_REMOVED, 2 * written)
            after = connection.execute(
                f"SELECT {key} FROM {rows} ORDER BY {key} LIMIT 1 OFFSET ?", (portion,)
            ).fetchone()
            end = min(after or (limit, 0, 0), (limit, 0, 0))
            connection.execute(f"DELETE FROM {rows} WHERE ({key}) < (?, ?, ?)", end)


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from another of the same name; None = there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _arranged(tables: list[Table]) -> _Batch:
    joined = Table.joined(tables)
    places: dict[tuple[str, ...], int] = {}
    place = np.array([places.setdefault(tags, len(places)) for tags in joined.tags])
    index = place[joined.index]
    minute = joined.time_ns // minutes.MINUTE_NS
    # stable, so that of two rows of one series and time the later one is written later
    order = np.lexsort((joined.time_ns, index, minute))
    table = Table(
        joined.measurement,
        list(places),
        index[order].astype(np.int32),
        joined.time_ns[order],
        {name: values[order] for name, values in joined.floats.items()},
        {name: _at(texts, order) for name, texts in joined.strings.items()},
    )
    newest = np.zeros(len(places), dtype=np.int64)
    np.maximum.at(newest, table.index, table.time_ns)
    oldest = np.full(len(places), np.iinfo(np.int64).max)
    np.minimum.at(oldest, table.index, table.time_ns)
    # SQLite stores NaN as NULL, which is what it means
    fields = {name: values.tolist() for name, values in table.floats.items()} | table.strings
    columns = [minute[order].tolist(), None, table.time_ns.tolist(), *map(fields.get, fields_of(table.measurement))]
    cells: list[object] = [None] * (len(table) * len(columns))
    for position, column in enumerate(columns):
        if column is not None:
            cells[position :: len(columns)] = column
    return _Batch(table, cells, oldest, newest)


def _at(items: list[T], order: Ints) -> list[T]:
    return [items[position] for position in order.tolist()]


@lru_cache
def _upsert(measurement: str, rows: int) -> str:
    fields = fields_of(measurement)
    row = f"({', '.join('?' * (3 + len(fields)))})"
    updates = ", ".join(f"{name} = coalesce(excluded.{name}, {name})" for name in fields)
    return (
        f"INSERT INTO {rows_of(measurement)} (minute, series, time, {', '.join(fields)})"
        f" VALUES {', '.join([row] * rows)} ON CONFLICT (minute, series, time) DO UPDATE SET {updates}"
    )


@lru_cache
def _find(measurement: str) -> str:
    tags = TABLES[measurement].tags
    return (
        f"INSERT INTO {series_of(measurement)} ({', '.join(tags)}, newest, oldest)"
        f" VALUES ({', '.join('?' * (len(tags) + 2))}) ON CONFLICT ({', '.join(tags)}) DO UPDATE"
        " SET newest = max(newest, excluded.newest), oldest = min(oldest, excluded.oldest) RETURNING id_of_series"
    )
