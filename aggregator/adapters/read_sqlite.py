"""Answers questions from an SQLite file, also while an aggregator writes into it.

A question becomes SQL on the tables themselves (sqlite_tables.py). The key begins with the minute, so the minutes are
walked, and in each the few series that are asked for are looked up, or all rows are read when most series are. The
newest rows are sought backwards from where they must be, the oldest forwards, in stretches that become longer.
"""

# ruff: noqa: S608 - the names in statements are those of the schema, and values are bound

import sqlite3
from collections.abc import Iterator
from typing import Any, NamedTuple

from aggregator.adapters.sqlite_tables import (
    TABLES,
    fields_of,
    is_passing,
    missing,
    open_to_read,
    rows_of,
    series_of,
    translated,
)
from aggregator.config import Sqlite
from aggregator.core.dialects import sql
from aggregator.core.minutes import MINUTE_NS
from aggregator.core.select import FOREVER_NS, Aggregate, Select, Where
from aggregator.core.views import Row
from aggregator.ports import RetryLater, StoreMisconfigured

_PARTS = {"total": "sum", "lowest": "min", "highest": "max", "n": "count"}
_WHOLES: dict[Aggregate, str] = {
    "mean": "sum(total) / sum(n)",
    "min": "min(lowest)",
    "max": "max(highest)",
    "count": "CAST(sum(n) AS REAL)",
}
_FIRST_STRETCH, _LONGER = 16, 8  # minutes that hold rows
_LONG = 1440  # in so many minutes, those that hold no rows are looked into too: finding the others costs more


_Cells = tuple[Any, ...]  # a row, without the names


class _Span(NamedTuple):
    """Minutes, both ends within."""

    first: int
    last: int


class SqliteReader:
    """Fulfils ports.Reader. One thread at a time."""

    def __init__(self, config: Sqlite) -> None:
        self._path = config.path
        with translated(self._path):
            self._connection = open_to_read(config)
            if missing(self._connection):
                self._connection.close()
                raise StoreMisconfigured(
                    f"{self._path}: made by an earlier version, or not complete: an aggregator puts it right at its"
                    " first write, or `tocsin aggregator init` does"
                )

    def select(self, question: Select, /) -> list[Row]:
        """See ports.Reader."""
        if question.measurement not in TABLES:
            return []
        with translated(self._path):
            self._connection.execute("BEGIN")  # all parts of an answer from one state of the file
            try:
                asked = _Asked(self._connection, question)
                names = asked.names
                return [dict(zip(names, row, strict=True)) for row in asked.answer()]
            finally:
                self._connection.execute("ROLLBACK")

    def raw(self, text: str, language: str | None = None) -> list[Row]:
        """See ports.Reader. The file cannot be changed by a text: it is open for reading only."""
        if language not in {None, "sql"}:
            msg = f"this store does not speak {language!r} (allowed: sql)"
            raise ValueError(msg)
        if why := sql.refusal(text):
            raise ValueError(why)
        try:
            cursor = self._connection.execute(text)
            rows = cursor.fetchall()
        except (sqlite3.Error, sqlite3.Warning) as error:
            if isinstance(error, sqlite3.Error) and is_passing(error):
                raise RetryLater(f"{self._path}: {error}") from error
            raise ValueError(str(error)) from error
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, map(_plain, row), strict=True)) for row in rows]

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()


