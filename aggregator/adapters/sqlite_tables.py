"""The embedded store's file: its tables, how it is opened, and how a file of an earlier version is carried over.

For each measurement, here `reading`:

    reading_series(id_of_series, site, asset, channel, newest, oldest)     newest, oldest: times of rows, in ns
    reading_rows(minute, series, time, value, …)                           key: (minute, series, time)
    reading                                                                a view: time, the tags, the fields, minute

`minute` is time / 60e9. Rows of a minute lie together, and in it those of a series: what comes now is written into few
pages, and an hour of one channel is sixty short stretches. With longer pieces each write would touch a page for each
series, and with the time alone as the key a channel's hour would be read together with all others'.
"""

# ruff: noqa: S608 - the names in statements are those of the schema, and values are bound

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from aggregator.config import Sqlite
from aggregator.core import minutes
from aggregator.ports import RetryLater, StoreMisconfigured
from models.contract.schema import MEASUREMENTS, Measurement

VERSION = 2  # in the file as `user_version`; the tables of version 1 had (time, series) as their key
TABLES = MEASUREMENTS | {minutes.MEASUREMENT: Measurement(MEASUREMENTS["reading"].tags, (*minutes.MEANS, minutes.BAD))}
_CACHE_KIB = 16 * 1024
# What passes by itself or by making room: locked, out of memory, input/output, disk full.
_PASSING = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
}


class Change(NamedTuple):
    """What a file lacks, for people and for SQLite."""

    what: str
    statement: str


def series_of(name: str) -> str:
    """The table of a measurement's series; the means share that of the readings."""
    return "reading_series" if name == minutes.MEASUREMENT else f"{name}_series"


def rows_of(name: str) -> str:
    """The table of a measurement's rows."""
    return f"{name}_rows"


def fields_of(name: str) -> tuple[str, ...]:
    """Floats, then texts."""
    return (*TABLES[name].floats, *TABLES[name].strings)


def open_to_write(config: Sqlite) -> sqlite3.Connection:
    """The file with all tables; made, or carried over from an earlier version, where needed.

    Raises sqlite3.Error, OSError, StoreMisconfigured.
    """
    config.path.parent.mkdir(parents=True, exist_ok=True)
    # each write runs in a thread of its own, one at a time
    connection = sqlite3.connect(config.path, timeout=config.timeout_s, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        if missing(connection):
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                for change in missing(connection):  # again: another process may have been faster
                    connection.execute(change.statement)
    except BaseException:
        connection.close()
        raise
    return connection


def open_to_read(config: Sqlite) -> sqlite3.Connection:
    """Read-only, so that it never holds up a writer. Raises sqlite3.Error, and StoreMisconfigured for no such file."""
    require(config.path)
    uri = f"{config.path.absolute().as_uri()}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, timeout=config.timeout_s, isolation_level=None, check_same_thread=False)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)  # a text could open or make other files by it
    connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
    return connection


def require(path: Path) -> None:
    """Raises StoreMisconfigured when there is no such file."""
    if not path.exists():
        raise StoreMisconfigured(f"{path}: there is no such file yet: has an aggregator run with this file?")


def missing(connection: sqlite3.Connection) -> list[Change]:
    """What the file needs before it is as above, in order. Raises StoreMisconfigured when it is of a later version."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise StoreMisconfigured(
            f"the file is of version {version}, and this aggregator knows versions up to {VERSION}"
        )
    kinds, columns = _found(connection)
    changes: list[Change] = []
    for name in TABLES:
        changes += _measurement(name, kinds.get(name), columns)
    if version != VERSION:
        changes.append(Change(f"version {VERSION}", f"PRAGMA user_version={VERSION}"))
    return changes


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """SQLite's errors as what to do about them."""
    try:
        yield
    except sqlite3.Error as error:
        reason = f"{path}: {error}"
        if is_passing(error):
            raise RetryLater(reason) from error
        raise StoreMisconfigured(reason) from error
    except OSError as error:
        raise StoreMisconfigured(str(error)) from error


def is_passing(error: sqlite3.Error) -> bool:
    """Whether time or room is all that is needed."""
    # the low byte is the kind, the rest is detail
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _PASSING


def _found(connection: sqlite3.Connection) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Table or view -> which of both, and its columns."""
    kinds: dict[str, str] = dict(
        connection.execute("SELECT name, type FROM sqlite_schema WHERE type IN ('table', 'view')")
    )
    columns: dict[str, list[str]] = {}
    for name in kinds:
        found = connection.execute("SELECT name FROM pragma_table_info(?)", (name,))
        columns[name] = [column for (column,) in found]
    return kinds, columns


def _measurement(name: str, kind: str | None, columns: dict[str, list[str]]) -> Iterator[Change]:
    series, rows = series_of(name), rows_of(name)
    tags, floats, strings = TABLES[name]
    if name in MEASUREMENTS and "oldest" not in (known := columns.get(series, ())):
        if known:
            yield Change(
                f"table {series}: column oldest", f"ALTER TABLE {series} ADD COLUMN oldest INTEGER NOT NULL DEFAULT 0"
            )
        else:
            yield Change(f"table {series}", _series_table(name))
    typed = {**dict.fromkeys(floats, "REAL"), **dict.fromkeys(strings, "TEXT")}
    has_old = kind == "table"
    lacking = [field for field in typed if field not in columns.get(rows, ())]
    if rows not in columns:
        fields = ", ".join(f"{field} {kind}" for field, kind in typed.items())
        key = "minute INTEGER, series INTEGER, time INTEGER"
        yield Change(
            f"table {rows}", f"CREATE TABLE {rows} ({key}, {fields}, PRIMARY KEY (minute, series, time)) WITHOUT ROWID"
        )
    else:
        for field in lacking:
            yield Change(f"table {rows}: column {field}", f"ALTER TABLE {rows} ADD COLUMN {field} {typed[field]}")
    if has_old:
        old = ", ".join(column for column in columns[name] if column in {"series", "time", *typed})
        yield Change(
            f"rows of the earlier table {name}",
            f"INSERT INTO {rows} (minute, {old}) SELECT time / {minutes.MINUTE_NS}, {old} FROM {name}",
        )
        yield Change(f"without the earlier table {name}", f"DROP TABLE {name}")
    view = ["time", *tags, *typed, "minute"]
    if has_old or columns.get(name) != view:
        if kind == "view":
            yield Change(f"without the earlier view {name}", f"DROP VIEW {name}")
        yield Change(
            f"view {name}",
            f"CREATE VIEW {name} AS SELECT {', '.join(view)} FROM {rows} JOIN {series} ON id_of_series = series",
        )


def _series_table(name: str) -> str:
    tags = TABLES[name].tags
    typed = ", ".join(f"{tag} TEXT NOT NULL" for tag in tags)
    return (
        f"CREATE TABLE {series_of(name)} (id_of_series INTEGER PRIMARY KEY, {typed},"
        f" newest INTEGER NOT NULL, oldest INTEGER NOT NULL DEFAULT 0, UNIQUE ({', '.join(tags)}))"
    )
