"""The gateway's word on itself: when it is spoken, and what it says."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent import heartbeat
from edge_agent.adapters.journal_sqlite import SqliteJournal
from edge_agent.adapters.outbox_sqlite import SqliteOutbox
from edge_agent.adapters.system_clock import SystemClock
from edge_agent.config import EdgeConfig
from edge_agent.core.entries import Configured
from edge_agent.heartbeat import ALONE_S, EVERY_S, Heartbeat
from edge_agent.metrics import Metrics, total
from edge_agent.ports import NoRoomError, Waiting
from edge_agent.processing import Processing
from models.contract.batch import decode_batch
from models.contract.schema import HEARTBEAT
from tests.agents import WAIT_S
from tests.edge.test_pipeline import MODELS

SECOND = 1_000_000_000
CONFIG = EdgeConfig.model_validate(
    {
        "site": "s",
        "gateway": "g",
        "state_dir": "state",
        "topics": [{"template": "{asset}/{channel}"}],
        "channels": [{"match": "*/*"}],
        "assets": [{"match": "*"}],
    }
)


class Timer:
    """In place of `time` in the module under test."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def timer(monkeypatch: pytest.MonkeyPatch) -> Timer:
    timer = Timer()
    monkeypatch.setattr(heartbeat, "time", timer)
    return timer


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[SqliteOutbox]:
    box = SqliteOutbox(tmp_path / "outbox.db", 1 << 24)
    yield box
    box.close()


def test_it_comes_with_results_every_ten_seconds_and_alone_after_thirty(timer: Timer, outbox: SqliteOutbox) -> None:
    heart = Heartbeat(outbox, SystemClock(), Metrics(), lambda: None)
    assert heart.beat() is None, "a start alone is no reason: the retained state tells of it"
    assert heart.beat(oldest_ns=1) is not None
    heart.told()
    for step_s, alone in ((EVERY_S - 1, False), (ALONE_S - 1, True)):
        timer.now_s = 1000 + step_s
        assert heart.beat(None if alone else 1) is None
        timer.now_s += 1
        assert heart.beat(None if alone else 1) is not None


def test_it_says_all_that_the_schema_has_and_nothing_else(outbox: SqliteOutbox) -> None:
    beat = Heartbeat(outbox, SystemClock(), Metrics(), lambda: True).beat(1)
    assert beat is not None
    assert beat.fields.keys() == set(HEARTBEAT)
    without_models = Heartbeat(outbox, SystemClock(), Metrics(), lambda: None).beat(1)
    assert without_models is not None
    assert without_models.fields.keys() == set(HEARTBEAT) - {"provider_is_first"}


def test_it_says_what_waits_what_was_counted_and_how_old_the_oldest_is(outbox: SqliteOutbox) -> None:
    metrics, clock = Metrics(), SystemClock()
    metrics.readings.inc(7)
    metrics.deadletters.labels("json").inc(2)
    metrics.deadletters.labels("value").inc()
    metrics.deadletters.labels("refused").inc(5)
    metrics.marked.labels("uncertain: late").inc(4)
    metrics.marked.labels("bad: range").inc(9)
    for age_s in (1, 100, 10):
        outbox.append(lambda *_: b"x" * 50, clock.now_ns() - age_s * SECOND, 1)
    beat = Heartbeat(outbox, clock, metrics, lambda: False).beat(clock.now_ns())
    assert beat is not None
    told = beat.fields
    assert (told["readings_total"], told["deadletters_total"], told["refused_total"]) == (7, 3, 5)
    assert (told["late_total"], told["lost_total"], told["provider_is_first"]) == (4, 0, 0)
    assert (told["backlog_batches"], told["backlog_bytes"], told["clock_is_behind"]) == (3, 150, 0)
    assert 100 <= told["lag_s"] < 160


def test_an_outbox_that_cannot_be_read_costs_a_heartbeat_and_nothing_else(
    outbox: SqliteOutbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> Waiting:
        raise NoRoomError

    monkeypatch.setattr(outbox, "waiting", broken)
    assert Heartbeat(outbox, SystemClock(), Metrics(), lambda: None).beat(1) is None


def test_counters_with_labels_are_added_up() -> None:
    metrics = Metrics()
    assert total(metrics.deadletters) == total(metrics.deadletters, reason="json") == 0
    metrics.deadletters.labels("json").inc(2)
    metrics.deadletters.labels("value").inc(3)
    assert (total(metrics.deadletters), total(metrics.deadletters, reason="json")) == (5, 2)


@pytest.mark.parametrize("has_room", [True, False])
def test_an_idle_agent_seals_a_batch_for_it_alone_when_it_would_go_out_at_once(
    has_room: bool, tmp_path: Path, outbox: SqliteOutbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "ALONE_S", 0.0)
    monkeypatch.setattr(heartbeat, "EVERY_S", 0.0)
    journal = SqliteJournal(tmp_path / "journal.db", 1 << 24, 1e9, 10)
    configured = Configured(arrival_ns=1, config=CONFIG.model_dump_json(), digests={})
    journal.append([configured])
    clock, metrics = SystemClock(), Metrics()
    heart = Heartbeat(outbox, clock, metrics, lambda: None)
    asked = threading.Semaphore(0)  # each round of its loop asks for room, once or twice

    def room() -> bool:
        asked.release()
        return has_room

    processing = Processing(journal, outbox, clock, metrics, MODELS.__getitem__, room, heart)
    processing.recover(CONFIG, configured)
    failed = threading.Event()
    running = threading.Thread(
        target=processing.run, args=(threading.Event(), threading.Event(), failed, lambda: None), daemon=True
    )
    running.start()
    for _ in range(5):
        assert asked.acquire(timeout=WAIT_S)
    failed.set()
    running.join()
    journal.close()
    batches = [decode_batch(sealed.payload) for sealed in outbox.pending(0, 100)]
    assert bool(batches) is has_room
    assert all(one.gateway_time_ns and one.gateway_fields["lag_s"] == 0 for one in batches[:1])
    assert [one.seq for one in batches] == list(range(1, len(batches) + 1))
