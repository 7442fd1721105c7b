"""The gateway's clocks: the wall clock, made to run forwards only."""

import threading
import time

import structlog

from edge_agent.core.clock import Clock

_log = structlog.get_logger()
_JUMP_NS = 10_000_000_000  # said aloud; below, the clock is only being tuned


class SystemClock:
    """Safe for several threads. `floor_ns`: the last stamp in the journal."""

    def __init__(self, floor_ns: int = 0) -> None:
        self._lock = threading.Lock()
        self._clock = Clock(time.time_ns(), time.monotonic_ns(), floor_ns)
        self._was_behind = False

    def stamps(self, count: int) -> range:
        """`count` stamps in ns that ascend strictly."""
        with self._lock:
            stamps = self._clock.stamps(count, time.time_ns(), time.monotonic_ns())
        self._report()
        return stamps

    def now_ns(self) -> int:
        """One stamp."""
        return self.stamps(1)[0]

    @property
    def is_behind(self) -> bool:
        """Whether the wall clock was set back and has not caught up."""
        return self._clock.is_behind

    def _report(self) -> None:
        behind_ns = self._clock.behind_ns
        if behind_ns > _JUMP_NS and not self._was_behind:
            _log.warning(
                "the gateway's clock was set back: stamps go on, slowed, until it has caught up", s=behind_ns / 1e9
            )
        self._was_behind = behind_ns > _JUMP_NS
