"""Event times in the notations that sensors use, as int ns since 1970, within 64 bits.

A number's unit is as configured, or told by its size: below 1e11 seconds, below 1e14 ms, below 1e17 µs, else ns (each
covers the years 1973 to 5138 of its unit). Text is ISO 8601; without a zone it is UTC. Two numbers, as
`{"seconds": …, "nanos": …}` (protobuf) or `{"timeInSeconds": …, "offsetInNanos": …}` (AWS), are taken together.
MessagePack and CBOR have types of their own for times.
"""

import math
import struct
from collections.abc import Sequence
from datetime import UTC, datetime
from reprlib import repr as brief
from typing import Literal, NamedTuple

import numpy as np
from msgspec.msgpack import Ext
from numpy.typing import NDArray

from edge_agent.core.errors import DecodeError

TimeUnit = Literal["auto", "s", "ms", "us", "ns"]

_BY_SIZE = ((1e11, 1_000_000_000), (1e14, 1_000_000), (1e17, 1_000))
_FACTORS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
_PAIRS = (("seconds", "nanos"), ("timeInSeconds", "offsetInNanos"))
_TIMESTAMP = -1  # the code of MessagePack's extension
_SECONDS, _NANOS_AND_SECONDS = struct.Struct(">I"), struct.Struct(">Iq")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_NS = 2**62  # the year 2116: far enough from where an int64 ends


class Moment(NamedTuple):
    """A time of a format that has a type for it, so that no unit need be told."""

    time_ns: int


def parse_time_ns(raw: object, unit: TimeUnit = "auto") -> int:
    """Raises DecodeError with the reason `time`."""
    time_ns = _parse(raw, unit)
    if not -(2**63) <= time_ns < 2**63:
        raise DecodeError("time", f"time {brief(raw):.60}: not within 64 bits of ns")
    return time_ns


def parse_times_ns(raws: Sequence[object], unit: TimeUnit = "auto") -> NDArray[np.int64]:
    """Of each, [n]. Raises DecodeError with the reason `time`."""
    if set(map(type, raws)) == {int}:
        try:
            time_ns = scale_to_ns(np.array(raws, np.int64), unit)
        except OverflowError:
            time_ns = None
        if time_ns is not None:
            return time_ns
    return np.array([parse_time_ns(raw, unit) for raw in raws], np.int64)


def scale_to_ns(time: NDArray[np.int64], unit: TimeUnit = "auto") -> NDArray[np.int64] | None:
    """Whole numbers of `unit` in ns, [n]; None: one of them lies after 2116, or as long before 1970."""
    if (time > _MAX_NS).any() or (time < -_MAX_NS).any():
        return None
    size = np.abs(time)
    factor = (
        np.select([size < limit for limit, _ in _BY_SIZE], [factor for _, factor in _BY_SIZE], 1)
        if unit == "auto"
        else np.int64(_FACTORS[unit])
    )
    return None if (size > _MAX_NS // factor).any() else time * factor


def _parse(raw: object, unit: TimeUnit) -> int:
    if isinstance(raw, Moment):
        return raw.time_ns
    if isinstance(raw, dict):
        return _pair(raw)
    if isinstance(raw, Ext):
        return _timestamp(raw)
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        msg = f"time {brief(raw):.60}: allowed are a number since 1970 (s, ms, µs or ns) and ISO 8601 text"
        raise DecodeError("time", msg)
    if isinstance(raw, str):
        return _iso(raw)
    if isinstance(raw, float) and not math.isfinite(raw):
        raise DecodeError("time", f"time {raw} is no finite number")
    factor = next((f for limit, f in _BY_SIZE if abs(raw) < limit), 1) if unit == "auto" else _FACTORS[unit]
    if isinstance(raw, int):
        return raw * factor
    # A float64 of seconds has no more than about 100 ns: round there, so that 0.1 s is 100,000,000 ns.
    scaled = raw * factor
    if not math.isfinite(scaled):
        raise DecodeError("time", f"time {raw}: not within 64 bits of ns")
    return round(scaled / 100) * 100 if factor >= 100 else round(scaled)


def _pair(raw: dict[object, object]) -> int:
    for seconds_key, nanos_key in _PAIRS:
        seconds, nanos = raw.get(seconds_key), raw.get(nanos_key, 0)
        if type(seconds) is int and type(nanos) is int and 0 <= nanos < 1_000_000_000:
            return seconds * 1_000_000_000 + nanos
    raise DecodeError("time", f"time {brief(raw):.60}: whole seconds and the ns within them are needed")


def _timestamp(extension: Ext) -> int:
    """MessagePack's, in its three lengths: s; 30 bits of ns and 34 of s; ns and signed s."""
    data = bytes(extension.data)
    if extension.code != _TIMESTAMP or len(data) not in {4, 8, 12}:
        raise DecodeError("time", f"extension {extension.code} of {len(data)} bytes: no timestamp")
    if len(data) == 4:
        nanos, seconds = 0, _SECONDS.unpack(data)[0]
    elif len(data) == 8:
        nanos, seconds = divmod(int.from_bytes(data), 1 << 34)
    else:
        nanos, seconds = _NANOS_AND_SECONDS.unpack(data)
    if nanos >= 1_000_000_000:
        raise DecodeError("time", f"a timestamp with {nanos} ns within its second")
    return int(seconds * 1_000_000_000 + nanos)


def _iso(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        msg = f"time {brief(text):.60}: no ISO 8601 time"
        raise DecodeError("time", msg) from error
    span = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    return ((span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds) * 1000
