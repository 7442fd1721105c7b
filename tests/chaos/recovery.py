"""How long the way to the database stood still after a fault. Pure."""

import bisect
from collections.abc import Sequence
from typing import NamedTuple


class Span(NamedTuple):
    """From, to: monotonic s."""

    begin_s: float
    end_s: float


class Recovery(NamedTuple):
    """From the end of a fault to the next write that the database confirmed.

    `calm_s`: the part of `total_s` in which no other fault was active; what is left of it is our own delay.
    """

    total_s: float
    calm_s: float


def recoveries(faults: Sequence[Span], writes_s: Sequence[float]) -> list[Recovery]:
    """One for each fault that a write followed. `writes_s` ascends."""
    found = []
    for fault in faults:
        place = bisect.bisect_left(writes_s, fault.end_s)
        if place < len(writes_s):
            span = Span(fault.end_s, writes_s[place])
            found.append(Recovery(span.end_s - span.begin_s, _calm_s(span, faults)))
    return found


def _calm_s(span: Span, faults: Sequence[Span]) -> float:
    calm_s, reached_s = 0.0, span.begin_s
    for fault in sorted(faults):
        if fault.begin_s >= span.end_s:
            break
        calm_s += max(0.0, fault.begin_s - reached_s)
        reached_s = max(reached_s, fault.end_s)
    return calm_s + max(0.0, span.end_s - reached_s)
