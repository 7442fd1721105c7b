"""SenML (RFC 8428) in JSON and CBOR.

    [{"bn": "urn:dev:ow:10e2073a01080063:", "bt": 1276020076.001, "n": "voltage", "u": "V", "v": 120.1},
     {"n": "current", "t": -5, "v": 1.2}, {"n": "open", "vb": false}]

The topic names the asset; a channel is the resolved name, base name and name, just as it is written; where that
is empty, it is the topic's channel. A sum is a channel of its own, `<name>.sum`. A name that one pack uses with
several units (RFC 8428, 5.1.4: humidity, longitude, latitude) gives the channels `<name>.<unit>`.

A boolean counts as 0 or 1. Text and data are no numbers: unless the topic's settings say what becomes of it, a pack
with a string or data value is refused, since a message counts whole or not at all. A time below 2**28 s is relative to
the arrival; 0 is "about now".
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

import msgspec

from edge_agent.core.decode.cbor_reader import cbor_reader
from edge_agent.core.decode.rules import COUNTING, Rules
from edge_agent.core.decode.senml_fields import (
    boolean,
    decimal,
    fields_of,
    finite,
    nanoseconds,
    shown,
    text,
    text_or_data,
)
from edge_agent.core.errors import DecodeError
from edge_agent.core.readings import Decoded, Value

_RELATIVE_NS = 2**28 * 1_000_000_000  # below: relative to now
_VERSION = 10
_MAX_NUMBER = 400  # characters of a number, or its exponent
_MAX_DEPTH = 4  # a pack, a record, a tag, and its decimal fraction


class Record(NamedTuple):
    """A resolved record: base fields are added in. `time_ns` below 2**28 s stays relative to the arrival."""

    name: str
    unit: str
    time_ns: int
    value: float | bool | str | bytes | None
    sum: float | None


def decode_senml_json(
    payload: bytes, asset: str, channel: str | None, arrival_ns: int, rules: Rules = COUNTING
) -> Decoded:
    """Raises DecodeError, and nothing else, whatever the bytes."""
    try:
        content = _json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError("json", f"no JSON: {error!s:.200}") from error
    return _decoded(content, asset, channel, arrival_ns, rules)


def decode_senml_cbor(
    payload: bytes, asset: str, channel: str | None, arrival_ns: int, rules: Rules = COUNTING
) -> Decoded:
    """Raises DecodeError, and nothing else, whatever the bytes."""
    return _decoded(_read_cbor(payload), asset, channel, arrival_ns, rules)


def _decimal_fraction(raw: object, _is_immutable: bool) -> Decimal:
    match raw:
        case [int(exponent), int(mantissa)] if abs(exponent) <= _MAX_NUMBER:
            return Decimal(mantissa).scaleb(exponent)
    msg = "tag 4 on something else than an exponent and a mantissa"
    raise TypeError(msg)


# RFC 8428, 6: numbers may be decimal fractions. Labels are whole numbers.
_read_cbor = cbor_reader({4: _decimal_fraction}, _MAX_DEPTH, has_text_keys=False)


def _json_number(digits: str) -> Decimal:
    # The text itself, since a float64 of seconds since 1970 is only good to 240 ns.
    if len(digits) > _MAX_NUMBER:
        msg = "a number of more than 400 characters"
        raise ValueError(msg)
    try:
        return Decimal(digits)
    except InvalidOperation as error:
        msg = "a number whose exponent is beyond all reckoning"
        raise ValueError(msg) from error


_json = msgspec.json.Decoder(float_hook=_json_number)


def resolve(content: object) -> Iterator[Record]:
    """The records of a pack, resolved. Raises DecodeError."""
    if not isinstance(content, list) or not content:
        raise DecodeError("shape", f"{shown(content)}: a SenML pack is a list of at least one record")
    base: dict[str, object] = {}
    for item in content:
        fields = fields_of(item)
        base |= {key: value for key, value in fields.items() if key.startswith("b")}
        if decimal(base, "bver", _VERSION) > _VERSION:
            raise DecodeError("version", f"SenML version {shown(base['bver'])}; known are those up to {_VERSION}")
        yield _resolved(fields, base)


def _resolved(fields: Mapping[str, object], base: Mapping[str, object]) -> Record:
    name = text(base, "bn") + text(fields, "n")
    kinds = [key for key in ("v", "vb", "vs", "vd") if key in fields]
    if len(kinds) > 1:
        raise DecodeError("value", f"{name:.60}: a record has one value, this has {', '.join(kinds)}")
    is_bare = not kinds and "s" not in fields  # then the base alone says it: what is missing counts as zero
    value: float | bool | str | bytes | None = None
    if kinds == ["v"] and isinstance(fields["v"], str) and "bv" not in base:
        value = text_or_data(fields, "v")
    elif kinds == ["v"] or (is_bare and "bv" in base):
        value = _sum(base, "bv", fields, "v", name)
    elif kinds == ["vb"]:
        value = boolean(fields, "vb")
    elif kinds:
        value = text_or_data(fields, kinds[0])
    total = _sum(base, "bs", fields, "s", name) if "s" in fields or (is_bare and "bs" in base) else None
    if value is None and total is None:
        raise DecodeError("value", f"{name:.60}: a record without a value")
    time_ns = nanoseconds(base, "bt") + nanoseconds(fields, "t")
    return Record(name, text(fields, "u") or text(base, "bu"), time_ns, value, total)


def _sum(base: Mapping[str, object], base_key: str, fields: Mapping[str, object], key: str, name: str) -> float:
    own = decimal(fields, key)
    return finite(decimal(base, base_key) + own if base_key in base else own, name)


def _decoded(content: object, asset: str, channel: str | None, arrival_ns: int, rules: Rules) -> Decoded:
    records = list(resolve(content))
    units: dict[str, set[str]] = {}
    for record in records:
        units.setdefault(record.name, set()).add(record.unit)
    values: list[Value] = []
    skipped = 0
    for record in records:
        name = record.name or channel
        if not name:
            raise DecodeError("channel", "neither the topic nor the record names a channel")
        if record.unit and len(units[record.name]) > 1:
            name = f"{name}.{record.unit}"
        time_ns = _time(record.time_ns, arrival_ns)
        value = None if record.value is None else rules.convert.number(record.value, name)
        skipped += value is None and record.value is not None
        if value is not None:
            values.append(Value((asset, name), time_ns, value))
        if record.sum is not None:
            values.append(Value((asset, f"{name}.sum"), time_ns, record.sum))
    is_timed = all(record.time_ns >= _RELATIVE_NS for record in records)
    return Decoded(values, [], is_timed, skipped=skipped)


def _time(time_ns: int, arrival_ns: int) -> int | None:
    if time_ns >= _RELATIVE_NS:
        return time_ns
    return arrival_ns + time_ns if time_ns else None
