"""The fields of one SenML record, by their JSON labels, each of its type or refused."""

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal
from math import isfinite
from reprlib import repr as brief

from edge_agent.core.errors import DecodeError

# RFC 8428, table 6: labels are these integers in CBOR.
_CBOR_LABELS = {-1: "bver", -2: "bn", -3: "bt", -4: "bu", -5: "bv", -6: "bs"} | dict(
    enumerate(("n", "u", "v", "vs", "vb", "s", "t", "ut", "vd"))
)
_KNOWN = frozenset(_CBOR_LABELS.values())
_MAX_S = 2**32  # the year 2106; a sum of two such times fits an int64 of ns


def fields_of(item: object) -> dict[str, object]:
    """The record's fields that are known. Raises DecodeError, also for an unknown one that must be understood."""
    if not isinstance(item, Mapping):
        raise DecodeError("shape", f"{shown(item)}: a record is a map")
    fields: dict[str, object] = {}
    for label, value in item.items():
        name = _CBOR_LABELS.get(label) if type(label) is int else label
        if not isinstance(name, str):
            continue
        if name.endswith("_"):
            raise DecodeError("field", f"field {shown(name)} must be understood, and is not known")
        if name in _KNOWN:
            if name in fields:
                raise DecodeError("field", f"field {name} stands twice in a record")
            fields[name] = value
    return fields


def text(fields: Mapping[str, object], key: str) -> str:
    """The text of a field, empty where there is none. Raises DecodeError."""
    value = fields.get(key, "")
    if not isinstance(value, str):
        raise DecodeError("field", f"{key} {shown(value)} is no text")
    if not value.isprintable():  # newlines, surrogates: no part of a name
        raise DecodeError("field", f"{key} {value!a:.60} cannot be printed")
    return value


def text_or_data(fields: Mapping[str, object], key: str) -> str | bytes:
    """A string value; data as the bytes of CBOR, or as those of JSON's base64 text. Raises DecodeError."""
    value = fields.get(key)
    if not isinstance(value, str | bytes):
        raise DecodeError("value", f"{key} {shown(value)} is neither text nor data")
    return value.encode("utf-8", "surrogatepass") if key == "vd" and isinstance(value, str) else value


def boolean(fields: Mapping[str, object], key: str) -> bool:
    """Raises DecodeError."""
    value = fields.get(key)
    if not isinstance(value, bool):
        raise DecodeError("value", f"{key} {shown(value)} is neither true nor false")
    return value


def decimal(fields: Mapping[str, object], key: str, default: int = 0) -> Decimal:
    """The number as it is written; a binary one as the shortest decimal that reads back as it. Raises DecodeError."""
    value = fields.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise DecodeError("value", f"{key} {shown(value)} is no number")
    # Sizes are looked at first: a huge integer or exponent takes long to reckon with.
    if isinstance(value, int) and value.bit_length() > 1024:
        raise DecodeError("value", f"{key} is too large a number")
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not number.is_finite() or (number and abs(number.adjusted()) > 400):
        raise DecodeError("value", f"{key} {shown(value)} is no finite number")
    return number


def nanoseconds(fields: Mapping[str, object], key: str) -> int:
    """A field of decimal seconds, zero where there is none, as the nearest whole ns. Raises DecodeError."""
    seconds = decimal(fields, key)
    if abs(seconds) > _MAX_S:
        raise DecodeError("time", f"{key}: {shown(seconds)} s is beyond all times")
    return int(seconds.scaleb(9).to_integral_value(ROUND_HALF_EVEN))


def finite(number: Decimal, name: str) -> float:
    """The float64 nearest to it. Raises DecodeError."""
    value = float(number)
    if not isfinite(value):
        raise DecodeError("value", f"{name:.60}: a value beyond the floating-point numbers")
    return value


def shown(value: object) -> str:
    """The value for an error's text, in at most 60 characters."""
    if isinstance(value, int) and value.bit_length() > 1024:  # Python refuses to write out huge integers
        return "a huge number"
    try:
        return f"{brief(value):.60}"
    except ValueError:  # … also inside of lists
        return f"a {type(value).__name__}"
