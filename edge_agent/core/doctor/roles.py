"""Which of an item's leaves is what: told by its key, and by what stands there in every item.

A leaf that is missing in one item is no leaf. Keys are compared without case, `_` and `-`.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import TypeGuard

from edge_agent.core.decode.source_quality import parse_quality
from edge_agent.core.decode.times import parse_time_ns
from edge_agent.core.errors import DecodeError

_VALUES = ("value", "v", "val", "reading", "measurement", "rawvalue", "number", "data", "y")
_TIMES = ("t", "ts", "time", "timestamp", "sourcetimestamp", "datetime", "date", "at", "created", "epoch")
_CHANNELS = (
    *("channel", "tag", "tagname", "name", "id", "nodeid", "metric", "sensor", "signal", "point", "variable", "key"),
    *("parameter", "property", "measure", "label", "n"),
)
_ASSETS = ("asset", "device", "deviceid", "devicename", "machine", "equipment", "dev", "unitid", "station")
_QUALITIES = ("q", "quality", "statuscode", "status", "good", "isgood", "valid", "isvalid")
_NEVER_NAMES = {"unit", "units", "uom", "type", "datatype", "dtype", "version", *_QUALITIES}
_LONGEST_NAME = 100
_SURELY_A_TIME = 1e12  # ms of 2001: a number without a telling key
_YEAR_2000_NS, _YEAR_2100_NS = 946_684_800 * 10**9, 4_102_444_800 * 10**9

Leaves = dict[str, list[object]]  # dotted path -> what stands there, in each item


def time_of(leaves: Leaves) -> str:
    """The likeliest; empty: there is none."""
    times = [p for p, values in leaves.items() if all(map(_is_time, values)) and (_says_time(p) or _is_sure(values))]
    return min(times, key=lambda path: (_rank(path, _TIMES), path.count(".")), default="")


def value_of(leaves: Leaves, taken: set[str], *, is_list: bool) -> str:
    """The number whose key says so, else, in a list, the only one; a lone object's may be called as its channel."""
    left = {path: values for path, values in leaves.items() if path not in taken}
    telling = [
        path for path, values in left.items() if _rank(path, _VALUES) < len(_VALUES) and any(map(is_number, values))
    ]
    if telling:
        return min(telling, key=lambda path: (_rank(path, _VALUES), path.count(".")))
    numbers = [p for p, values in left.items() if _last(p) not in _QUALITIES and all(map(is_number, values))]
    return numbers[0] if is_list and len(numbers) == 1 else ""


def channel_of(leaves: Leaves, taken: set[str], counts: Sequence[int]) -> str:
    """The text that differs within each message, else the one whose key says so; `counts`: items of each message."""
    names = [
        path
        for path, values in leaves.items()
        if path not in taken and _last(path) not in {*_NEVER_NAMES, *_ASSETS} and all(map(_is_name, values))
    ]
    ends = list(accumulate(counts, initial=0))

    def differs(path: str) -> bool:
        parts = [leaves[path][begin:end] for begin, end in pairwise(ends)]
        return any(len(part) > 1 for part in parts) and all(len(set(map(str, part))) == len(part) for part in parts)

    told = [path for path in names if differs(path) or _rank(path, _CHANNELS) < len(_CHANNELS)]
    length = {path: sum(len(str(value)) for value in leaves[path]) for path in told}
    return min(told, key=lambda path: (not differs(path), _rank(path, _CHANNELS), length[path]), default="")


def named_channel(leaves: Leaves, asset: str) -> str:
    """A text whose key calls it a channel, and that is not the asset; empty: there is none."""
    return _named({path: values for path, values in leaves.items() if path != asset}, _CHANNELS)


def named_asset(leaves: Leaves) -> str:
    """A text whose key calls it an asset; empty: there is none."""
    return _named(leaves, _ASSETS)


def _named(leaves: Leaves, keys: Sequence[str]) -> str:
    found = [path for path, values in leaves.items() if _last(path) in keys and all(map(_is_name, values))]
    return min(found, key=lambda path: (_rank(path, keys), path.count(".")), default="")


def quality_of(leaves: Leaves) -> str:
    """What a decoder reads as a quality, and is meant as one; empty: there is none."""
    found = [p for p, values in leaves.items() if _last(p) in _QUALITIES and all(_is_quality(p, one) for one in values)]
    return min(found, key=lambda path: (_rank(path, _QUALITIES), path.count(".")), default="")


def _is_quality(path: str, raw: object) -> bool:
    """Numbers only as OPC has them: 1 is bad there, and means anything elsewhere. A boolean status may be a run."""
    if isinstance(raw, bool):
        return _last(path) != "status"
    if isinstance(raw, int):
        return raw == 0 or 64 <= raw < 256 or abs(raw) >= 1 << 30
    try:
        parse_quality(raw, "opc-ua")
    except DecodeError:
        return False
    return isinstance(raw, str)


def codes_of(qualities: Sequence[object]) -> tuple[tuple[str, str], ...]:
    """The topic's setting that they need. A 0 must be told: bad where others are bytes of classic OPC, else good."""
    numbers = {raw for raw in qualities if isinstance(raw, int) and not isinstance(raw, bool)}
    if 0 not in numbers:
        return ()
    return (("quality_codes", "opc-classic" if any(64 <= raw < 256 for raw in numbers) else "opc-ua"),)


def _last(path: str) -> str:
    return path.rpartition(".")[2].lower().replace("_", "").replace("-", "")


def _rank(path: str, keys: Sequence[str]) -> int:
    last = _last(path)
    return keys.index(last) if last in keys else len(keys)


def _says_time(path: str) -> bool:
    return _last(path) in _TIMES or any(word in _last(path) for word in ("time", "date", "stamp"))


def _is_sure(values: Sequence[object]) -> bool:
    return all(isinstance(raw, str) or (is_number(raw) and raw >= _SURELY_A_TIME) for raw in values)


def is_number(value: object) -> TypeGuard[float]:
    """And no boolean."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME and value.isprintable() and not _is_time(value)


def is_time_of(key: str, value: object) -> bool:
    """Whether it is the time of an object whose other keys are channels."""
    return _rank(key, _TIMES) < len(_TIMES) and _is_time(value)


def _is_time(value: object) -> bool:
    """Of this century. A number below a billion is none: it would be 2001 in seconds."""
    if value is None or isinstance(value, bool):
        return False
    try:
        return _YEAR_2000_NS < parse_time_ns(value) < _YEAR_2100_NS
    except DecodeError:
        return False
