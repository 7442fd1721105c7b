"""The gateway's time, which never runs backwards.

Stamps follow the wall clock as long as it goes forwards. When it is set back (NTP, a dead battery, a person), they
go on at nine tenths of the speed until it has caught up: nothing is reordered, and no two messages share a stamp.

Invariants
1. Stamps ascend strictly, by `SPACING_NS` at least: the values of one message without a time find room between two.
2. A stamp is never behind the wall clock.
"""

SPACING_NS = 1000
_SLACK_NS = 1_000_000_000


class Clock:
    """Pure: the caller reads the wall clock and the monotonic one. `floor_ns`: the last stamp of an earlier life."""

    def __init__(self, wall_ns: int, monotonic_ns: int, floor_ns: int = 0) -> None:
        self._last_ns = max(wall_ns, floor_ns)
        self._monotonic_ns = monotonic_ns
        self.behind_ns = self._last_ns - wall_ns  # how far the wall clock lies behind what it has said before

    def stamps(self, count: int, wall_ns: int, monotonic_ns: int) -> range:
        """`count` stamps in ns, all after those before."""
        steady_ns = self._last_ns + max(0, monotonic_ns - self._monotonic_ns) * 9 // 10
        self.behind_ns = max(0, steady_ns - wall_ns)
        first_ns = max(wall_ns, steady_ns, self._last_ns + SPACING_NS)
        stamps = range(first_ns, first_ns + count * SPACING_NS, SPACING_NS)
        self._last_ns, self._monotonic_ns = stamps[-1] if count else first_ns, monotonic_ns
        return stamps

    @property
    def is_behind(self) -> bool:
        """Whether the wall clock was set back: it cannot tell then what lies in the future."""
        return self.behind_ns > _SLACK_NS
