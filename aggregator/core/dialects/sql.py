"""SQL as InfluxDB 3 speaks it (Apache DataFusion), and with `flavour="sqlite"` as the embedded store does.

Both have a table (SQLite: a view) for each measurement with a column for time, each tag and each field. They differ
in the time alone: a timestamp there, an integer of ns here.
"""

import re
from collections.abc import Iterator
from typing import Literal

from aggregator.core.select import Aggregate, Select, Where
from aggregator.core.times import iso
from models.contract.schema import MEASUREMENTS

Flavour = Literal["datafusion", "sqlite"]

_READS = {"SELECT", "WITH", "SHOW", "EXPLAIN", "DESCRIBE"}
_CHANGES = {"INSERT", "UPDATE", "DELETE", "DROP", "CREATE", "ALTER", "COPY", "INTO"}
_QUOTED = re.compile(r"""'(?:''|[^'])*'|"(?:""|[^"])*"|--[^\n]*|/\*.*?\*/""", re.DOTALL)
_FUNCTIONS: dict[Aggregate, str] = {"mean": "avg", "min": "min", "max": "max", "count": "count"}
_TIME = '"time"'


def render(question: Select, flavour: Flavour = "datafusion") -> str:
    """The text of a question."""
    if question.aggregates:
        return _aggregates(question, flavour)
    measurement = MEASUREMENTS[question.measurement]
    fields = question.fields or (*measurement.floats, *measurement.strings)
    tags = [name(tag) for tag in measurement.tags]
    columns = ", ".join([_TIME, *tags, *map(name, fields)])
    conditions = list(_conditions(question, flavour))
    if question.fields:  # of all its fields a row has one at least
        has_value = " OR ".join(f"{name(field)} IS NOT NULL" for field in fields)
        conditions.append(f"({has_value})" if len(fields) > 1 else has_value)
    rows = [f"FROM {name(question.measurement)}"]
    rows += [f"WHERE {' AND '.join(conditions)}"] if conditions else []
    if kept := question.newest or question.oldest:
        order = f"{_TIME} {'DESC' if question.newest else 'ASC'}"
        place = f'row_number() OVER (PARTITION BY {", ".join(tags)} ORDER BY {order}) AS "place"'
        rows = [*_nested([f"SELECT {columns}, {place}", *rows]), f'WHERE "place" <= {kept}']
    rows = [f"SELECT {columns}", *rows]
    if question.limit is not None:
        last = ", ".join(f"{column} DESC" for column in (_TIME, *tags))
        rows = ["SELECT *", *_nested([*rows, f"ORDER BY {last}", f"LIMIT {question.limit}"])]
    return "\n".join([*rows, f"ORDER BY {', '.join([_TIME, *tags])}"])


def refusal(text: str) -> str:
    """Why a text is not sent: "" when it only asks."""
    bare = _QUOTED.sub(" _ ", text).upper()
    statements = [words for part in bare.split(";") if (words := re.findall(r"\w+", part))]
    if statements and all(words[0] in _READS and not _CHANGES & set(words) for words in statements):
        return ""
    return f"only texts that change nothing are sent: {', '.join(sorted(_READS))}"


def name(text: str) -> str:
    """An identifier in quotes."""
    return '"' + text.replace('"', '""') + '"'


def literal(value: float | str) -> str:
    """A text in quotes, or a number. Backslashes and newlines stand for themselves."""
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(float(value))


def _aggregates(question: Select, flavour: Flavour) -> str:
    field = name(question.fields[0])
    tags = [name(tag) for tag in question.by]
    time = _moment(question.since_ns or 0, flavour)
    groups = tags
    if question.every_ns is not None:
        time, groups = _interval(question.every_ns, flavour), ["1", *tags]
    columns = [f"{time} AS {_TIME}", *tags]
    columns += [f"{_FUNCTIONS[how]}({field}) AS {name(how)}" for how in question.aggregates]
    conditions = " AND ".join([*_conditions(question, flavour), f"{field} IS NOT NULL"])
    clauses = [f"SELECT {', '.join(columns)}", f"FROM {name(question.measurement)}", f"WHERE {conditions}"]
    # without groups there is a row even of nothing
    clauses += [f"GROUP BY {', '.join(groups)}"] if groups else ["HAVING count(*) > 0"]
    return "\n".join([*clauses, f"ORDER BY {', '.join(['1', *tags])}"])


def _nested(lines: list[str]) -> list[str]:
    return ["FROM (", *(f"  {line}" for line in lines), ")"]


def _conditions(question: Select, flavour: Flavour) -> Iterator[str]:
    for tag, value in question.tags.items():
        yield f"{name(tag)} = {literal(value)}"
    for condition in question.where:
        yield _met(condition)
    if question.since_ns is not None:
        yield f"{_TIME} >= {_moment(question.since_ns, flavour)}"
    if question.until_ns is not None:
        yield f"{_TIME} < {_moment(question.until_ns, flavour)}"


def _met(condition: Where) -> str:
    if condition.below is not None:
        return f"{name(condition.field)} < {literal(condition.below)}"
    values = [literal(value) for value in condition.values]
    field = name(condition.field)
    return f"{field} = {values[0]}" if len(values) == 1 else f"{field} IN ({', '.join(values)})"


def _moment(time_ns: int, flavour: Flavour) -> str:
    return str(time_ns) if flavour == "sqlite" else f"TIMESTAMP '{iso(time_ns)}'"


def _interval(every_ns: int, flavour: Flavour) -> str:
    if flavour == "sqlite":
        return f"{_TIME} / {every_ns} * {every_ns}"
    amount, unit = (every_ns // 10**9, "seconds") if every_ns % 10**9 == 0 else (every_ns, "nanoseconds")
    return f"date_bin(INTERVAL '{amount} {unit}', {_TIME})"
