"""When each gateway was last heard of, and how far its clock is off.

A heartbeat carries the gateway's time of sealing. Until its batch is stored, time passes: the uplink, a write, and an
outage if there was one. That only ever adds; so the smallest of the last differences is nearest to the truth, and
what it still holds beyond the difference of the clocks is the quickest way from there to the store, some 0.1 s.
Heartbeats of a gateway that was behind when it spoke are left out.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from aggregator.core.gaps import MAX_GATEWAYS, Gateway
from aggregator.core.points import Points

_DIFFERENCES = 8
_LIVE_LAG_S = 5.0


class Times(NamedTuple):
    """Of one batch, ns since 1970. None = it has none."""

    newest_ns: int | None  # event time of its newest row of the plant
    beat_ns: int | None  # of the heartbeat of a gateway that was not behind


def times(points: Points) -> Times:
    """What a batch's rows say of time."""
    newest_ns = beat_ns = None
    for table in points.tables:
        if table.measurement != "gateway":
            newest_ns = max(newest_ns or 0, int(table.time_ns.max()))
        elif "lag_s" in table.floats and table.floats["lag_s"][-1] <= _LIVE_LAG_S:
            beat_ns = int(table.time_ns[-1])
    return Times(newest_ns, beat_ns)


@dataclass
class Known:
    """Of one gateway. Times are ns since 1970 on the aggregator's clock."""

    heard_ns: int
    _differences_ns: deque[int] = field(default_factory=lambda: deque(maxlen=_DIFFERENCES))

    def beat(self, difference_ns: int) -> None:
        """A heartbeat was stored so long after its own time; below 0 = the gateway's clock is ahead."""
        self._differences_ns.append(difference_ns)

    @property
    def skew_s(self) -> float | None:
        """How far the gateway's clock is behind; below 0 = ahead. None = no heartbeat yet."""
        return min(self._differences_ns) / 1e9 if self._differences_ns else None


class Heard:
    """Of at most `max_gateways`; beyond that the one longest unheard of is forgotten."""

    def __init__(self, max_gateways: int = MAX_GATEWAYS) -> None:
        self._max_gateways = max_gateways
        self._known: dict[Gateway, Known] = {}  # heard last = last

    def add(self, gateway: Gateway, now_ns: int, beat_ns: int | None) -> None:
        """A batch was stored; `beat_ns`: the time of the heartbeat in it."""
        known = self._known.pop(gateway, None) or Known(now_ns)
        known.heard_ns = now_ns
        if beat_ns is not None:
            known.beat(now_ns - beat_ns)
        self._known[gateway] = known
        if len(self._known) > self._max_gateways:
            del self._known[next(iter(self._known))]

    def known(self) -> dict[Gateway, Known]:
        """All of them."""
        return dict(self._known)
