"""What payloads say beside their values: how times are written, and which units they give."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import cbor2
import msgspec
import orjson

from edge_agent.core.decode.places import MISSING, Chain, Places, find, find_around, items
from edge_agent.core.errors import DecodeError

_UNITS = (("unit",), ("units",), ("uom",))
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


def time_notation(format_name: str, contents: Sequence[object], places: Places) -> str:
    """`s`, `ms`, `µs`, `ns`, `ISO 8601`, several joined by a comma; empty: no times."""
    if format_name in _SAID:
        return _SAID[format_name]
    found: dict[str, None] = {}
    for content in contents:
        for around in _chains(content, places):
            time = find_around(around, places.time)
            for raw in time[:1] if isinstance(time, list) else [time]:
                if raw is not None and raw is not MISSING:
                    found[_notation(raw)] = None
    return ", ".join(found)


def units_of(format_name: str, contents: Sequence[object], places: Places) -> dict[str, str]:
    """By channel; "" is the topic's one channel."""
    units: dict[str, str] = {}
    for content in contents:
        if format_name.startswith("senml"):
            units |= dict(_senml_units(content))
            continue
        for around in _chains(content, places):
            unit = find(around[0], _UNITS)
            if isinstance(unit, str) and unit:
                channel = find_around(around, places.channel)
                units[channel if isinstance(channel, str) else ""] = unit
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


def _chains(content: object, places: Places) -> Iterator[Chain]:
    """The items that a decoder would read, as far as there are any."""
    try:
        yield from (around for around in items(content, places.items) if isinstance(around[0], dict))
    except DecodeError:
        return
