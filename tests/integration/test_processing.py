"""Journal ▶ pipeline ▶ outbox with a death at any step: in the end the same is sealed as in one undisturbed life."""

import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.adapters.journal_sqlite import SqliteJournal
from edge_agent.adapters.outbox_sqlite import SqliteOutbox
from edge_agent.adapters.system_clock import SystemClock
from edge_agent.config import EdgeConfig
from edge_agent.core.entries import Configured, Data, Tick
from edge_agent.core.readings import Readings
from edge_agent.heartbeat import Heartbeat
from edge_agent.metrics import Metrics
from edge_agent.processing import Processing
from models.contract.batch import decode_batch, floats, indices, ints
from tests.edge.test_pipeline import MODELS

SECOND = 1_000_000_000
T0 = 1_760_000_000 * SECOND
CONFIG = EdgeConfig.model_validate(
    {
        "site": "s",
        "gateway": "g",
        "state_dir": "state",
        "topics": [{"template": "{asset}/{channel}"}],
        "channels": [{"match": "*/*", "denoise": [{"filter": "hampel", "window": 3}]}],
        "assets": [{"match": "*", "lateness_s": 0.0, "idle_s": 2.0, "models": ["mean"]}],
        "outbox": {"batch_rows": 7},
    }
)
CONFIGURED = Configured(arrival_ns=T0, config=CONFIG.model_dump_json(), digests={"mean": "d1"})
Row = tuple[object, ...]


class DiedError(Exception):
    """As if by SIGKILL."""


class Mortal:
    """An outbox whose holder dies at the n-th call of `append` or `save_snapshot`, before or after the commit."""

    def __init__(self, outbox: SqliteOutbox, dies_at: int, *, after: bool) -> None:
        self._outbox, self._left, self._after = outbox, dies_at, after

    def __getattr__(self, name: str) -> object:
        return getattr(self._outbox, name)

    def append(self, build: Callable[[str, int], bytes], arrival_ns: int, through: int) -> int:
        return self._step(lambda: self._outbox.append(build, arrival_ns, through)) or 0

    def save_snapshot(self, through: int, content: bytes) -> None:
        with suppress(DiedError):  # the writer's thread has died; its holder has not noticed
            self._step(lambda: self._outbox.save_snapshot(through, content))

    def _step(self, work: Callable[[], int | None]) -> int | None:
        self._left -= 1
        if self._left == 0 and not self._after:
            raise DiedError
        done = work()
        if self._left == 0:
            raise DiedError
        return done


def data(start: int, count: int) -> Data:
    at = np.arange(start, start + count)
    readings = Readings(
        [("a1", "t"), ("a1", "p")],
        (at % 2).astype(np.int32),
        T0 + at * SECOND // 3,
        np.sin(at) * 20,
        np.zeros(count, np.uint8),
    )
    return Data.of(T0 + start * SECOND, readings, [])


def life(folder: Path, *, dies_at: int = -1, after: bool = False) -> None:
    """One life of the second half of the agent, to the journal's end or to its death."""
    journal = SqliteJournal(folder / "journal.db", 1 << 24, 1e9, 10)
    outbox = SqliteOutbox(folder / "outbox.db", 1 << 24)
    mortal = Mortal(outbox, dies_at, after=after)
    clock, metrics = SystemClock(), Metrics()
    heartbeat = Heartbeat(mortal, clock, metrics, lambda: True)  # type: ignore[arg-type]
    processing = Processing(journal, mortal, clock, metrics, MODELS.__getitem__, lambda: True, heartbeat)  # type: ignore[arg-type]
    ingested = threading.Event()
    ingested.set()
    try:
        processing.recover(CONFIG, CONFIGURED)
        often = patch.multiple("edge_agent.processing", _SNAPSHOT_READINGS=5, _SNAPSHOT_SHARE=0)
        with often, patch("edge_agent.heartbeat.EVERY_S", 0.0), suppress(DiedError):
            processing.run(threading.Event(), ingested, threading.Event(), lambda: None)
    finally:
        journal.close()
        outbox.close()


def rows(folder: Path) -> list[Row]:
    """All results that were sealed, sorted; a row that was sealed twice is there twice. Each batch has a heartbeat."""
    outbox, found = SqliteOutbox(folder / "outbox.db", 1 << 24), []
    for sealed in outbox.pending(0, 100_000):
        batch = decode_batch(sealed.payload)
        assert batch.gateway_time_ns
        r, i = batch.readings, batch.inferences
        columns = zip(indices(r.index), ints(r.time_ns), floats(r.value), floats(r.denoised), r.quality, strict=True)
        found += [("reading", *r.series[k], int(t), v.hex(), d.hex(), q) for k, t, v, d, q in columns]
        scores = zip(indices(i.index), ints(i.time_ns), floats(i.fields.get("anomaly_score", b"")), strict=True)
        found += [("inference", *i.series[k], int(t), s.hex()) for k, t, s in scores]
        found += [("alarm", alarm.id, alarm.time_ns, alarm.is_open) for alarm in batch.alarms]
    outbox.close()
    return sorted(found, key=str)


@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(1, 6), st.booleans()), max_size=4),
)
@settings(deadline=None, max_examples=25)
def test_a_death_at_any_step_changes_nothing_of_what_is_sealed(
    counts: list[int], deaths: list[tuple[int, bool]]
) -> None:
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as many:
        for folder in (Path(one), Path(many)):
            journal = SqliteJournal(folder / "journal.db", 1 << 24, 1e9, 10)
            journal.append([CONFIGURED])
            start = 0
            for number, count in enumerate(counts):
                journal.append([data(start, count)] if count else [])
                journal.append([Tick(arrival_ns=T0, listened_ns=number * SECOND)])
                start += count
            journal.append([Tick(arrival_ns=T0, listened_ns=1000 * SECOND)])
            journal.close()
        life(Path(one))
        for dies_at, after in deaths:
            life(Path(many), dies_at=dies_at, after=after)
        life(Path(many))
        expected = rows(Path(one))
        assert sum(row[0] == "reading" for row in expected) == sum(counts)
        assert rows(Path(many)) == expected
