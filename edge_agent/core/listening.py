"""For how long the broker could have told us: the clock on which silence of sensors is measured.

Between two packets of one connection at most `STEP_NS` count, so that an outage, a stall or a suspended machine
adds next to nothing. A link that pings once a second thus follows real time while the broker answers.

Pure: time, of a monotonic clock, is an argument.
"""

STEP_NS = 2_000_000_000


class Listening:
    """Ascends from 0; `total_ns` may be read by any thread."""

    def __init__(self) -> None:
        self.total_ns = 0
        self._last_ns = 0

    def begin(self, now_ns: int) -> None:
        """A connection was accepted: what lies before it does not count."""
        self._last_ns = now_ns

    def heard(self, now_ns: int) -> None:
        """A packet came."""
        self.total_ns += max(0, min(now_ns - self._last_ns, STEP_NS))
        self._last_ns = now_ns
