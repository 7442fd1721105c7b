"""Where a payload keeps what: paths such as `data.0.v` into parsed content, with alternatives.

A path is names with dots between them; a number is also a position in a list; `*` (in `items` only) is each of a
list. What is true of several items may stand once, around them: time, channel, asset, dt and quality are looked for in
the item, then in what encloses it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from edge_agent.core.errors import DecodeError

Path = tuple[str, ...]
Paths = tuple[Path, ...]  # the first that leads to something holds
Chain = tuple[object, ...]  # an item and what encloses it, outwards

MISSING = object()


class Places(NamedTuple):
    """A topic's `fields`; the defaults are those of the shapes in `json.py`. `items` None: the content is the item."""

    time: Paths = (("ts",), ("time",), ("timestamp",))
    value: Paths = (("value",), ("v",))
    values: Paths = (("values",),)
    dt: Paths = (("dt",),)
    channel: Paths = (("channel",),)
    asset: Paths = ()
    quality: Paths = ()
    items: Path | None = None
    is_usual: bool = True  # then an object may also be flat: keys are channels


def places_of(fields: Mapping[str, str | Sequence[str] | None]) -> Places:
    """From the configuration: dotted texts, or lists of them."""
    given = {key: field for key, field in fields.items() if field is not None}
    items = given.pop("items", None)
    read = {
        key: tuple(tuple(path.split(".")) for path in ([field] if isinstance(field, str) else field))
        for key, field in given.items()
    }
    return Places(**read, items=tuple(items.split(".")) if isinstance(items, str) else None, is_usual=False)


def find(content: object, wanted: Paths) -> object:
    """What the first path that leads somewhere leads to, or MISSING."""
    for path in wanted:
        found = content
        for key in path:
            found = _step(found, key)
            if found is MISSING:
                break
        else:
            return found
    return MISSING


def find_around(around: Chain, wanted: Paths) -> object:
    """The same, in the item or else in what encloses it."""
    for content in around:
        found = find(content, wanted)
        if found is not MISSING:
            return found
    return MISSING


def items(content: object, path: Path | None) -> Iterator[Chain]:
    """The items of some content. Raises DecodeError (`shape`)."""
    if path is None:
        return iter([(item,) for item in content] if isinstance(content, list) else [(content,)])
    return _walk((content,), path)


def _walk(around: Chain, path: Path) -> Iterator[Chain]:
    here = around[0]
    if not path:
        yield from [(item, *around[1:]) for item in here] if isinstance(here, list) else [around]
    elif path[0] != "*":
        found = _step(here, path[0])
        if found is MISSING:
            raise DecodeError("shape", f"fields.items: the payload has no {path[0]!r:.60} there")
        yield from _walk((found, *around), path[1:])
    elif isinstance(here, list):
        for item in here:
            yield from _walk((item, *around[1:]), path[1:])
    else:
        raise DecodeError("shape", "fields.items: `*` stands where the payload has no list")


def _step(content: object, key: str) -> object:
    if isinstance(content, dict):
        return content.get(key, MISSING)
    if isinstance(content, list) and key.isdecimal() and key.isascii() and len(key) < 10 and int(key) < len(content):
        return content[int(key)]
    return MISSING
