"""InfluxQL: the language of InfluxDB 1.x, which 2.x and 3.x speak on /query too.

Columns, tags and order are named in each text, because the versions differ in what `*` means. Both ends of the time
are given for aggregates: without an end they would stop at the server's clock, and gateways may be ahead of it.

An answer is still to be put in order by who asks: series come one after the other, and LIMIT holds for each of them.
"""

import re
from collections.abc import Iterator
from decimal import Decimal

from aggregator.core.select import FOREVER_NS, Select, Where
from aggregator.core.times import iso
from models.contract.schema import MEASUREMENTS

_READS = {"SELECT", "SHOW", "EXPLAIN"}
# texts, names and comments: nothing inside of them is a keyword
_QUOTED = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|--[^\r\n]*|/\*.*?\*/""", re.DOTALL)
_ESCAPES = {"\\": "\\\\", "\n": "\\n"}


def render(question: Select) -> str:
    """The text of a question."""
    measurement = MEASUREMENTS[question.measurement]
    fields = question.fields or (*measurement.floats, *measurement.strings)
    clauses = [f"FROM {name(question.measurement)}"]
    if conditions := list(_conditions(question)):
        clauses.append("WHERE " + " AND ".join(conditions))
    if question.aggregates:
        selected = [f"{how}({name(fields[0])}) AS {name(how)}" for how in question.aggregates]
        groups = [name(tag) for tag in question.by]
        if question.every_ns is not None:
            groups.append(f"time({_span(question.every_ns)})")
        fill = " fill(none)" if question.every_ns is not None else ""
        clauses += [f"GROUP BY {', '.join(groups)}{fill}"] if groups else []
    else:
        selected = [name(field) for field in fields]
        clauses.append("GROUP BY " + ", ".join(map(name, measurement.tags)))
        kept = question.newest or question.oldest or question.limit
        clauses += ["ORDER BY time DESC"] if question.newest or (question.limit and not question.oldest) else []
        clauses += [f"LIMIT {kept}"] if kept is not None else []
    return "\n".join((f"SELECT {', '.join(selected)}", *clauses))


def refusal(text: str) -> str:
    """Why a text is not sent: "" when each of its statements only asks. 1.x carries out a DROP that comes by GET."""
    bare = _QUOTED.sub(" _ ", text).upper()
    statements = [words for part in bare.split(";") if (words := re.findall(r"\w+", part))]
    if not statements or any(words[0] not in _READS or "INTO" in words for words in statements):
        return "only texts that change nothing are sent: SELECT without INTO, SHOW, EXPLAIN"
    # A regular expression may hold quotes, so where one might be, nothing counts as quoted.
    if "/" in bare and (";" in text.rstrip("; \r\n\t") or "INTO" in re.findall(r"\w+", text.upper())):
        return "only texts that change nothing are sent: one with a / in it as a single statement without INTO"
    return ""


def name(text: str) -> str:
    """An identifier in quotes."""
    return '"' + _escaped(text, '"') + '"'


def literal(value: float | str) -> str:
    """A text in quotes, or a number."""
    return "'" + _escaped(value, "'") + "'" if isinstance(value, str) else number(value)


def number(value: float) -> str:
    """Without an exponent, which InfluxQL does not know."""
    return format(Decimal(repr(float(value))), "f")


def _conditions(question: Select) -> Iterator[str]:
    for tag, value in question.tags.items():
        yield f"{name(tag)} = {literal(value)}"
    for condition in question.where:
        yield _met(condition)
    since_ns, until_ns = question.since_ns, question.until_ns
    if question.aggregates:
        since_ns = 0 if since_ns is None else since_ns
        until_ns = FOREVER_NS if until_ns is None else until_ns
    if since_ns is not None:
        yield f"time >= '{iso(since_ns)}Z'"
    if until_ns is not None:
        yield f"time < '{iso(until_ns)}Z'"


def _met(condition: Where) -> str:
    if condition.below is not None:
        return f"{name(condition.field)} < {number(condition.below)}"
    texts = [f"{name(condition.field)} = {literal(value)}" for value in condition.values]
    return texts[0] if len(texts) == 1 else "(" + " OR ".join(texts) + ")"


def _span(every_ns: int) -> str:
    """A duration in its largest whole unit."""
    for unit, size in (("d", 86_400 * 10**9), ("h", 3600 * 10**9), ("m", 60 * 10**9), ("s", 10**9), ("ms", 10**6)):
        if every_ns % size == 0:
            return f"{every_ns // size}{unit}"
    return f"{every_ns}ns"


def _escaped(text: str, quote: str) -> str:
    return "".join("\\" + char if char == quote else _ESCAPES.get(char, char) for char in text)
