"""SenML (RFC 8428) in JSON and CBOR.

    [{"bn": "urn:dev:ow:10e2073a01080063:", "bt": 1276020076.001, "n": "voltage", "u": "V", "v": 120.1},
     {"n": "current", "t": -5, "v": 1.2}, {"n": "open", "vb": false}]

The topic names the asset; a channel is the resolved name, base name and name, just as it is written; where that
is empty, it is the topic's channel. A sum is a channel of its own, `<name>.sum`. A name that one pack uses with
several units (RFC 8428, 5.1.4: humidity, longitude, latitude) gives the channels `<name>.<unit>`.

A boolean counts as 0 or 1. Text and data are no numbers: a pack with a string or data value is refused, since
a message counts whole or not at all. A time below 2**28 s is relative to the arrival; 0 is "about now".
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from io import BytesIO
from typing import NamedTuple

import cbor2
import msgspec

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


def decode_senml_json(payload: bytes, asset: str, channel: str | None, arrival_ns: int) -> Decoded:
    """Raises DecodeError, and nothing else, whatever the bytes."""
    try:
        content = _json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError("json", f"no JSON: {error!s:.200}") from error
    return _decoded(content, asset, channel, arrival_ns)


def decode_senml_cbor(payload: bytes, asset: str, channel: str | None, arrival_ns: int) -> Decoded:
    """Raises DecodeError, and nothing else, whatever the bytes."""
    stream = BytesIO(payload)
    try:
        decoder = cbor2.CBORDecoder(stream, semantic_decoders=_TAGS, tag_hook=_refuse, max_depth=_MAX_DEPTH)
        content = decoder.decode()
    except (cbor2.CBORError, ValueError, OverflowError, RecursionError) as error:
        raise DecodeError("cbor", f"no CBOR: {error!s:.200}") from error
    if stream.tell() < len(payload):
        raise DecodeError("cbor", f"{len(payload) - stream.tell()} bytes follow the content")
    return _decoded(content, asset, channel, arrival_ns)


def _decimal_fraction(raw: object, _is_immutable: bool) -> Decimal:
    match raw:
        case [int(exponent), int(mantissa)] if abs(exponent) <= _MAX_NUMBER:
            return Decimal(mantissa).scaleb(exponent)
    msg = "tag 4 on something else than an exponent and a mantissa"
    raise TypeError(msg)


def _refuse(_raw: object, _is_immutable: bool) -> object:
    msg = "a tag other than 4"
    raise ValueError(msg)


# RFC 8428, 6: numbers may be decimal fractions. Whatever else the library reads by itself is refused.
_TAGS = dict.fromkeys(
    (0, 1, 2, 3, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000), _refuse
) | {4: _decimal_fraction}


def _json_number(digits: str) -> Decimal:
    # The text itself, since a float64 of seconds since 1970 is only good to 240 ns.
    if len(digits) > _MAX_NUMBER:
        msg = "a number of more than 400 characters"
        raise ValueError(msg)
    return Decimal(digits)


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
    if kinds == ["v"] or (is_bare and "bv" in base):
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


def _decoded(content: object, asset: str, channel: str | None, arrival_ns: int) -> Decoded:
    records = list(resolve(content))
    units: dict[str, set[str]] = {}
    for record in records:
        units.setdefault(record.name, set()).add(record.unit)
    values: list[Value] = []
    for record in records:
        name = record.name or channel
        if not name:
            raise DecodeError("channel", "neither the topic nor the record names a channel")
        if isinstance(record.value, str | bytes):
            raise DecodeError("value", f"{name:.60}: {shown(record.value)} is no number")
        if record.unit and len(units[record.name]) > 1:
            name = f"{name}.{record.unit}"
        time_ns = _time(record.time_ns, arrival_ns)
        if record.value is not None:
            values.append(Value((asset, name), time_ns, float(record.value)))
        if record.sum is not None:
            values.append(Value((asset, f"{name}.sum"), time_ns, record.sum))
    return Decoded(values, [], all(record.time_ns >= _RELATIVE_NS for record in records))


def _time(time_ns: int, arrival_ns: int) -> int | None:
    if time_ns >= _RELATIVE_NS:
        return time_ns
    return arrival_ns + time_ns if time_ns else None
