"""What the journal is told of time: silence of the sensors, and no other."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from edge_agent import ingest as module
from edge_agent.adapters.journal_sqlite import SqliteJournal
from edge_agent.adapters.system_clock import SystemClock
from edge_agent.config import EdgeConfig
from edge_agent.core.entries import Configured, Data, JournalEntry, Tick
from edge_agent.core.intake import DeadLetter, Message
from edge_agent.core.pipeline import Pipeline
from edge_agent.core.results import Results
from edge_agent.ingest import Ingest
from edge_agent.metrics import Metrics
from edge_agent.ports import NoRoomError
from models.contract.quality import Quality

SECOND = 1_000_000_000
CONFIG = EdgeConfig.model_validate(
    {
        "site": "s",
        "gateway": "g",
        "state_dir": "state",
        "topics": [{"template": "f/{asset}/{channel}"}],
        "channels": [{"match": "*/*"}],
        "assets": [{"match": "*", "period_s": 10.0, "idle_s": 5.0}],
    }
)


class ScriptedLink:
    """Hands out groups of messages, each at a time of the listening clock; then the agent is to stop."""

    is_connected = True

    def __init__(self, script: Sequence[tuple[float, int]], stopping: threading.Event) -> None:
        """`script`: (listening clock in s, how many readings)."""
        self._script, self._stopping = list(script), stopping
        self.listened_ns, self._sent = 0, 0
        self.acknowledged = 0

    def take(self, _timeout_s: float) -> list[Message]:
        if not self._script:
            self._stopping.set()
            return []
        at_s, count = self._script.pop(0)
        self.listened_ns = int(at_s * SECOND)
        numbers = range(self._sent, self._sent + count)
        self._sent += count
        return [Message("f/m/t", b'{"ts": %d, "value": 1}' % (1_700_000_000_000 + 500 * i), i) for i in numbers]

    def keep_alive(self) -> None:
        self.listened_ns += 20 * SECOND

    def acknowledge(self, messages: Sequence[Message]) -> None:
        self.acknowledged += len(messages)

    def start(self, filters: Sequence[str], held: Sequence[str] = ()) -> None:
        assert (list(filters), list(held)) == (["f/+/+"], [])

    def subscribe(self, filters: Sequence[str]) -> None:
        raise NotImplementedError

    def publish(self, topic: str, payload: bytes) -> bool:
        raise NotImplementedError

    def reconnect(self) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        pass


class Crowded(SqliteJournal):
    """Has no room at the second commit, once."""

    commits = 0

    def append(
        self, entries: Sequence[JournalEntry], deadletters: Sequence[DeadLetter] = (), done: Sequence[int] = ()
    ) -> int:
        self.commits += 1
        if self.commits == 2:
            raise NoRoomError
        return super().append(entries, deadletters, done)


def journalled(journal: SqliteJournal) -> Iterator[JournalEntry]:
    after = 0
    while some := journal.read(after):
        yield from (stored.entry for stored in some)
        after = some[-1].seq


def qualities(journal: SqliteJournal) -> list[int]:
    pipeline, results = Pipeline(lambda _: pytest.fail("no model")), Results()
    configured = Configured(arrival_ns=0, config=CONFIG.model_dump_json(), digests={})
    pipeline.run([configured, *journalled(journal)], results)
    return list(results.batch("s", "g", "e", 1).readings.quality)


def run(journal: SqliteJournal, script: Sequence[tuple[float, int]]) -> ScriptedLink:
    stopping = threading.Event()
    link = ScriptedLink(script, stopping)
    Ingest(CONFIG, link, journal, SystemClock(), Metrics(), threading.Event()).run(stopping)
    return link


@pytest.fixture(autouse=True)
def _ticks_at_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TICK_S", 0.0)


def test_readings_that_come_after_a_long_silence_are_not_late(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "journal.db", 1 << 24, 1e9, 10)
    quiet = [(float(s), 0) for s in range(1, 60)]
    link = run(journal, [(0.0, 20), *quiet, *((60.0 + s, 1) for s in range(20))])
    ticks = [entry for entry in journalled(journal) if isinstance(entry, Tick)]
    assert len(ticks) < 40  # nobody waits for anything after six seconds: no need to journal the time
    marks = qualities(journal)
    assert len(marks) == link.acknowledged == 40
    # Two readings a second of event time: the silence closed the open cell of ten seconds, and no later one.
    assert marks[:20] == [Quality.GOOD] * 20
    assert set(np.flatnonzero(np.array(marks) == Quality.UNCERTAIN_LATE).tolist()) <= set(range(20, 21))
    journal.close()


def test_waiting_for_room_is_no_silence_of_the_sensors(tmp_path: Path) -> None:
    journal = Crowded(tmp_path / "journal.db", 1 << 24, 1e9, 10)
    link = run(journal, [(0.0, 3), (1.0, 3), (21.5, 3), (22.0, 3)])
    assert journal.commits > 4
    assert link.acknowledged == 12
    assert qualities(journal) == [Quality.GOOD] * 12
    journal.close()


def test_a_flood_is_cut_into_entries_of_moderate_size(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "journal.db", 1 << 24, 1e9, 10)
    run(journal, [(0.0, 10_000)])
    sizes = [len(entry.quality) for entry in journalled(journal) if isinstance(entry, Data)]
    assert sum(sizes) == 10_000
    assert len(sizes) > 3
    journal.close()
