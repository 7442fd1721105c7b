"""Rows in an SQLite file: a table for each measurement, keyed by time and series, and beside it its series.

`reading(time, series, value, …)` refers by `series` to `reading_series(id, site, asset, channel, newest)`; `newest`
is the time of the series' last row, which makes the question for it a look-up.

Invariants
1. A write is one transaction, on disk before `write` returns (WAL, synchronous=FULL).
2. Writing a row again changes nothing; a field that is absent leaves the stored one as it is.
3. Readers open the file read-only, so they never hold up the writer.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from aggregator.config import Sqlite
from aggregator.core import views
from aggregator.core.points import Points, Table
from aggregator.core.views import Row
from aggregator.ports import RetryLater, StoreMisconfigured
from models.contract.batch import Refusal
from models.contract.schema import MEASUREMENTS

# What passes by itself or by making room: locked, out of memory, input/output, disk full.
_PASSING = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
}


class SqliteStore:
    """Fulfils ports.Store. The file and its folder are made when missing."""

    def __init__(self, config: Sqlite) -> None:
        self._config = config
        self._connection: sqlite3.Connection | None = None

    def write(self, rows: Points) -> list[Refusal]:
        """Blocks until the transaction is on disk; refuses nothing. Raises RetryLater, StoreMisconfigured."""
        with _translated(self._config.path):
            connection = self._connection or self._open()
            self._connection = connection
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                for table in rows.tables:
                    _write(connection, table)
        return []

    def close(self) -> None:
        """Closes the file."""
        if self._connection:
            self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection:
        self._config.path.parent.mkdir(parents=True, exist_ok=True)
        # each write runs in a thread of its own, one at a time
        connection = sqlite3.connect(
            self._config.path, timeout=self._config.timeout_s, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        for name in MEASUREMENTS:
            for statement in _schema(name):
                connection.execute(statement)
        return connection


class SqliteReader:
    """Fulfils ports.Reader, also while an aggregator writes into the file."""

    def __init__(self, config: Sqlite) -> None:
        self._path = config.path
        if not self._path.exists():
            raise StoreMisconfigured(f"{self._path}: there is no such file yet: has an aggregator run with this file?")
        with _translated(self._path):
            uri = f"{config.path.absolute().as_uri()}?mode=ro"
            self._connection = sqlite3.connect(uri, uri=True, timeout=config.timeout_s)
            self._connection.row_factory = sqlite3.Row

    def latest(self, asset: str | None = None) -> list[Row]:
        """See ports.Reader."""
        return views.by_tags(self._newest("reading", asset))

    def health(self) -> list[Row]:
        """See ports.Reader."""
        return views.health(self._newest("inference"))

    def alarms(self, *, open_only: bool = True) -> list[Row]:
        """See ports.Reader."""
        newest = self._newest("alarm")
        marks = ",".join("?" for _ in newest)
        openings = self._select(
            "alarm", (*_columns("alarm"),), f"is_open = 1 AND id IN ({marks})", [r["id"] for r in newest]
        )
        return views.alarms(newest, openings, open_only=open_only)

    def series(self, asset: str, name: str, since_ns: int, until_ns: int, limit: int) -> list[Row]:
        """See ports.Reader."""
        condition = "asset = ? AND time >= ? AND time < ?"
        values: tuple[str | int, ...] = (asset, since_ns, until_ns)
        newest_first = "ORDER BY time DESC LIMIT ?"
        if name in MEASUREMENTS["inference"].floats:
            columns = (*MEASUREMENTS["inference"].tags, f"{name} AS value")
            rows = self._select(
                "inference", columns, f"{condition} AND {name} IS NOT NULL {newest_first}", (*values, limit)
            )
        else:
            rows = self._select(
                "reading", _columns("reading"), f"{condition} AND channel = ? {newest_first}", (*values, name, limit)
            )
        return rows[::-1]

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()

    def _newest(self, measurement: str, asset: str | None = None) -> list[Row]:
        condition = "time = newest" if asset is None else "time = newest AND asset = ?"
        return self._select(measurement, _columns(measurement), condition, [] if asset is None else [asset])

    def _select(
        self, measurement: str, columns: Iterable[str], condition: str, values: Sequence[str | float | None]
    ) -> list[Row]:
        # CROSS JOIN keeps the order of the two: first the few series, then their rows by primary key
        order = (
            (f"{measurement}_series", measurement) if "newest" in condition else (measurement, f"{measurement}_series")
        )
        tables = f"{order[0]} CROSS JOIN {order[1]} ON series = id_of_series"
        statement = " ".join(("SELECT time,", ",".join(columns), "FROM", tables, "WHERE", condition))
        with _translated(self._path):
            return [dict(row) for row in self._connection.execute(statement, values)]


def _columns(measurement: str) -> tuple[str, ...]:
    return sum(MEASUREMENTS[measurement], ())


def _schema(name: str) -> Iterator[str]:
    tags, floats, strings = MEASUREMENTS[name]
    typed_tags = ", ".join(f"{tag} TEXT NOT NULL" for tag in tags)
    fields = ", ".join([*(f"{column} REAL" for column in floats), *(f"{column} TEXT" for column in strings)])
    yield (
        f"CREATE TABLE IF NOT EXISTS {name}_series"
        f" (id_of_series INTEGER PRIMARY KEY, {typed_tags}, newest INTEGER NOT NULL, UNIQUE ({', '.join(tags)}))"
    )
    yield (
        f"CREATE TABLE IF NOT EXISTS {name}"
        f" (time INTEGER, series INTEGER, {fields}, PRIMARY KEY (time, series)) WITHOUT ROWID"
    )


def _write(connection: sqlite3.Connection, table: Table) -> None:
    tags = MEASUREMENTS[table.measurement].tags
    newest = np.zeros(len(table.tags), dtype=np.int64)
    np.maximum.at(newest, table.index, table.time_ns)
    marks = ", ".join("?" for _ in tags)
    find = (
        f"{_insert(f'{table.measurement}_series', (*tags, 'newest'))} VALUES ({marks}, ?)"
        f" ON CONFLICT ({', '.join(tags)}) DO UPDATE SET newest = max(newest, excluded.newest) RETURNING id_of_series"
    )
    # a tag set without rows (they were refused) makes no series
    ids = [
        connection.execute(find, (*tag_set, time_ns)).fetchone()[0] if time_ns else None
        for tag_set, time_ns in zip(table.tags, newest.tolist(), strict=True)
    ]
    columns = table.floats | table.strings
    updates = ", ".join(f"{name} = coalesce(excluded.{name}, {name})" for name in columns)
    marks = ", ".join("?" for _ in range(len(columns) + 2))
    put = (
        f"{_insert(table.measurement, ('time', 'series', *columns))} VALUES ({marks})"
        f" ON CONFLICT (time, series) DO UPDATE SET {updates}"
    )
    series = [ids[position] for position in table.index.tolist()]
    # SQLite stores NaN as NULL, which is what it means
    fields = [values.tolist() for values in table.floats.values()] + list(table.strings.values())
    connection.executemany(put, zip(table.time_ns.tolist(), series, *fields, strict=True))


def _insert(table: str, columns: Iterable[str]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)})"


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """SQLite's errors as what to do about them."""
    try:
        yield
    except sqlite3.Error as error:
        reason = f"{path}: {error}"
        # the low byte is the kind, the rest is detail
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _PASSING:
            raise RetryLater(reason) from error
        raise StoreMisconfigured(reason) from error
    except OSError as error:
        raise StoreMisconfigured(str(error)) from error
