"""One-minute means of the readings: what they are called, how long they are kept, and how a stretch is cut.

Bad readings do not count into the means; how many there were stands beside them. A minute is always computed as a
whole, from all its rows: a part of one would take the place of the mean of all.
"""

import re
from collections.abc import Callable, Iterator

MEASUREMENT = "reading_1m"
MEANS = ("mean", "min", "max", "n")  # of the readings that are not bad; n is how many there are
BAD = "bad"  # how many are bad
# An engine computes the means of the last hour every quarter of it: each reading is read four times. What comes later
# than that is `downsample`'s.
LATE_S = 3600
EVERY_S = 900

MINUTE_NS = 60_000_000_000
MAX_PIECE_NS = 60 * MINUTE_NS  # by one request
_MARGIN_NS = 10 * MINUTE_NS  # by which the store's clock may be ahead of ours

_UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0}


def pieces(since_ns: int, until_ns: int, timeout_s: float, clock: Callable[[], float]) -> Iterator[tuple[int, int]]:
    """Stretches of whole minutes, in order, that cover all the time asked for; by `clock`, each takes some seconds.

    The first is a minute long. The next ones grow while the caller needs less than an eighth of `timeout_s` for one
    and shrink when it needs more than half, so that no plant is too large for a time-out, or too small to be quick.
    """
    start = since_ns - since_ns % MINUTE_NS
    end = until_ns + -until_ns % MINUTE_NS
    length_ns = MINUTE_NS
    while start < end:
        stop = min(start + length_ns, end)
        began_s = clock()
        yield start, stop
        took_s = clock() - began_s
        if took_s < timeout_s / 8:
            length_ns = min(2 * length_ns, MAX_PIECE_NS)
        elif took_s > timeout_s / 2:
            length_ns = max(length_ns // MINUTE_NS // 2, 1) * MINUTE_NS
        start = stop


def kept(since_ns: int, now_ns: int, kept_s: int) -> int:
    """From when on means are worth computing: a store refuses what it would delete at once. `kept_s` 0 = for ever."""
    return max(since_ns, now_ns - kept_s * 1_000_000_000 + _MARGIN_NS) if kept_s else since_ns


def retention_s(days: float) -> int:
    """Whole seconds, as stores count them; 0 = for ever."""
    return round(days * 86400)


def span(seconds: int) -> str:
    """As InfluxQL and InfluxDB 3 write it: 90d, 36h, 5400s."""
    if seconds % 86400 == 0:
        return f"{seconds // 86400}d"
    return f"{seconds // 3600}h" if seconds % 3600 == 0 else f"{seconds}s"


def words(seconds: int) -> str:
    """For people."""
    return span(seconds) if seconds else "for ever"


def seconds_of(duration: str) -> int:
    """Of a duration as InfluxDB shows it, such as 2160h0m0s. Raises ValueError when it is none."""
    if not re.fullmatch(r"([\d.]+[hms])+", duration):
        msg = f"{duration!r} is no duration"
        raise ValueError(msg)
    return round(sum(float(number) * _UNITS_S[unit] for number, unit in re.findall(r"([\d.]+)([hms])", duration)))
