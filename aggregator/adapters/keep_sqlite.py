"""Sets up an SQLite file, and computes the one-minute means in it.

A minute's means are one transaction, so that a writer never waits long. The file keeps to the retention by itself, as
rows are written (store_sqlite.py).
"""

# ruff: noqa: S608 - the names in statements are those of the schema, and values are bound

import sqlite3

from aggregator.adapters.sqlite_tables import (
    missing,
    open_to_read,
    open_to_write,
    require,
    rows_of,
    series_of,
    translated,
)
from aggregator.config import Retention, Sqlite
from aggregator.core import minutes
from aggregator.ports import Step
from models.contract.quality import BAD_FROM

_MEANS = ", ".join((*minutes.MEANS, minutes.BAD))
_IS_BAD = f"coalesce(quality, 0) >= {BAD_FROM}"
_GOOD = f"FILTER (WHERE NOT {_IS_BAD})"
_FILL = (
    f"INSERT OR REPLACE INTO {rows_of(minutes.MEASUREMENT)} (minute, series, time, {_MEANS})"
    f" SELECT minute, series, minute * {minutes.MINUTE_NS}, avg(value) {_GOOD}, min(value) {_GOOD}, max(value) {_GOOD},"
    f" count(value) {_GOOD}, count(value) FILTER (WHERE {_IS_BAD})"
    f" FROM {rows_of('reading')} WHERE minute = ? AND value IS NOT NULL GROUP BY series"
)
_NEXT = f"SELECT min(minute) FROM {rows_of('reading')} WHERE minute >= ?"


class SqliteKeeper:
    """Fulfils ports.Keeper."""

    def __init__(self, config: Sqlite, retention: Retention) -> None:
        self._config = config
        self._retention = retention

    def plan(self) -> list[Step]:
        """See ports.Keeper."""
        with translated(self._config.path):
            return [
                *self._steps(),
                self._kept("readings and all other rows", self._retention.raw_d),
                self._kept("one-minute means", self._retention.minutes_d),
            ]

    def apply(self, step: Step) -> None:
        """See ports.Keeper. All that is missing is done at once: the file is complete or as it was."""
        if not step.is_done:
            with translated(self._config.path):
                open_to_write(self._config).close()

    def downsample(self, since_ns: int, until_ns: int) -> None:
        """See ports.Keeper. Minutes whose readings are removed already keep the means that they have."""
        require(self._config.path)
        with translated(self._config.path):
            connection = open_to_write(self._config)
            try:
                minute = _next(connection, max(since_ns, self._whole_since_ns(connection)) // minutes.MINUTE_NS)
                while minute is not None and minute * minutes.MINUTE_NS < until_ns:
                    connection.execute(_FILL, (minute,))
                    minute = _next(connection, minute + 1)
            finally:
                connection.close()

    def close(self) -> None:
        """Nothing is left open."""

    def _whole_since_ns(self, connection: sqlite3.Connection) -> int:
        """From when on no row is removed; of minutes before that there may be only a rest."""
        (newest_ns,) = connection.execute(f"SELECT max(newest) FROM {series_of('reading')}").fetchone()
        kept_ns = minutes.retention_s(self._retention.raw_d) * 1_000_000_000
        return newest_ns - kept_ns if newest_ns and kept_ns else 0

    def _steps(self) -> list[Step]:
        path = self._config.path
        if not path.exists():
            return [Step(f"file {path}", "its tables and views", is_done=False)]
        connection = open_to_read(self._config)
        try:
            changes = missing(connection)
        finally:
            connection.close()
        return [
            Step(f"file {path}", "its tables and views", is_done=True),
            *(Step(*change, is_done=False) for change in changes),
        ]

    def _kept(self, rows: str, days: float) -> Step:
        how_long = minutes.words(minutes.retention_s(days))
        what = f"{rows} are kept {'for ' if days else ''}{how_long}"
        return Step(what, "kept to by the aggregator, whenever it writes", is_done=True)


def _next(connection: sqlite3.Connection, minute: int) -> int | None:
    """The first minute with readings from this one on."""
    found: int | None = connection.execute(_NEXT, (minute,)).fetchone()[0]
    return found
