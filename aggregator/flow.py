"""The loop at the aggregator's heart: take all that waits, make it ready, write it, answer.

    uplink.take ▶ validate ▶ merge ▶ prepare ──some ready ahead──▶ write (`connections` at once) ▶ receipts

Batches that come while writes run are merged into the next ones, so writes grow with the load and no timer is
needed. What a batch is owed is decided here: a receipt once it is stored, or once it is refused; nothing otherwise.

Invariants
1. A receipt with `stored` is sent only after the store has said so.
2. While the store is away, receipts just stop; what is in hand is written when it is back.
3. After `stop`, the writes in hand are finished and answered; nothing new is begun.
4. What is neither stored nor refused for good is left without an answer: it stays with its gateway.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from aggregator.core.batching import merge
from aggregator.core.points import Points
from aggregator.core.rows import MAX_NAMED
from aggregator.core.validate import Accepted, Held, Refused, Validator
from aggregator.metrics import Metrics
from aggregator.ports import Request, Store, Undecided, Uplink, Write
from aggregator.threads import Worker
from aggregator.watch import Watch
from aggregator.writing import Stopped, Writing
from models.contract.batch import Receipt, Refusal

log = structlog.get_logger()

Batches = list[tuple[Request, Accepted]]


@dataclass(frozen=True)
class Checked:
    """A request and what validation made of it. Its length is the number of rows to write."""

    request: Request
    result: Accepted | Refused | Held

    def __len__(self) -> int:
        return len(self.result.points) if isinstance(self.result, Accepted) else 0


@dataclass(frozen=True)
class Job:
    """Batches that are written together, and those that came between them and will not be written."""

    taken_s: float  # on the monotonic clock
    accepted: Batches
    refused: list[tuple[Request, Refused]]
    held: list[tuple[Request, Held]]
    points: Points
    write: Write


class Flow:
    """Moves batches from the uplink to the store."""

    def __init__(
        self,
        uplink: Uplink,
        store: Store,
        validator: Validator,
        writing: Writing,
        metrics: Metrics,
        watch: Watch,
        stop: asyncio.Event,
        connections: int = 1,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """`stop` ends `run` after the writes in hand, and waits of all kinds at once."""
        self._uplink, self._store, self._validator, self._writing = uplink, store, validator, writing
        self._metrics, self._watch, self._stop = metrics, watch, stop
        self._connections, self._clock_ns = connections, clock_ns

    async def run(self) -> None:
        """Until stopped, or until the uplink is closed and all that was taken is written."""
        ready: asyncio.Queue[Job | None] = asyncio.Queue(maxsize=self._connections)
        async with asyncio.TaskGroup() as tasks:
            for number in range(self._connections):
                tasks.create_task(self._write_all(ready, f"write-{number}"), name=f"write-{number}")
            with closing(Worker("prepare")) as worker:
                await self._prepare_all(ready, worker)
            for _ in range(self._connections):
                await self._unless_stopped(ready.put(None))

    async def _prepare_all(self, ready: "asyncio.Queue[Job | None]", worker: Worker) -> None:
        while not self._stop.is_set() and (requests := await self._uplink.take()):
            taken_s = time.monotonic()
            jobs = self._jobs(requests, taken_s)
            # drawn one by one, in a thread, so that neither memory nor the connection suffers
            with self._metrics.in_hand(taken_s):
                while not self._stop.is_set() and (job := await worker.do(partial(next, jobs, None))):
                    for request, result in job.held:
                        self._leave(request, result.reason)
                    await self._refuse(job.refused)
                    if job.accepted:
                        await self._unless_stopped(ready.put(job))

    def _jobs(self, requests: list[Request], taken_s: float) -> Iterator[Job]:
        now_ns = self._clock_ns()
        for group in merge(Checked(request, self._validator.check(request, now_ns)) for request in requests):
            accepted = [(one.request, one.result) for one in group if isinstance(one.result, Accepted)]
            points = _points(accepted)
            yield Job(
                taken_s,
                accepted,
                [(one.request, one.result) for one in group if isinstance(one.result, Refused)],
                [(one.request, one.result) for one in group if isinstance(one.result, Held)],
                points,
                self._store.prepare(points),
            )

    async def _write_all(self, ready: "asyncio.Queue[Job | None]", name: str) -> None:
        with closing(Worker(name)) as worker, suppress(Stopped):
            while not self._stop.is_set() and (job := await self._unless_stopped(ready.get())):
                with self._metrics.in_hand(job.taken_s):
                    await self._settle(job.accepted, job.points, job.write, worker)

    async def _settle(self, accepted: Batches, points: Points, write: Write, worker: Worker) -> None:
        """Each batch is answered, or left to its gateway. Raises Stopped."""
        doubt = ""
        refused: list[Refusal] = []
        try:
            if len(points):
                refused = await self._writing.until_stored(points, write, worker)
        except Undecided as error:
            doubt = str(error)
        if (refused or doubt) and len(accepted) > 1:
            # rare: to know whose rows they are, write each half alone; writing twice changes nothing
            middle = len(accepted) // 2
            for half in (accepted[:middle], accepted[middle:]):
                rows = _points(half)
                await self._settle(half, rows, await worker.do(partial(self._store.prepare, rows)), worker)
        elif doubt:
            self._leave(accepted[0][0], doubt)
        else:
            await self._answer(accepted, refused)

    async def _answer(self, accepted: Batches, refused: list[Refusal]) -> None:
        """All are stored but the rows that the store refused, which then are of the only batch."""
        receipts = []
        for request, result in accepted:
            every = [*result.refused, *refused]
            count = len(every) + result.unnamed
            self._watch.seen(result.gateway, result.epoch, result.seq, request.oldest)
            self._watch.stored(result.gateway, result.points, self._clock_ns())
            self._metrics.batches.labels("stored").inc()
            self._metrics.rows_written.inc(len(result.points) - len(refused))
            self._metrics.rows_beyond.inc(result.beyond)
            if result.is_clock_ahead:
                self._watch.ahead(result.gateway)
            if every:
                self._metrics.rows_refused.inc(count)
                self._watch.refused(request.topic, every[0].reason, count)
            named = every[:MAX_NAMED]
            receipt = Receipt(
                epoch=result.epoch, seq=result.seq, stored=True, refused=named, unnamed=count - len(named)
            )
            receipts.append((request, receipt))
        await self._uplink.answer(receipts)

    async def _refuse(self, refused: list[tuple[Request, Refused]]) -> None:
        receipts = []
        for request, result in refused:
            self._metrics.batches.labels("refused").inc()
            log.warning("batch refused", topic=request.topic, bytes=len(request.payload), reason=result.reason)
            # without either, the gateway could not tell which of its batches is meant
            if request.correlation is not None or result.epoch:
                receipt = Receipt(epoch=result.epoch, seq=result.seq, stored=False, reason=result.reason)
                receipts.append((request, receipt))
        if receipts:
            await self._uplink.answer(receipts)

    def _leave(self, request: Request, reason: str) -> None:
        """No receipt. It comes again with its gateway's next attempt; a person hears of it once."""
        self._metrics.batches.labels("held").inc()
        self._watch.held(request.topic, reason)

    async def _unless_stopped(self, work: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 - whatever the work gives
        """What the work gives, or None when `stop` comes first."""
        doing = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({doing, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return doing.result() if doing.done() else None
        finally:
            stopping.cancel()
            doing.cancel()


def _points(accepted: Batches) -> Points:
    return Points(tuple(table for _, result in accepted for table in result.points.tables))
