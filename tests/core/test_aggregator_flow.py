"""What a batch is owed, with a store and an uplink made for the test."""

import asyncio
import math
from collections.abc import Callable, Sequence

import pytest

from aggregator.core.points import Points
from aggregator.flow import Flow
from aggregator.metrics import Metrics
from aggregator.ports import Request, RetryLater, StoreMisconfigured
from aggregator.watch import Watch
from models.contract.batch import Batch, Receipt, Refusal, encode_batch
from models.contract.topics import topic
from tests.batches import batch

TOPIC = topic("north", "gw1", "batch")


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
    """Raises what stands in its script, then stores; refuses rows that hold a text."""

    def __init__(
        self, *script: Exception, refuse: bytes | None = None, on_write: Callable[[], None] = lambda: None
    ) -> None:
        self._script = list(script)
        self._refuse = refuse
        self._on_write = on_write
        self.writes: list[list[bytes]] = []

    def write(self, rows: Points) -> list[Refusal]:
        self._on_write()
        if self._script:
            raise self._script.pop(0)
        self.writes.append(rows.lines())
        refuse = self._refuse
        return [
            Refusal(row=line.decode(), reason="no") for line in rows.lines() if refuse is not None and refuse in line
        ]

    def close(self) -> None:
        """Nothing to close."""


def run(uplink: OneTake, store: ScriptedStore, metrics: Metrics | None = None) -> None:
    async def flow() -> None:
        counted = metrics or Metrics()
        await Flow(uplink, store, counted, Watch(counted), pause_s=0).run()

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

    async def flow() -> None:
        await Flow(uplink, ScriptedStore(), metrics, watch).run()

    asyncio.run(flow())
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
    async def flow() -> list[Receipt]:
        loop = asyncio.get_running_loop()
        uplink = OneTake(batch([1.0]))

        def stop() -> None:
            loop.call_soon_threadsafe(machine.stop)

        store = ScriptedStore(RetryLater("away", 3600.0), on_write=stop)
        metrics = Metrics()
        machine = Flow(uplink, store, metrics, Watch(metrics))
        await machine.run()
        return uplink.receipts

    assert asyncio.run(flow()) == []


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
