"""What a batch is owed, with a store and an uplink made for the test."""

import asyncio
import math
import threading
from collections.abc import Callable, Sequence

import pytest

from aggregator.config import Validation
from aggregator.core.points import Points
from aggregator.core.validate import Validator
from aggregator.flow import Flow
from aggregator.metrics import Metrics
from aggregator.ports import Request, RetryLater, StoreMisconfigured, Undecided, Write
from aggregator.watch import Watch
from aggregator.writing import Writing
from models.contract.batch import Batch, Receipt, Refusal, encode_batch
from models.contract.topics import topic
from tests.batches import T0, batch

TOPIC = topic("north", "gw1", "batch")
NOW_NS = T0 + 10**18


class OneTake:
    """An uplink with something waiting once, and then closed."""

    def __init__(self, *batches: Batch | bytes, oldest: int | None = None) -> None:
        payloads = [one if isinstance(one, bytes) else encode_batch(one) for one in batches]
        self._waiting = [Request(TOPIC, payload, b"%d" % i, None, oldest) for i, payload in enumerate(payloads)]
        self.receipts: list[Receipt] = []

    async def take(self) -> list[Request]:
        taken, self._waiting = self._waiting, []
        return taken

    async def answer(self, receipts: Sequence[tuple[Request, Receipt]]) -> None:
        self.receipts += [receipt for _, receipt in receipts]


class ScriptedStore:
    """Raises what stands in its script, then stores; refuses rows that hold a text, or has no word on them."""

    def __init__(
        self,
        *script: Exception,
        refuse: bytes | None = None,
        doubt: bytes | None = None,
        on_write: Callable[[], object] = lambda: None,
    ) -> None:
        self._script = list(script)
        self._refuse, self._doubt = refuse, doubt
        self._on_write = on_write
        self.writes: list[list[bytes]] = []

    def prepare(self, rows: Points) -> Write:
        return lambda: self.write(rows)

    def write(self, rows: Points) -> list[Refusal]:
        self._on_write()
        if self._script:
            raise self._script.pop(0)
        if self._doubt is not None and any(self._doubt in line for line in rows.lines()):
            raise Undecided("no word on these rows")
        self.writes.append(rows.lines())
        refuse = self._refuse
        return [
            Refusal(row=line.decode(), reason="no") for line in rows.lines() if refuse is not None and refuse in line
        ]

    def close(self) -> None:
        """Nothing to close."""


def run(
    uplink: OneTake,
    store: ScriptedStore,
    metrics: Metrics | None = None,
    watch: Watch | None = None,
    connections: int = 1,
    stopping: Callable[[Callable[[], object]], None] = lambda _: None,
) -> None:
    """Until all is written, or until the stop that `stopping` is handed was called (by whichever thread)."""

    async def flow() -> None:
        counted, stop, loop = metrics or Metrics(), asyncio.Event(), asyncio.get_running_loop()
        stopping(lambda: loop.call_soon_threadsafe(stop.set))
        writing = Writing(counted, stop, pause_s=0)
        seen = watch or Watch(counted)
        validator = Validator(Validation())
        await Flow(uplink, store, validator, writing, counted, seen, stop, connections, lambda: NOW_NS).run()

    asyncio.run(flow())


def test_what_waits_is_written_together_and_answered_one_by_one() -> None:
    uplink, store = OneTake(batch([1.0], seq=1), batch([2.0], seq=2)), ScriptedStore()
    run(uplink, store)
    assert len(store.writes) == 1
    assert [(receipt.seq, receipt.stored) for receipt in uplink.receipts] == [(1, True), (2, True)]


def test_a_refused_row_stands_in_the_receipt_of_its_own_batch() -> None:
    uplink = OneTake(batch([1.0], seq=1), batch([77.0], seq=2), batch([3.0], seq=3))
    run(uplink, ScriptedStore(refuse=b"value=77.0"))
    assert [(receipt.seq, len(receipt.refused)) for receipt in uplink.receipts] == [(1, 0), (2, 1), (3, 0)]


