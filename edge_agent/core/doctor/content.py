"""What payloads say beside their values: how times are written, and which units they give."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import cbor2
import msgspec
import orjson

_TIMES, _UNITS = ("ts", "time", "timestamp"), ("unit", "units", "uom")
_SENML_ONLY = {"n", "bn", "bt", "bu", "bv", "bs", "u", "vb", "vs", "vd", "bver"}
_SENML_LABELS = {-2: "bn", -4: "bu", 0: "n", 1: "u"}  # RFC 8428, 6: of CBOR
_LIMITS = ((1e11, "s"), (1e14, "ms"), (1e17, "µs"))
_SAID = {"influx-line": "ns", "senml-json": "s", "senml-cbor": "s"}
_LOADERS: dict[str, Any] = {
    "json": orjson.loads,
    "senml-json": orjson.loads,
    "msgpack": msgspec.msgpack.decode,
    "cbor": cbor2.loads,
    "senml-cbor": cbor2.loads,
}


def content_of(format_name: str, payload: bytes) -> object:
    """The parsed payload of a format that has one; else None. The payload was decoded before: it is bounded."""
    load = _LOADERS.get(format_name)
    try:
        return load(payload) if load else None
    except (ValueError, TypeError, RecursionError, cbor2.CBORError):
        return None


def has_senml_keys(payload: bytes) -> bool:
    """Whether a JSON payload is a list with keys that only SenML has."""
    content = content_of("senml-json", payload)
    return isinstance(content, list) and any(not _SENML_ONLY.isdisjoint(item) for item in _items(content))


def time_notation(format_name: str, contents: Sequence[object]) -> str:
    """`s`, `ms`, `µs`, `ns`, `ISO 8601`, several joined by a comma; empty: no times."""
    if format_name in _SAID:
        return _SAID[format_name]
    found = {
        _notation(item[key]): None
        for content in contents
        for item in _items(content)
        for key in _TIMES
        if key in item and item[key] is not None
    }
    return ", ".join(found)


def units_of(format_name: str, contents: Sequence[object]) -> dict[str, str]:
    """By channel; "" is the topic's one channel."""
    units: dict[str, str] = {}
    for content in contents:
        if format_name.startswith("senml"):
            units |= dict(_senml_units(content))
            continue
        for item in _items(content):
            unit = next((item[key] for key in _UNITS if isinstance(item.get(key), str)), None)
            if unit:
                units[str(item.get("channel", ""))] = unit
    return units


def _senml_units(content: object) -> Iterator[tuple[str, str]]:
    base_name = base_unit = ""
    for item in _items(content):
        fields = {_SENML_LABELS.get(key, key): value for key, value in item.items()}
        base_name, base_unit = fields.get("bn", base_name), fields.get("bu", base_unit)
        if unit := fields.get("u", base_unit):
            yield f"{base_name}{fields.get('n', '')}", str(unit)


def _notation(raw: object) -> str:
    if isinstance(raw, int | float):
        return next((name for limit, name in _LIMITS if abs(raw) < limit), "ns")
    return "ISO 8601" if isinstance(raw, str) else "of the format"


def _items(content: object) -> Iterator[Mapping[Any, Any]]:
    for item in content if isinstance(content, list) else [content]:
        if isinstance(item, dict):
            yield item