class _Asked:
    """One question to the tables of a measurement. Names come from the schema; values are bound by name."""

    def __init__(self, connection: sqlite3.Connection, question: Select) -> None:
        self._connection = connection
        self._question = question
        self._tags = TABLES[question.measurement].tags
        self._fields = question.fields or fields_of(question.measurement)
        self._columns = ("time", *self._tags, *self._fields)
        self._rows = rows_of(question.measurement)
        self._series = series_of(question.measurement)
        self._since_ns = max(question.since_ns or 0, 0)
        self._until_ns = FOREVER_NS + 1 if question.until_ns is None else question.until_ns
        self._values: dict[str, float | str] = {"since": self._since_ns, "until": self._until_ns}
        self._of_tags = " AND ".join(self._bound(tag, (value,)) for tag, value in question.tags.items()) or "1"
        fields = [self._met(condition) for condition in question.where]
        self._within = " AND ".join(["time >= :since AND time < :until", *fields])
        self._span = _Span(self._since_ns // MINUTE_NS, (self._until_ns - 1) // MINUTE_NS)

    @property
    def names(self) -> tuple[str, ...]:
        """What the columns of the answer are called."""
        question = self._question
        return ("time", *(question.by or ()), *question.aggregates) if question.aggregates else self._columns

    def answer(self) -> list[_Cells]:
        """As `Select` says."""
        question = self._question
        if question.aggregates:
            return self._aggregates()
        if question.newest or question.oldest:
            found = [row for one, newest, oldest in self._each_series() for row in self._kept(one, newest, oldest)]
            found.sort(key=lambda row: row[: 1 + len(self._tags)])
            return found if question.limit is None else found[max(len(found) - question.limit, 0) :]
        if question.limit is not None:
            return self._last(question.limit)[::-1]
        return self._found(self._span, f"ORDER BY {', '.join(('time', *self._tags))}", self._is_few())

    def _aggregates(self) -> list[_Cells]:
        """First of each series and minute, in the order of the key, which needs no sorting; then of these."""
        question = self._question
        every = question.every_ns
        self._values |= {"begin": question.since_ns or 0, "every": every or 1}
        time = ":begin" if every is None else "time / :every * :every"
        field = self._cell(question.fields[0])
        by = [self._column(tag, self._tags) for tag in question.by]
        parts = ", ".join([f"{time} AS time", *by, *(f"{how}({field}) AS {name}" for name, how in _PARTS.items())])
        cuts = "" if every is None or every % MINUTE_NS == 0 else ", time / :every"
        inner = self._statement(
            parts, self._span, f"AND {field} IS NOT NULL GROUP BY r.minute, r.series{cuts}", self._is_few()
        )
        groups = ", ".join(str(position) for position in range(1, 2 + len(by)))
        columns = ", ".join(["time", *map(_quoted, question.by), *(_WHOLES[how] for how in question.aggregates)])
        return self._ask(f"SELECT {columns} FROM ({inner}) GROUP BY {groups} ORDER BY {groups}", self._span)

    def _each_series(self) -> list[tuple[int, int, int]]:
        statement = f"SELECT id_of_series, newest, oldest FROM {self._series} WHERE {self._of_tags}"
        return [tuple(row) for row in self._connection.execute(statement, self._values)]

    def _kept(self, one: int, newest_ns: int, oldest_ns: int) -> list[_Cells]:
        """The newest or oldest rows of one series."""
        wanted = self._question.newest or self._question.oldest or 0
        is_newest = bool(self._question.newest)
        span = _Span(max(self._span.first, oldest_ns // MINUTE_NS), min(self._span.last, newest_ns // MINUTE_NS))
        self._values["one"] = one
        found: list[_Cells] = []
        for stretch in self._stretches(span, is_newest):
            order = f"ORDER BY time {'DESC' if is_newest else 'ASC'} LIMIT {wanted - len(found)}"
            found += self._found(stretch, order, is_few=True, of_series="id_of_series = :one")
            if len(found) >= wanted:
                break
        return found

    def _last(self, limit: int) -> list[_Cells]:
        """The last rows of all in the order of time and tags, the last one first."""
        found: list[_Cells] = []
        is_few = self._is_few()
        order = ", ".join(f"{column} DESC" for column in ("time", *self._tags))
        for stretch in self._stretches(self._span, is_newest=True):
            found += self._found(stretch, f"ORDER BY {order} LIMIT {limit - len(found)}", is_few)
            if len(found) >= limit:
                break
        return found

    def _stretches(self, span: _Span, is_newest: bool) -> Iterator[_Span]:
        """The span in parts that become longer, from its end or from its begin."""
        best, step = ("max", "<") if is_newest else ("min", ">")
        statement = (
            f"WITH RECURSIVE minutes(minute) AS (SELECT {best}(minute) FROM {self._rows}"
            f" WHERE minute BETWEEN ? AND ? UNION ALL SELECT (SELECT {best}(r.minute) FROM {self._rows} AS r"
            f" WHERE r.minute {step} minutes.minute) FROM minutes WHERE minutes.minute IS NOT NULL LIMIT ?)"
            " SELECT min(minute), max(minute) FROM minutes"
        )
        size = _FIRST_STRETCH
        # where a series has its newest or oldest row, if that minute is within the time asked for
        end = span.last if is_newest else span.first
        if span.first <= span.last:
            yield _Span(end, end)
            span = _Span(span.first, end - 1) if is_newest else _Span(end + 1, span.last)
        while span.first <= span.last:
            first, last = self._connection.execute(statement, (*span, size)).fetchone()
            if first is None:
                return
            yield _Span(max(first, span.first), min(last, span.last))
            span = _Span(span.first, first - 1) if is_newest else _Span(last + 1, span.last)
            size *= _LONGER

    def _is_few(self) -> bool:
        """Whether looking series up costs less than reading all rows of a minute."""
        statement = f"SELECT count(*) FILTER (WHERE {self._of_tags}) * 2 <= count(*) FROM {self._series}"
        return bool(self._connection.execute(statement, self._values).fetchone()[0])

    def _found(self, span: _Span, clauses: str, is_few: bool, of_series: str | None = None) -> list[_Cells]:
        columns = ", ".join(["time", *self._tags, *map(self._column, self._fields)])
        has_value = " OR ".join(f"{self._cell(field)} IS NOT NULL" for field in self._fields)
        return self._ask(self._statement(columns, span, f"AND ({has_value}) {clauses}", is_few, of_series), span)

    def _ask(self, statement: str, span: _Span) -> list[_Cells]:
        return self._connection.execute(statement, self._values | {"first": span.first, "last": span.last}).fetchall()

    def _statement(self, columns: str, span: _Span, clauses: str, is_few: bool, of_series: str | None = None) -> str:
        """Of the rows in a span (bound as :first and :last) that meet the conditions."""
        series = (
            f"(SELECT id_of_series, {', '.join(self._tags)} FROM {self._series} WHERE {of_series or self._of_tags})"
        )
        # CROSS JOIN keeps the order in which the tables are walked
        if is_few:
            each = "SELECT :first WHERE :first <= :last UNION ALL SELECT minute + 1 FROM minutes WHERE minute < :last"
            if span.last - span.first > _LONG:
                each = (
                    f"SELECT min(minute) FROM {self._rows} WHERE minute BETWEEN :first AND :last"
                    f" UNION ALL SELECT (SELECT min(r.minute) FROM {self._rows} AS r WHERE r.minute > minutes.minute"
                    " AND r.minute <= :last) FROM minutes WHERE minute IS NOT NULL"
                )
            begin = f"WITH RECURSIVE minutes(minute) AS ({each}), asked AS MATERIALIZED {series}"
            source = (
                f"minutes CROSS JOIN asked CROSS JOIN {self._rows} AS r"
                " ON r.minute = minutes.minute AND r.series = id_of_series"
            )
        else:
            begin = ""
            source = (
                f"{self._rows} AS r CROSS JOIN {series}"
                " ON id_of_series = r.series AND r.minute BETWEEN :first AND :last"
            )
        return f"{begin} SELECT {columns} FROM {source} WHERE {self._within} {clauses}"

    def _met(self, condition: Where) -> str:
        if condition.below is None:
            return self._bound(condition.field, condition.values)
        self._values[mark := f"v{len(self._values)}"] = condition.below
        return f"{self._cell(condition.field)} < :{mark}"

    def _bound(self, name: str, values: tuple[float | str, ...]) -> str:
        """The condition that a column is any of the values."""
        marks = []
        for value in values:
            mark = f"v{len(self._values)}"
            self._values[mark] = value
            marks.append(f":{mark}")
        known = (*self._tags, *fields_of(self._question.measurement))
        return f"{name} IN ({', '.join(marks)})" if name in known else "0"

    def _column(self, name: str, known: tuple[str, ...] = ()) -> str:
        return f"{self._cell(name, known)} AS {_quoted(name)}"

    def _cell(self, name: str, known: tuple[str, ...] = ()) -> str:
        """A column's name, or what is in it when there is none of this name."""
        return name if name in (known or fields_of(self._question.measurement)) else "NULL"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _plain(cell: str | float | bytes | None) -> str | float | int | None:
    return cell.hex() if isinstance(cell, bytes) else cell
