"""Recorded messages, and the journal that the live agent made of them, give the results of the live agent."""

import tempfile
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from functools import reduce
from pathlib import Path
from unittest.mock import patch

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.adapters.inference import ModelShelf
from edge_agent.adapters.journal_sqlite import SqliteJournal
from edge_agent.adapters.outbox_sqlite import SqliteOutbox
from edge_agent.adapters.system_clock import SystemClock
from edge_agent.config import EdgeConfig
from edge_agent.core.entries import Configured, Tick
from edge_agent.core.intake import Message
from edge_agent.core.pipeline import Pipeline
from edge_agent.ingest import Ingest
from edge_agent.metrics import Metrics
from edge_agent.processing import Processing
from edge_agent.replay import Replay
from models.bundle import Channel
from models.contract.batch import Batch, decode_batch
from models.contract.quality import Quality
from models.training.anomaly import pca
from models.training.anomaly.base import raw_of
from models.training.anomaly.calibrate import Budget, calibrate
from models.training.anomaly.export import write_anomaly_bundle
from tests.edge.test_pipeline import Rows, rows_of

MS = 1_000_000
SECOND = 1000 * MS
T0 = 1_760_000_000 * SECOND
STEP = 800 * MS  # no sum of these lies within a tick of `idle_s`
TICK = 250 * MS


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "two.bundle"
    frames = np.random.default_rng(0).normal(size=(400, 2))
    channels = [Channel(name="t"), Channel(name="p")]
    model = pca.fit([frames[:200]], pca.Params(window=2))
    limit = calibrate([raw_of(model, frames[200:])[0]], Budget(), sample_period_s=1.0)
    write_anomaly_bundle(path, model, limit, channels, name="two", version="1", sample_period_s=1.0, trained_on="noise")
    return path


def config_of(folder: Path, bundle: Path) -> EdgeConfig:
    return EdgeConfig.model_validate(
        {
            "site": "s",
            "gateway": "g",
            "state_dir": folder,
            "topics": [{"template": "f/{asset}"}],
            "channels": [{"match": "*/t", "range": [-50, 50], "max_rate_per_s": 30}, {"match": "*/*"}],
            "assets": [{"match": "*", "lateness_s": 0.5, "idle_s": 2.0, "models": [bundle]}],
            "inference": {"providers": ["cpu"], "allow_unsigned": True},
        }
    )


class ScriptedLink:
    """Hands out recorded messages as time passes, a tick at a step; then nothing for a while; then the agent stops."""

    is_connected = True

    def __init__(self, messages: Sequence[Message], stopping: threading.Event) -> None:
        self._messages, self._stopping, self.listened_ns = list(messages), stopping, 0
        self._end_ns = messages[-1].arrival_ns - T0 + 10 * SECOND

    def take(self, _timeout_s: float) -> list[Message]:
        self.listened_ns += TICK
        if self.listened_ns > self._end_ns:
            self._stopping.set()
        come = [message for message in self._messages if message.arrival_ns <= T0 + self.listened_ns]
        self._messages = self._messages[len(come) :]
        return come

    def acknowledge(self, messages: Sequence[Message]) -> None:
        pass

    def start(self, filters: Sequence[str], held: Sequence[str] = ()) -> None:
        pass

    def stop(self) -> None:
        pass

    def reconnect(self) -> None:
        pass


def live(config: EdgeConfig, messages: Sequence[Message], bundle: Path) -> list[Batch]:
    """What the two halves of the agent make of the messages; the journal stays in `config.state_dir`."""
    folder = config.state_dir
    with (
        closing(SqliteJournal(folder / "journal.db", 1 << 26, 1e9, 10)) as journal,
        closing(SqliteOutbox(folder / "outbox.db", 1 << 26)) as outbox,
    ):
        shelf = ModelShelf(folder / "models", config.inference)
        digests = {str(bundle): shelf.adopt(bundle).digest}
        configured = Configured(arrival_ns=T0, config=config.model_dump_json(), digests=digests)
        journal.append([configured])
        processing = Processing(journal, outbox, SystemClock(), Metrics(), shelf.find, lambda: True)
        processing.recover(config, configured)
        stopping = threading.Event()
        link = ScriptedLink(messages, stopping)
        with patch("edge_agent.ingest._TICK_S", 0.0):
            Ingest(config, link, journal, SystemClock(), Metrics(), threading.Event()).run(stopping)  # type: ignore[arg-type]
        processing.run(threading.Event(), stopping, threading.Event(), lambda: None)
        return [decode_batch(sealed.payload) for sealed in outbox.pending(0, 100_000)]


def rows(batches: Iterable[Batch]) -> Rows:
    nothing = Rows(Counter(), Counter(), Counter())
    return reduce(lambda a, b: Rows(*(x + y for x, y in zip(a, b, strict=True))), map(rows_of, batches), nothing)


