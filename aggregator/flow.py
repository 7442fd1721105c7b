"""The loop at the aggregator's heart: take all that waits, write it, answer, repeat.

Batches that come while a write runs are merged into the next one, so writes grow with the load and no timer is
needed. What a batch is owed is decided here: a receipt once it is stored, or once it is refused; nothing otherwise.

Invariants
1. A receipt with `stored` is sent only after the store has said so.
2. While the store is away, receipts just stop; what is in hand is written when it is back.
3. After `stop`, the write in hand is finished and answered; nothing new is begun.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial, reduce
from operator import add
from random import Random
from typing import TypeVar

import structlog

from aggregator.core.backoff import delay_s
from aggregator.core.batching import merge
from aggregator.core.validate import Accepted, Refused, validate
from aggregator.metrics import Metrics
from aggregator.ports import Request, RetryLater, Store, StoreMisconfigured, Uplink
from aggregator.watch import Watch
from models.contract.batch import Receipt, Refusal

_REFUSALS_NAMED = 100  # in a receipt: it must not outgrow a broker's largest packet

log = structlog.get_logger()
T = TypeVar("T")

MISCONFIGURED_PAUSE_S = 30.0


@dataclass(frozen=True)
class Checked:
    """A request and what validation made of it. Its length is the number of rows to write."""

    request: Request
    result: Accepted | Refused

    def __len__(self) -> int:
        return len(self.result.points) if isinstance(self.result, Accepted) else 0


class Flow:
    """Moves batches from the uplink to the store."""

    def __init__(
        self, uplink: Uplink, store: Store, metrics: Metrics, watch: Watch, pause_s: float = MISCONFIGURED_PAUSE_S
    ) -> None:
        self._uplink = uplink
        self._store = store
        self._metrics = metrics
        self._watch = watch
        self._pause_s = pause_s
        self._stop = asyncio.Event()
        self._fault = ""  # what a person was called for
        self._random = Random()  # noqa: S311 - jitter, no secret

    def stop(self) -> None:
        """Ends `run` after the write in hand, and waits of all kinds at once."""
        self._stop.set()

    async def run(self) -> None:
        """Until stopped, or until the uplink is closed."""
        while not self._stop.is_set() and (requests := await self._uplink.take()):
            groups = merge(_check(request) for request in requests)
            # decoding is drawn group by group, in a thread, so that neither memory nor the connection suffers
            while not self._stop.is_set() and (group := await in_thread(partial(_next, groups))):
                await self._serve(group)

    async def _serve(self, group: list[Checked]) -> None:
        await self._refuse([(one.request, one.result) for one in group if isinstance(one.result, Refused)])
        accepted = [(one.request, one.result) for one in group if isinstance(one.result, Accepted)]
        refused = await self._write([result for _, result in accepted])
        if refused is None:
            return
        if any(refused) and len(accepted) > 1:
            # rare: to know whose rows they are, write each batch alone; writing twice changes nothing
            refused = []
            for _, result in accepted:
                own = await self._write([result])
                if own is None:
                    return
                refused += own
        receipts = []
        for (request, result), rows in zip(accepted, refused, strict=True):
            every = [*result.refused, *rows]
            self._watch.seen(result.gateway, result.epoch, result.seq, request.oldest)
            self._metrics.batches.labels("stored").inc()
            self._metrics.rows_written.inc(len(result.points) - len(rows))
            if every:
                self._metrics.rows_refused.inc(len(every))
                log.error("rows refused", topic=request.topic, seq=result.seq, rows=len(every), reason=every[0].reason)
            named = every[:_REFUSALS_NAMED]
            unnamed = len(every) - len(named)
            receipt = Receipt(epoch=result.epoch, seq=result.seq, stored=True, refused=named, unnamed=unnamed)
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

    async def _write(self, batches: list[Accepted]) -> list[list[Refusal]] | None:
        """Writes until it is done: the refused rows, put to the first of the batches. None = stopped before."""
        points = reduce(add, (batch.points for batch in batches)) if batches else None
        if not points:
            return [[] for _ in batches]
        attempt = 0
        while True:
            attempt += 1
            try:
                refused = await in_thread(partial(self._store.write, points))
            except RetryLater as error:
                failure: RetryLater | StoreMisconfigured = error
                wait_s = error.after_s if error.after_s is not None else delay_s(attempt, self._random)
            except StoreMisconfigured as error:
                failure, wait_s = error, self._pause_s
            else:
                self._metrics.store_up.set(1)
                self._metrics.store_misconfigured.set(0)
                self._fault = ""
                return [refused, *([] for _ in batches[1:])]
            self._report(failure, len(points), wait_s)
            if await self._stopped_within(wait_s):
                return None

    def _report(self, failure: RetryLater | StoreMisconfigured, rows: int, wait_s: float) -> None:
        needs_person = isinstance(failure, StoreMisconfigured)
        self._metrics.store_up.set(0)
        self._metrics.store_misconfigured.set(needs_person)
        self._metrics.write_failures.inc()
        reason = str(failure)
        if not needs_person:
            log.warning("store not available; rows kept", rows=rows, reason=reason, again_in_s=round(wait_s, 1))
        elif reason != self._fault:  # a person is called once for each fault
            log.error("store refuses us; rows kept until a person puts it right", rows=rows, reason=reason)
        self._fault = reason if needs_person else ""

    async def _stopped_within(self, wait_s: float) -> bool:
        try:
            await asyncio.wait_for(self._stop.wait(), wait_s)
        except TimeoutError:
            return False
        return True


def _check(request: Request) -> Checked:
    return Checked(request, validate(request.topic, request.payload))


def _next(groups: Iterator[list[Checked]]) -> list[Checked]:
    return next(groups, [])


async def in_thread(work: Callable[[], T]) -> T:
    """Runs blocking work in a daemon thread: unlike a pool's, it cannot hold up the end of the process."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits
            future.set_exception(error)

    threading.Thread(target=run, name="store", daemon=True).start()
    return await asyncio.wrap_future(future)
