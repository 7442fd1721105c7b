"""One write, again and again until the store has the rows or says that it never will.

Invariants
1. Rows count as stored only when the store has said so, and not while a row read back is missing.
2. What passes by itself is tried for ever, with growing, jittered pauses; what needs a person, at a steady pace.
3. A person is called once for each fault, not with every attempt.
"""

import asyncio
from functools import partial
from random import Random

import structlog

from aggregator.core.backoff import delay_s
from aggregator.core.points import Points
from aggregator.metrics import Metrics
from aggregator.ports import RetryLater, StoreMisconfigured, Undecided, Write
from aggregator.readback import ReadBack
from aggregator.threads import Worker
from models.contract.batch import Refusal

log = structlog.get_logger()

MISCONFIGURED_PAUSE_S = 30.0


class Stopped(Exception):  # noqa: N818 - the name says what happened
    """The process ends before the store took the rows."""


class Writing:
    """What all writes to the store share. Several may be under way at once."""

    def __init__(
        self,
        metrics: Metrics,
        stop: asyncio.Event,
        read_back: ReadBack | None = None,
        pause_s: float = MISCONFIGURED_PAUSE_S,
    ) -> None:
        self._metrics, self._stop, self._read_back, self._pause_s = metrics, stop, read_back, pause_s
        self._fault = ""  # what a person was called for
        self._random = Random()  # noqa: S311 - jitter, no secret

    async def until_stored(self, points: Points, write: Write, worker: Worker) -> list[Refusal]:
        """The rows that were refused; all others are stored. Raises Stopped, and Undecided as the store does."""
        attempt = 0
        while True:
            attempt += 1
            try:
                refused = await worker.do(partial(self._confirmed, points, write))
            except RetryLater as error:
                failure: RetryLater | StoreMisconfigured = error
                wait_s = error.after_s if error.after_s is not None else delay_s(attempt, self._random)
            except StoreMisconfigured as error:
                failure, wait_s = error, self._pause_s
            except Undecided:
                self._answered()
                raise
            else:
                self._answered()
                return refused
            self._report(failure, len(points), wait_s)
            await self._pause(wait_s)

    def _confirmed(self, points: Points, write: Write) -> list[Refusal]:
        refused = write()
        if self._read_back and not refused:
            self._read_back.inspect(points)
        return refused

    def _answered(self) -> None:
        self._metrics.store_up.set(1)
        self._metrics.store_misconfigured.set(0)
        self._fault = ""

    def _report(self, failure: RetryLater | StoreMisconfigured, rows: int, wait_s: float) -> None:
        needs_person = isinstance(failure, StoreMisconfigured)
        self._metrics.store_up.set(0)
        self._metrics.store_misconfigured.set(needs_person)
        self._metrics.write_failures.inc()
        reason = str(failure)
        if not needs_person:
            log.warning("store not available; rows kept", rows=rows, reason=reason, again_in_s=round(wait_s, 1))
        elif reason != self._fault:
            log.error("store refuses us; rows kept until a person puts it right", rows=rows, reason=reason)
        self._fault = reason if needs_person else ""

    async def _pause(self, wait_s: float) -> None:
        try:
            await asyncio.wait_for(self._stop.wait(), wait_s)
        except TimeoutError:
            return
        raise Stopped
