"""Guesses of a topic's `fields`: where parsed content keeps items, and each of these its value, time and name.

Items are the objects of a list, or one object, anywhere in the content. In an item
- the value is its one number, or the number whose key says so; or an object of numbers, whose keys are channels;
- the time is an epoch of this century or ISO 8601 text, in the item or around it;
- the channel is a text that differs from item to item, or whose key says so;
- quality and asset are told by their keys alone.
A guess is no more than that: `formats.py` tries each with the real decoder.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from edge_agent.core.decode.places import Chain, items
from edge_agent.core.doctor.roles import (
    Leaves,
    channel_of,
    codes_of,
    is_number,
    is_time_of,
    named_asset,
    named_channel,
    quality_of,
    time_of,
    value_of,
)
from edge_agent.core.errors import DecodeError

_ORDER = ("items", "time", "value", "values", "channel", "asset", "quality")
_DEPTH, _GUESSES = 4, 8
_PATHS, _ITEMS = 100, 200  # looked at: of a message, and there

Fields = tuple[tuple[str, str], ...]  # of a [[topics]] entry; hashable


class FieldsGuess(NamedTuple):
    """`apart`: how many assets and channels the payloads name by these fields; 0: none, or by the keys of `values`."""

    fields: Fields
    settings: tuple[tuple[str, str], ...]  # beside them
    names_channels: bool
    apart: int

    @property
    def has(self) -> set[str]:
        """Which fields."""
        return {key for key, _ in self.fields}


def guess_fields(contents: Sequence[object]) -> list[FieldsGuess]:
    """The most telling first; empty when the contents are no objects with numbers in them."""
    found: list[FieldsGuess] = []
    for path in _item_paths(contents):
        messages = _chains(contents, path)
        if messages:
            found += _of_items(path, messages)
    return sorted(found, key=lambda guess: -len(guess.has - {"items"}))[:_GUESSES]


def _item_paths(contents: Sequence[object]) -> list[str]:
    """Where objects are, the outermost first; empty: the content itself, or the list that it is."""
    found: dict[str, None] = {}
    for content in contents:
        _walk(content, (), found)
    return sorted(found, key=lambda path: path.count("."))[:_PATHS]


def _walk(content: object, path: tuple[str, ...], found: dict[str, None]) -> None:
    if isinstance(content, list) and content and all(isinstance(one, dict) for one in content):
        found[".".join(path)] = None
        content, path = content[0], (*path, "*")
    elif isinstance(content, dict):
        found[".".join(path)] = None
    if isinstance(content, dict) and len(path) < _DEPTH:
        for key, inner in content.items():
            if _is_step(key):
                _walk(inner, (*path, key), found)


def _chains(contents: Sequence[object], path: str) -> list[list[Chain]]:
    """The first items of each message that has them."""
    found = []
    for content in contents:
        try:
            chains = list(islice(items(content, tuple(path.split(".")) if path else None), _ITEMS))
        except DecodeError:
            continue
        if chains and all(isinstance(chain[0], dict) for chain in chains):
            found.append(chains)
    return found


def _of_items(path: str, messages: Sequence[Sequence[Chain]]) -> Iterator[FieldsGuess]:
    inner, around = _leaves(messages, 0), _outer(messages)
    leaves = around | inner
    time = time_of(inner) or time_of(around)
    asset = named_asset(inner) or named_asset(around)
    if asset and len(set(leaves[asset])) == 1:  # then the topic may say it as well
        asset = ""
    quality = quality_of(inner) or quality_of(around)
    common = {"items": path, "time": time, "asset": asset, "quality": quality}
    settings = codes_of(leaves[quality]) if quality else ()
    for key, columns in _objects(messages).items():
        if not any(is_time_of(name, one) for name, one in columns.items()):
            said = _said(common | {"values": key})
            yield FieldsGuess(said, settings, names_channels=True, apart=_apart(leaves, asset))
    taken = {time, asset, quality}
    counts = [len(chains) for chains in messages]
    value = value_of(inner, taken, is_list=max(counts) > 1)
    if value:
        channel = channel_of(inner, {*taken, value}, counts) or named_channel(around, asset)
        said = _said(common | {"value": value, "channel": channel})
        yield FieldsGuess(said, settings, bool(channel), _apart(leaves, asset, channel))


def _said(guess: Mapping[str, str]) -> Fields:
    return tuple((key, guess[key]) for key in _ORDER if guess.get(key))


def _apart(leaves: Leaves, *paths: str) -> int:
    columns = [leaves[path] for path in paths if path]
    return len(set(zip(*columns, strict=True))) if columns else 0


def _leaves(messages: Sequence[Sequence[Chain]], level: int) -> Leaves:
    """Scalars that stand in each item, or in what encloses it by `level`."""
    found: Leaves | None = None
    for chain in (chain for chains in messages for chain in chains):
        leaves = dict(_scalars(chain[level], "")) if level < len(chain) else {}
        if found is None:
            found = {path: [] for path in leaves}
        for path in [path for path in found if path not in leaves]:
            del found[path]
        for path, values in found.items():
            values.append(leaves[path])
    return found or {}


def _outer(messages: Sequence[Sequence[Chain]]) -> Leaves:
    depth = min(len(chain) for chains in messages for chain in chains)
    found: Leaves = {}
    for level in range(1, depth):
        found = _leaves(messages, level) | found  # the nearer one holds
    return found


def _scalars(content: object, prefix: str, depth: int = 3) -> Iterator[tuple[str, object]]:
    if not isinstance(content, dict):
        return
    for key, value in content.items():
        if not _is_step(key):
            continue
        if isinstance(value, dict):
            if depth > 1:
                yield from _scalars(value, f"{prefix}{key}.", depth - 1)
        elif not isinstance(value, list):
            yield f"{prefix}{key}", value


def _objects(messages: Sequence[Sequence[Chain]]) -> dict[str, dict[str, object]]:
    """Objects of numbers alone that stand in each item: dotted path -> one of them."""
    found: dict[str, dict[str, object]] | None = None
    for chain in (chain for chains in messages for chain in chains):
        here = dict(_numeric_objects(chain[0], ""))
        found = here if found is None else {path: one for path, one in found.items() if path in here}
    return found or {}


def _numeric_objects(content: object, prefix: str, depth: int = 3) -> Iterator[tuple[str, dict[str, object]]]:
    if not isinstance(content, dict):
        return
    for key, value in content.items():
        if _is_step(key) and isinstance(value, dict) and value:
            if all(map(is_number, value.values())) and all(isinstance(name, str) for name in value):
                yield f"{prefix}{key}", value
            elif depth > 1:
                yield from _numeric_objects(value, f"{prefix}{key}.", depth - 1)


def _is_step(key: object) -> bool:
    """Whether a path can name it."""
    return isinstance(key, str) and bool(key) and "." not in key and key != "*"
