"""What a metric's value is as a reading: by its data type, from the wire's unsigned fields (specification, 6.4.16)."""

import math
from typing import Any

from edge_agent.core.errors import DecodeError

_SIGNED = {1: 8, 2: 16, 3: 32, 4: 64}  # Int8 to Int64: bits
_UNSIGNED = {5: 8, 6: 16, 7: 32, 8: 64, 13: 64}  # UInt8 to UInt64; DateTime: ms since 1970
_FLOATS = (9, 10)
_BOOLEAN = 11
_INTEGER_FIELDS = {"int_value": 32, "long_value": 64}
_FLOAT_FIELDS = frozenset({"float_value", "double_value"})
_NUMERIC = frozenset({*_SIGNED, *_UNSIGNED, *_FLOATS, _BOOLEAN})


def is_reading(datatype: int, field: str | None) -> bool:
    """Whether it is a number, or would be one were it not null; of no declared type: by what is sent."""
    if datatype:
        return datatype in _NUMERIC
    return field in _INTEGER_FIELDS or field in _FLOAT_FIELDS or field == "boolean_value"


def number(datatype: int, field: str, value: Any, name: str) -> float:  # noqa: ANN401 - what protobuf gave
    """As float64, NaN where the sender has no finite number. Raises DecodeError when value and type contradict."""
    if field in _FLOAT_FIELDS:
        if datatype in _FLOATS or not datatype:
            return float(value) if math.isfinite(value) else math.nan
    elif field in _INTEGER_FIELDS:
        whole = _whole(datatype, _INTEGER_FIELDS[field], value)
        if whole is not None:
            return float(whole)
    elif field == "boolean_value" and datatype in {_BOOLEAN, 0}:
        return float(value)
    raise DecodeError("value", f"{name:.60}: {value!r:.60} as {field} is none of data type {datatype}")


def _whole(datatype: int, width: int, value: int) -> int | None:
    """Senders differ in how far they extend the sign, and in which field they put 32 unsigned bits: both are taken."""
    if datatype in _SIGNED:
        bits = _SIGNED[datatype]
        extended = value - (1 << width) if value >> (width - 1) and bits <= width else value
        if -(1 << bits - 1) <= extended < 1 << bits - 1:
            return extended
        return value - (1 << bits) if value < 1 << bits else None
    if datatype in _UNSIGNED:
        return value if value < 1 << _UNSIGNED[datatype] else None
    if datatype == _BOOLEAN:
        return value if value in {0, 1} else None
    return None if datatype else value
