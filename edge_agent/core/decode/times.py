"""Event times in the notations that sensors use, as int ns since 1970.

A number's unit is told by its size: below 1e11 seconds, below 1e14 ms, below 1e17 µs, else ns (each
covers the years 1973 to 5138 of its unit). Text is ISO 8601; without a zone it is UTC.
"""

import math
from datetime import UTC, datetime
from reprlib import repr as brief
from typing import NamedTuple

from edge_agent.core.errors import DecodeError

_UNITS = ((1e11, 1_000_000_000), (1e14, 1_000_000), (1e17, 1_000))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Moment(NamedTuple):
    """A time of a format that has a type for it, so that no unit need be told."""

    time_ns: int


def parse_time_ns(raw: object) -> int:
    """Raises DecodeError with the reason `time`."""
    if isinstance(raw, Moment):
        return raw.time_ns
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        msg = f"time {brief(raw):.60}: allowed are a number since 1970 (s, ms, µs or ns) and ISO 8601 text"
        raise DecodeError("time", msg)
    if isinstance(raw, str):
        return _iso(raw)
    if isinstance(raw, float) and not math.isfinite(raw):
        raise DecodeError("time", f"time {raw} is no finite number")
    factor = next((f for limit, f in _UNITS if abs(raw) < limit), 1)
    if isinstance(raw, int):
        return raw * factor
    # A float64 of seconds has no more than about 100 ns: round there, so that 0.1 s is 100,000,000 ns.
    return round(raw * factor / 100) * 100 if factor >= 100 else round(raw)


def _iso(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        msg = f"time {brief(text):.60}: no ISO 8601 time"
        raise DecodeError("time", msg) from error
    span = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    return ((span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds) * 1000