def test_a_receipt_names_a_hundred_refused_rows_and_counts_the_others() -> None:
    uplink = OneTake(batch([math.nan] * 130, seq=1))
    run(uplink, ScriptedStore())
    (receipt,) = uplink.receipts
    assert (receipt.stored, len(receipt.refused), receipt.unnamed) == (True, 100, 30)


def test_a_batch_counts_for_the_map_of_gaps_only_when_it_is_valid_and_its_senders_own() -> None:
    foreign = batch([1.0], seq=9)
    foreign.gateway = "gw2"
    uplink, metrics = OneTake(foreign, batch([1.0], seq=3), oldest=1), Metrics()
    watch = Watch(metrics)
    run(uplink, ScriptedStore(), metrics, watch)
    watch.report()
    (samples,) = [metric.samples for metric in metrics.missing_batches.collect()]
    assert [(sample.labels["gateway"], sample.value) for sample in samples] == [("gw1", 2)]


@pytest.mark.parametrize("failure", [RetryLater("away", 0.0), StoreMisconfigured("no rights")])
def test_a_store_that_fails_is_asked_again_until_it_stores(failure: Exception) -> None:
    uplink, store, metrics = OneTake(batch([1.0])), ScriptedStore(failure, failure, failure), Metrics()
    run(uplink, store, metrics)
    assert [receipt.stored for receipt in uplink.receipts] == [True]
    assert metrics.registry.get_sample_value("tocsin_aggregator_write_failures_total") == 3
    assert metrics.registry.get_sample_value("tocsin_aggregator_store_up") == 1


def test_a_stop_while_the_store_is_away_leaves_the_batch_to_its_gateway() -> None:
    stops: list[Callable[[], object]] = []
    uplink = OneTake(batch([1.0]))
    store = ScriptedStore(RetryLater("away", 3600.0), on_write=lambda: stops[0]())  # noqa: PLW0108 - filled later
    run(uplink, store, stopping=stops.append)
    assert uplink.receipts == []


def test_writes_run_at_the_same_time_and_each_batch_has_its_receipt() -> None:
    together = threading.Barrier(3, timeout=20)  # broken, unless three writes are under way at once
    large = [batch([float(i) for i in range(4000)], seq=seq) for seq in range(1, 4)]
    uplink = OneTake(*large)
    run(uplink, ScriptedStore(on_write=together.wait), connections=3)
    assert sorted(receipt.seq for receipt in uplink.receipts) == [1, 2, 3]


def test_a_batch_of_which_nothing_is_known_stays_with_its_gateway_and_its_neighbours_are_stored() -> None:
    uplink, metrics = OneTake(batch([1.0], seq=1), batch([77.0], seq=2), batch([3.0], seq=3)), Metrics()
    run(uplink, ScriptedStore(doubt=b"value=77.0"), metrics)
    assert [(receipt.seq, receipt.stored) for receipt in uplink.receipts] == [(1, True), (3, True)]
    assert metrics.registry.get_sample_value("tocsin_aggregator_batches_total", {"outcome": "held"}) == 1


def test_a_batch_of_a_newer_contract_gets_no_answer() -> None:
    newer = batch([1.0], seq=1)
    newer.version = 99
    uplink, metrics = OneTake(newer, batch([3.0], seq=3)), Metrics()
    run(uplink, ScriptedStore(), metrics)
    assert [(receipt.seq, receipt.stored) for receipt in uplink.receipts] == [(3, True)]
    assert metrics.registry.get_sample_value("tocsin_aggregator_batches_total", {"outcome": "held"}) == 1


def test_rubbish_is_refused_and_its_neighbours_are_stored() -> None:
    uplink, metrics = OneTake(b"rubbish", batch([1.0], seq=5)), Metrics()
    run(uplink, ScriptedStore(), metrics)
    assert [(receipt.seq, receipt.stored) for receipt in uplink.receipts] == [(0, False), (5, True)]
    assert metrics.registry.get_sample_value("tocsin_aggregator_batches_total", {"outcome": "refused"}) == 1


def test_an_empty_batch_gets_its_receipt_without_a_write() -> None:
    uplink, store = OneTake(Batch(site="north", gateway="gw1", epoch="e", seq=1)), ScriptedStore()
    run(uplink, store)
    assert store.writes == []
    assert [receipt.stored for receipt in uplink.receipts] == [True]
