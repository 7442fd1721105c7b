"""Notices that no messages come although they should: the last resort against a connection that only seems alive.

A plant has its own rhythm, so the longest gap between messages is learnt: a maximum that halves every four hours.
Silence is longer than half a minute and than three such gaps. Nothing is judged before the rhythm is known, and a
silence is reported once: the message that ends it makes the next report possible, and is itself a gap to learn from.

Pure: time is an argument. The right clock is `SensorLink.listened_ns`: an outage is no silence of the sensors.
"""

SHORTEST_S = 30.0
FACTOR = 3.0
WARM_UP_S, WARM_UP_STEPS = 120.0, 100
_HALF_LIFE_S = 4 * 3600.0


class Watchdog:
    """One for all messages of a link."""

    def __init__(self) -> None:
        self._first_s: float | None = None
        self._last_s = 0.0  # of the last message
        self._steps = 0  # that brought messages
        self._gap_s = 0.0  # the learnt longest, as of _last_s
        self._is_reported = False

    @property
    def limit_s(self) -> float:
        """How long the silence may last, in s."""
        return max(SHORTEST_S, FACTOR * self._gap_s)

    def step(self, now_s: float, got_messages: bool) -> bool:
        """True once per silence, when it has become longer than `limit_s`. `now_s` never descends."""
        if got_messages:
            self._learn(now_s)
            return False
        if self._is_reported or not self._knows_the_rhythm() or now_s - self._last_s <= self.limit_s:
            return False
        self._is_reported = True
        return True

    def _learn(self, now_s: float) -> None:
        if self._first_s is None:
            self._first_s = self._last_s = now_s
        gap_s = now_s - self._last_s
        self._gap_s = max(gap_s, self._gap_s * 0.5 ** (gap_s / _HALF_LIFE_S))
        self._last_s = now_s
        self._steps += 1
        self._is_reported = False

    def _knows_the_rhythm(self) -> bool:
        if self._first_s is None:
            return False
        return self._steps >= WARM_UP_STEPS and self._last_s - self._first_s >= WARM_UP_S
