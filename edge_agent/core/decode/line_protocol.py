r"""InfluxDB line protocol, one or many lines, as Telegraf and the InfluxDB clients send it.

    # a comment
    weather,location=hall\ 2,sensor=a temperature=21.5,fan=3i,open=f 1700000000000000000

The topic names the asset; the payload names the channels: `<measurement>.<tag values>.<field>`, here
`weather.hall 2.a.temperature`. Tag values stand in the order of their keys, so that a series has one name
whichever way it is written, and two series never become one channel. A channel that the topic names is not used.

Times are ns, or of the topic's `time_unit`; a line without one gets its arrival time. Booleans count as 0 or 1. A
string is no number: unless the topic's settings say what becomes of it, a payload with a string field is refused, since
a message counts whole or not at all.

Escapes are those of InfluxDB: a backslash before a character that would end the part (in a string: before a quote
or a backslash) takes away its meaning; any other backslash is itself.
"""

import math
import re
from reprlib import repr as brief

from edge_agent.core.decode.rules import COUNTING, Rules
from edge_agent.core.decode.times import TimeUnit, parse_time_ns
from edge_agent.core.errors import DecodeError
from edge_agent.core.readings import Decoded, Value

# Possessive throughout: no input makes the matching go back and forth.
_MEASUREMENT = re.compile(r"((?:\\[, ]|[^, \n])++)")
_TAG = re.compile(r",((?:\\[,= ]|[^,= \n])++)=((?:\\[,= ]|[^,= \n])++)")
_FIELD = re.compile(r'((?:\\[,= ]|[^,= \n])++)=("(?:\\["\\]|[^"])*+"|[^",= \r\n]++)')
_END = re.compile(r"(?: ++(-?[0-9]{1,19})?)? *+\r?(?:\n|\Z)")
_SPACE = re.compile(r" ++")
_SKIPPED = re.compile(r"(?:[ \t\r\n]++|#[^\n]*+)*+")  # blank lines and comments
_ESCAPED = re.compile(r"\\([,= ])")
_ESCAPED_MEASUREMENT = re.compile(r"\\([, ])")
_FLOAT = re.compile(r"[+-]?(?:[0-9]++\.?[0-9]*+|\.[0-9]++)(?:[eE][+-]?[0-9]++)?+")
_INTEGER = re.compile(r"(-?[0-9]{1,20})i|([0-9]{1,20})u")
_BOOLEANS = dict.fromkeys(("t", "T", "true", "True", "TRUE"), True) | dict.fromkeys(
    ("f", "F", "false", "False", "FALSE"), False
)
_QUOTED = re.compile(r'\\(["\\])')


def decode_line_protocol(
    payload: bytes, asset: str, _channel: str | None, _arrival_ns: int, rules: Rules = COUNTING
) -> Decoded:
    """Raises DecodeError, and nothing else, whatever the bytes."""
    try:
        text = payload.decode()
    except UnicodeDecodeError as error:
        raise DecodeError("line", f"no UTF-8: {error!s:.100}") from error
    unit: TimeUnit = "ns" if rules.time_unit == "auto" else rules.time_unit
    values: list[Value] = []
    skipped = 0
    at = _SKIPPED.match(text).end()  # type: ignore[union-attr]  # it also matches nothing
    while at < len(text):
        series, at = _read_series(text, at)
        fields, at = _read_fields(text, at)
        time, at = _read_end(text, at)
        time_ns = None if time is None else parse_time_ns(time, unit)
        for key, raw in fields:
            value = rules.convert.number(_value(raw, key), key)
            if value is None:
                skipped += 1
            else:
                values.append(Value((asset, _channel_name(series, key)), time_ns, value))
        at = _SKIPPED.match(text, at).end()  # type: ignore[union-attr]
    if not (values or skipped):
        raise DecodeError("shape", "no line in the payload")
    return Decoded(values, [], all(value.time_ns is not None for value in values), skipped=skipped)


def _read_series(text: str, at: int) -> tuple[list[str], int]:
    """The measurement and the tag values, and where the fields begin."""
    found = _MEASUREMENT.match(text, at)
    if found is None:
        raise _refused(text, at, "a measurement")
    at = found.end()
    tags: dict[str, str] = {}
    while tag := _TAG.match(text, at):
        key = _ESCAPED.sub(r"\1", tag[1])
        if key in tags:
            raise DecodeError("line", f"tag {brief(key):.60} stands twice in a line")
        tags[key] = _ESCAPED.sub(r"\1", tag[2])
        at = tag.end()
    space = _SPACE.match(text, at)
    if space is None:
        raise _refused(text, at, "a tag or a space")
    return [_ESCAPED_MEASUREMENT.sub(r"\1", found[1]), *(tags[key] for key in sorted(tags))], space.end()


def _read_fields(text: str, at: int) -> tuple[list[tuple[str, str]], int]:
    """The fields' names and raw values, and where they end."""
    fields: list[tuple[str, str]] = []
    while found := _FIELD.match(text, at):
        fields.append((_ESCAPED.sub(r"\1", found[1]), found[2]))
        at = found.end()
        if not text.startswith(",", at):
            return fields, at
        at += 1
    raise _refused(text, at, "a field")


def _read_end(text: str, at: int) -> tuple[int | None, int]:
    found = _END.match(text, at)
    if found is None:
        raise _refused(text, at, "a time or the line's end")
    return int(found[1]) if found[1] else None, found.end()


def _refused(text: str, at: int, wanted: str) -> DecodeError:
    return DecodeError("line", f"{text[at : at + 40]!a} at character {at}: {wanted} is wanted")


def _channel_name(series: list[str], key: str) -> str:
    name = ".".join((*series, key))
    if not name.isprintable():
        raise DecodeError("channel", f"{name!a:.60}: a name that cannot be printed")
    return name


def _value(raw: str, key: str) -> float | bool | str:
    if raw in _BOOLEANS:
        return _BOOLEANS[raw]
    if raw.startswith('"'):
        return _QUOTED.sub(r"\1", raw[1:-1])
    if whole := _INTEGER.fullmatch(raw):
        signed, unsigned = whole.groups()
        if signed and -(2**63) <= int(signed) < 2**63:
            return float(int(signed))
        if unsigned and int(unsigned) < 2**64:
            return float(int(unsigned))
    elif _FLOAT.fullmatch(raw) and math.isfinite(value := float(raw)):
        return value
    raise DecodeError("value", f"{brief(key):.60}: {brief(raw):.60} is no finite number")
