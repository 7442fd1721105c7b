"""The gateway's word on itself: a row of the measurement `gateway`, in a batch that is sealed anyway or in its own.

The row is no result. It is made of what this process knows at the moment, not of the journal, so a replay makes
none, and a crash before its batch is sealed makes another. Sealed, it is as durable as every row, and stored once.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import structlog

from edge_agent.metrics import Metrics, total
from edge_agent.ports import Clock, NoRoomError, Outbox
from models.contract.quality import Quality, label

_log = structlog.get_logger()
EVERY_S = 10.0  # with a batch of results, at most so often
ALONE_S = 30.0  # in a batch of its own, when none came for so long: an idle gateway must not look like a dead one
_RETRY_S = 1.0


class Beat(NamedTuple):
    """One row; `fields` as in the schema, without those of which nothing is known."""

    time_ns: int
    fields: dict[str, float]


class Heartbeat:
    """`provider_is_first`: whether all models run on the first wanted provider; None = there are no models."""

    def __init__(
        self, outbox: Outbox, clock: Clock, metrics: Metrics, provider_is_first: Callable[[], bool | None]
    ) -> None:
        self._outbox, self._clock, self._metrics = outbox, clock, metrics
        self._provider_is_first = provider_is_first
        self._begun_s = time.monotonic()
        self._due_s, self._due_alone_s, self._again_s = self._begun_s, self._begun_s + ALONE_S, 0.0

    def beat(self, oldest_ns: int | None = None) -> Beat | None:
        """The row for a batch that is sealed now, None when it is too early for one, or the outbox cannot be read.

        `oldest_ns`: arrival of the oldest datum of the batch; without it the batch is to hold nothing else.
        """
        now_s, due_s = time.monotonic(), self._due_alone_s if oldest_ns is None else self._due_s
        if now_s < max(due_s, self._again_s):
            return None
        # One that cannot be made or kept is not tried again with every turn of the pipeline.
        self._again_s = now_s + _RETRY_S
        try:
            return self._look(oldest_ns)
        except NoRoomError as error:
            _log.debug("the outbox cannot be looked at now", error=str(error))
            return None

    def told(self) -> None:
        """The last row is sealed."""
        now_s = time.monotonic()
        self._due_s, self._due_alone_s, self._again_s = now_s + EVERY_S, now_s + ALONE_S, 0.0

    def _look(self, oldest_ns: int | None) -> Beat:
        waiting, lost = self._outbox.waiting(), self._outbox.lost()
        now_ns, counted = self._clock.now_ns(), self._metrics
        refused = total(counted.deadletters, reason="refused")
        arrivals = [arrival_ns for arrival_ns in (waiting.oldest_ns, oldest_ns) if arrival_ns is not None]
        fields = {
            "readings_total": total(counted.readings),
            "deadletters_total": total(counted.deadletters) - refused,
            "late_total": total(counted.marked, reason=label(Quality.UNCERTAIN_LATE)),
            "lost_total": float(sum(lost.values())),
            "refused_total": refused,
            "backlog_batches": float(waiting.batches),
            "backlog_bytes": float(waiting.bytes),
            "lag_s": max(0, now_ns - min(arrivals, default=now_ns)) / 1e9,
            "clock_is_behind": float(self._clock.is_behind),
            "uptime_s": time.monotonic() - self._begun_s,
        }
        is_first = self._provider_is_first()
        if is_first is not None:
            fields["provider_is_first"] = float(is_first)
        return Beat(now_ns, fields)