@st.composite
def recordings(draw: st.DrawFn) -> list[Message]:
    now, messages = T0, list[Message]()
    for number in range(draw(st.integers(1, 25))):
        now += STEP * draw(st.sampled_from([0, 1, 1, 1, 2, 5]))
        time_ns = now - draw(st.sampled_from([0, 0, 0, 0, 1, 4])) * SECOND
        values = {"t": draw(st.sampled_from([0.1, -0.7, 1.0, 9.0, 40.0, 60.0])), "p": number % 5 / 4}
        asset = draw(st.sampled_from(["a", "a", "b", "c"]))
        message = Message(f"f/{asset}", orjson.dumps({"ts": time_ns // MS, "values": values}), now + number)
        if messages and draw(st.sampled_from([True, *[False] * 5])):  # the sender says something again
            message = draw(st.sampled_from(messages))._replace(arrival_ns=now + number)
        messages.append(message)
    return messages


@given(recordings())
@settings(deadline=None, max_examples=10)
def test_messages_and_journal_give_the_results_of_the_live_agent(bundle: Path, messages: list[Message]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        config = config_of(Path(folder), bundle)
        expected = rows(live(config, messages, bundle))
        assert rows(Replay(config).of_journal()) == expected
        assert rows(Replay(config).of_messages(messages)) == expected


def steady(times_s: Iterable[float], asset: str = "a") -> list[Message]:
    return [
        Message(
            f"f/{asset}",
            orjson.dumps({"ts": (T0 + int(s * SECOND)) // MS, "values": {"t": 9, "p": 9}}),
            T0 + int(s * SECOND),
        )
        for s in times_s
    ]


def test_an_asset_that_falls_silent_is_scored_to_its_last_reading_and_what_comes_late_is_marked(
    bundle: Path, tmp_path: Path
) -> None:
    """Without ticks its last frames would stay open for the reading that comes late."""
    others = steady(range(35), "b")
    silent = steady(np.arange(0, 10, 0.4))
    late = Message("f/a", silent[-1].payload.replace(b'"t":9', b'"t":3'), T0 + 30 * SECOND)
    late = late._replace(payload=orjson.dumps({"ts": (T0 + 9100 * MS) // MS, "values": {"t": 3.0}}))
    messages = sorted([*others, *silent, late], key=lambda message: message.arrival_ns)
    config = config_of(tmp_path, bundle)
    expected = rows(live(config, messages, bundle))
    assert [row[4] for row in expected.readings if row[:2] == (("a", "t"), T0 + 9100 * MS)] == [0x42]
    assert rows(Replay(config).of_messages(messages)) == expected


def test_a_tick_stands_only_before_messages_that_move_the_recorded_time(bundle: Path, tmp_path: Path) -> None:
    """A year of hourly data must not be a hundred million ticks; nor must late messages turn time back."""
    hours = [3600.0 * hour for hour in range(50)]
    messages = [*steady(hours), *steady(reversed(hours[:20])), *steady([3600.0 * 49 + 0.1 * i for i in range(10)])]
    ticks: list[int] = []
    run = Pipeline.run

    def watched(self: Pipeline, entries: Sequence[object], results: object) -> None:
        ticks.extend(entry.listened_ns for entry in entries if isinstance(entry, Tick))
        run(self, entries, results)  # type: ignore[arg-type]

    with patch.object(Pipeline, "run", watched):
        list(Replay(config_of(tmp_path, bundle)).of_messages(messages))
    moved = [int(s * SECOND) for s in [*hours, 3600 * 49 + 0.3, 3600 * 49 + 0.6, 3600 * 49 + 0.9]]
    assert ticks == moved


def test_a_journal_whose_first_configuration_was_trimmed_is_read_with_that_of_the_file(
    bundle: Path, tmp_path: Path
) -> None:
    config = config_of(tmp_path, bundle)
    live(config, steady(range(20)), bundle)
    with closing(SqliteJournal(tmp_path / "journal.db", 1 << 26, 1e9, 10)) as journal:
        entries = [stored.entry for stored in journal.newest()][::-1]
        whole = rows(Replay(config).of_journal())
        (tmp_path / "short").mkdir()
        with closing(SqliteJournal(tmp_path / "short" / "journal.db", 1 << 26, 1e9, 10)) as short:
            short.append(entries[1:])
    (tmp_path / "models").rename(tmp_path / "short" / "models")
    assert not isinstance(entries[1], Configured)
    done: list[tuple[int, int]] = []
    shorter = config.model_copy(update={"state_dir": tmp_path / "short"})
    found = rows(Replay(shorter).of_journal(lambda *progress: done.append(progress)))
    assert found == whole
    assert found.scores
    assert done[-1] == (len(entries) - 1, len(entries) - 1)
    assert done == sorted(done)


def test_a_journal_is_replayed_under_another_configuration_as_if_that_had_been_live(
    bundle: Path, tmp_path: Path
) -> None:
    messages = steady(range(20))
    written, other = (tmp_path / name for name in ("written", "other"))
    (written / "models").mkdir(parents=True)
    other.mkdir()
    config = config_of(written, bundle)
    rules = (config.channels[0].model_copy(update={"range": (-50.0, 5.0)}), *config.channels[1:])
    changed = config.model_copy(update={"channels": rules})
    before = rows(live(config, messages, bundle))
    expected = rows(live(changed.model_copy(update={"state_dir": other}), messages, bundle))
    assert {row[4] for row in expected.readings} > {row[4] for row in before.readings} == {Quality.GOOD}
    replay = Replay(changed)
    assert rows(replay.of_journal(use_config=True)) == expected
    assert replay.used.channels == changed.channels
    replay = Replay(changed)
    assert rows(replay.of_journal()) == before
    assert replay.used.channels == config.channels


def test_models_of_the_configuration_are_adopted_for_a_journal_that_was_written_without(
    bundle: Path, tmp_path: Path
) -> None:
    config = config_of(tmp_path, bundle)
    bare = config.model_copy(update={"assets": (config.assets[0].model_copy(update={"models": ()}),)})
    assert not rows(live(bare, steady(range(20)), bundle)).scores
    for kept in (tmp_path / "models").iterdir():
        kept.unlink()
    assert rows(Replay(config).of_journal(use_config=True)).scores
    assert not list((tmp_path / "models").iterdir())  # the agent's own are left alone
