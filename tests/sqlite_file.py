"""What the tests of the embedded store share: rows into its file, and out of it."""

import contextlib
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from aggregator.adapters.read_sqlite import SqliteReader
from aggregator.adapters.store_sqlite import SqliteStore
from aggregator.config import Sqlite
from aggregator.core.select import Select
from aggregator.core.views import Row
from models.contract.batch import Refusal
from tests.batches import SECOND
from tests.plant_rows import Stored, points

MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def write(store: SqliteStore, rows: Sequence[Stored]) -> list[Refusal]:
    return store.prepare(points(rows))()


def written(config: Sqlite, rows: Sequence[Stored]) -> None:
    store = SqliteStore(config)
    assert write(store, rows) == []
    store.close()


def select(config: Sqlite, question: Select) -> list[Row]:
    with contextlib.closing(SqliteReader(config)) as reader:
        return reader.select(question)


def readings(config: Sqlite, **conditions: Any) -> list[Row]:
    return select(config, Select("reading", ("value",), **conditions))


def reading(time_ns: int, value: float = 1.0, channel: str = "speed", quality: float = 0.0) -> Stored:
    return Stored("reading", ("north", "pump", channel), time_ns, {"value": value, "quality": quality})


def tables(config: Sqlite, statement: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(config.path, isolation_level=None)) as connection:
        return connection.execute(statement).fetchall()


def merged(writes: Iterable[Sequence[Stored]]) -> list[Stored]:
    """What is stored in the end: of each field the last value."""
    found: dict[tuple[str, tuple[str, ...], int], dict[str, float | str]] = {}
    for rows in writes:
        for row in rows:
            found.setdefault((row.measurement, row.tags, row.time_ns), {}).update(row.fields)
    return [Stored(*key, fields) for key, fields in found.items()]
