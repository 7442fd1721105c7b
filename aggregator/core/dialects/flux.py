"""Flux: the language of InfluxDB 2.x. There is no engine of it outside of that server.

A row's fields are rows of their own in Flux; `pivot` brings them together, which makes columns as elsewhere. Tags
that a series lacks are no columns there; all series of a measurement have all tags of the schema.
"""

import re
from collections.abc import Iterable

from aggregator.core.select import FOREVER_NS, Aggregate, Select, Where
from aggregator.core.times import iso
from models.contract.schema import MEASUREMENTS

_QUOTED = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*', re.DOTALL)
_WRITES = re.compile(r"\b(to|wideTo)\b(?!\s*:)")
_IMPORT = re.compile(r'\bimport\b(?:\s+(?:\w+\s+)?"([^"]*)")?')
_HARMLESS = {
    *("array", "date", "dict", "experimental/aggregate", "influxdata/influxdb/schema", "interpolate", "join", "math"),
    *("regexp", "strings", "timezone", "types"),
}
_FUNCTIONS: dict[Aggregate, str] = {"mean": "mean()", "min": "min()", "max": "max()", "count": "count() |> toFloat()"}
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "${": "\\${"}


def render(question: Select, bucket: str = "tocsin") -> str:
    """The text of a question."""
    schema = MEASUREMENTS[question.measurement]
    if question.aggregates:
        steps = _aggregates(question)
        data = "\n  |> ".join([f"data = from(bucket: {literal(bucket)})", *steps])
        parts = [
            f'data |> {_FUNCTIONS[how]} |> set(key: "_field", value: {literal(how)})' for how in question.aggregates
        ]
        row = ("_start" if question.every_ns is None else "_time", *question.by)
        union = "union(tables: [\n  " + ",\n  ".join(parts) + ",\n])"
        return data + "\n\n" + "\n  |> ".join([union, "group()", _pivot(row), _sort(row)])
    fields = question.fields or (*schema.floats, *schema.strings)
    asked = tuple(dict.fromkeys((*fields, *(condition.field for condition in question.where))))
    lines = [f"from(bucket: {literal(bucket)})", _range(question), _filter(question, asked), _pivot()]
    lines += _where(question)
    if asked != fields:
        lines.append(f"filter(fn: (r) => {' or '.join(f'exists {_cell(field)}' for field in fields)})")
    if kept := question.newest or question.oldest:
        lines += [_sort(("_time",), desc=bool(question.newest)), f"limit(n: {kept})"]
    order = ("_time", *schema.tags)
    lines.append("group()")
    if question.limit is not None:
        lines += [_sort(order, desc=True), f"limit(n: {question.limit})"]
    return "\n  |> ".join([*lines, _sort(order), f"keep(columns: {_list((*order, *fields))})"])


def refusal(text: str) -> str:
    """Why a text is not sent: "" when it only asks."""
    strange = sorted(set(_IMPORT.findall(text)) - _HARMLESS)
    if strange:
        return f"only texts that change nothing are sent: {max(strange)!r} may do more than ask"
    bare = _QUOTED.sub(" _ ", text)
    # A regular expression may hold quotes, and a text in quotes a part that is computed: then nothing counts as quoted.
    if _WRITES.search(text if "/" in bare or "${" in text else bare):
        return "only texts that change nothing are sent: to() and wideTo() write"
    return ""


def literal(value: float | str) -> str:
    """A text in quotes, or a number. `${` would begin a part that is computed."""
    if not isinstance(value, str):
        return repr(float(value))
    return '"' + re.sub(r'[\\"\n\r\t]|\$\{', lambda found: _ESCAPES[found[0]], value) + '"'


def _aggregates(question: Select) -> list[str]:
    field = question.fields[0]
    fields = dict.fromkeys((field, *(condition.field for condition in question.where)))
    lines = [_range(question), _filter(question, tuple(fields))]
    if question.where:
        lines += [_pivot(), *_where(question), f"filter(fn: (r) => exists {_cell(field)})"]
        lines += [f'rename(columns: {{{literal(field)}: "_value"}})']
    begin = "_start"
    if (every := question.every_ns) is not None:  # window() would cut the first interval to the time asked for
        begin = "_time"
        lines.append(f"map(fn: (r) => ({{r with _time: time(v: int(v: r._time) / {every} * {every})}}))")
    groups = (begin, *question.by)
    lines.append(f"group(columns: {_list(groups)})")
    return lines


def _range(question: Select) -> str:
    start = "0" if question.since_ns is None else f"{iso(question.since_ns)}Z"
    # without an end it would be the server's clock, and gateways may be ahead of it
    return f"range(start: {start}, stop: {iso(FOREVER_NS if question.until_ns is None else question.until_ns)}Z)"


def _filter(question: Select, fields: tuple[str, ...]) -> str:
    conditions = [f"r._measurement == {literal(question.measurement)}"]
    conditions += [f"{_cell(tag)} == {literal(value)}" for tag, value in question.tags.items()]
    conditions.append(_any_of("r._field", fields))
    return f"filter(fn: (r) => {' and '.join(conditions)})"


def _where(question: Select) -> list[str]:
    return [f"filter(fn: (r) => {_met(condition)})" for condition in question.where]


def _met(condition: Where) -> str:
    cell = _cell(condition.field)
    return _any_of(cell, condition.values) if condition.below is None else f"{cell} < {literal(condition.below)}"


def _any_of(cell: str, values: Iterable[float | str]) -> str:
    texts = [f"{cell} == {literal(value)}" for value in values]
    return texts[0] if len(texts) == 1 else f"({' or '.join(texts)})"


def _pivot(row: tuple[str, ...] = ("_time",)) -> str:
    return f'pivot(rowKey: {_list(row)}, columnKey: ["_field"], valueColumn: "_value")'


def _sort(columns: tuple[str, ...], *, desc: bool = False) -> str:
    return f"sort(columns: {_list(columns)}{', desc: true' if desc else ''})"


def _list(names: Iterable[str]) -> str:
    return f"[{', '.join(map(literal, names))}]"


def _cell(name: str) -> str:
    return f"r[{literal(name)}]"
