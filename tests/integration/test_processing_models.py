"""What the second half of the agent does about its models: failures are journalled, alarms reach the outbox once."""

import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from edge_agent.adapters.journal_sqlite import SqliteJournal
from edge_agent.adapters.outbox_sqlite import SqliteOutbox
from edge_agent.adapters.system_clock import SystemClock
from edge_agent.core import state
from edge_agent.core.entries import Configured, Engine, JournalEntry, Refused, Withdrawn
from edge_agent.core.intake import DeadLetter
from edge_agent.metrics import Metrics
from edge_agent.ports import NoRoomError
from edge_agent.processing import Processing
from models.contract.batch import Alarm, decode_batch
from tests.edge.models import Failing, Mean
from tests.edge.test_pipeline import CONFIG, T0, data
from tests.edge.test_pipeline_models import configured, readings

BEGIN = configured({"m": "d"})
READINGS = [data(T0 + i, readings("a1", [1.0], i, "t")) for i in range(10)]


class ShortOfRoom(SqliteJournal):
    """Has no room for a model's failure, so often."""

    refused = 0

    def append(
        self, entries: Sequence[JournalEntry], deadletters: Sequence[DeadLetter] = (), done: Sequence[int] = ()
    ) -> int:
        if self.refused and any(isinstance(entry, Withdrawn) for entry in entries):
            self.refused -= 1
            msg = "the disk is full"
            raise NoRoomError(msg)
        return super().append(entries, deadletters, done)


class Life:
    """What a life of it left behind."""

    def __init__(
        self,
        folder: Path,
        find: Callable[[str], Any],
        begin: Configured,
        entries: list[JournalEntry],
        *,
        refused: int = 0,
        batch_rows: int = 5000,
    ) -> None:
        """The agent starts with `begin`, then takes the other entries, to the journal's end.

        refused: how often the journal has no room for a model's failure. batch_rows: of a step.
        """
        self.serving: list[frozenset[str]] = []
        with (
            closing(ShortOfRoom(folder / "journal.db", 1 << 24, 1e9, 10)) as journal,
            closing(SqliteOutbox(folder / "outbox.db", 1 << 24)) as outbox,
        ):
            journal.append([begin])
            journal.refused = refused
            processing = Processing(
                journal,
                outbox,
                SystemClock(),
                Metrics(),
                find,
                lambda: True,
                on_serving=lambda digests: self.serving.append(frozenset(digests)),
            )
            outbox_keys = CONFIG.outbox.model_copy(update={"batch_rows": batch_rows})
            processing.recover(CONFIG.model_copy(update={"outbox": outbox_keys}), begin)
            if entries:
                journal.append(entries)
            ingested = threading.Event()
            ingested.set()
            processing.run(threading.Event(), ingested, threading.Event(), lambda: None)
            self.journal = [stored.entry for stored in journal.read(0, 1000)]
            batches = [decode_batch(sealed.payload) for sealed in outbox.pending(0, 1000)]
        self.alarms: list[Alarm] = [alarm for batch in batches for alarm in batch.alarms]
        self.scores = sum(len(batch.inferences.time_ns) // 8 for batch in batches)
        self.readings = sum(len(batch.readings.time_ns) // 8 for batch in batches)


def test_a_failure_is_journalled_once_rings_once_and_is_over_with_the_next_start(tmp_path: Path) -> None:
    models = {"d": Failing("weak", 1, ("t",), left=0)}
    life = Life(tmp_path, models.__getitem__, BEGIN, [*READINGS])
    (withdrawn,) = [entry for entry in life.journal if isinstance(entry, Withdrawn)]
    assert (withdrawn.digest, withdrawn.reason) == ("d", "the device is gone: restart the agent")
    assert [(alarm.code, alarm.is_open) for alarm in life.alarms] == [("model-out-of-service/weak", True)]
    assert life.scores == 0
    models["d"].left = 1000
    after = Life(tmp_path, models.__getitem__, BEGIN, [data(T0 + 50, readings("a1", [1.0] * 5, 10, "t"))])
    assert [alarm.is_open for alarm in after.alarms] == [True, False]
    assert after.scores > 0


def test_a_failure_that_the_journal_had_no_room_for_is_not_told_of_the_model_that_took_its_place(
    tmp_path: Path,
) -> None:
    found: list[Failing] = []

    def find(_digest: str) -> Failing:
        found.append(Failing("weak", 1, ("t",), left=1000 if len(found) >= 2 else 0))
        return found[-1]

    more = [data(T0 + i, readings("a1", [1.0], i, "t")) for i in range(10, 20)]
    life = Life(tmp_path, find, BEGIN, [*READINGS, BEGIN, *more], refused=9, batch_rows=1)
    assert len(found) == 3
    assert life.scores > 0
    assert not life.alarms
    assert not [entry for entry in life.journal if isinstance(entry, Withdrawn)]


def test_after_a_snapshot_of_an_earlier_version_and_models_that_are_gone_no_reading_is_lost_or_sealed_twice(
    tmp_path: Path,
) -> None:
    Life(tmp_path, {"d": Mean("mean", 1, ("t",))}.__getitem__, BEGIN, [*READINGS])
    with closing(SqliteOutbox(tmp_path / "outbox.db", 1 << 24)) as outbox:
        through, _ = outbox.load_snapshot() or (0, b"")
        outbox.save_snapshot(through, state.dump({"version": 2, "watches": [{"digest": "d", "states": {}}]}))
    models = {"d2": Mean("mean", 1, ("t",), version="2")}
    more = [data(T0 + i, readings("a1", [1.0], i, "t")) for i in range(10, 20)]
    after = Life(tmp_path, models.get, configured({"m": "d2"}), [*more])
    assert after.readings == 20
    assert after.scores > 10
    assert after.serving[-1] == {"d2"}


def test_the_alarm_about_a_file_of_a_first_start_is_not_lost_and_not_repeated(tmp_path: Path) -> None:
    out = configured({"m": ""}, refused={"m": Refused("mean", "was cut")})
    assert [(a.code, a.is_open) for a in Life(tmp_path, lambda _digest: None, out, []).alarms] == [
        ("model-out-of-service/mean", True)
    ]
    again = Life(tmp_path, lambda _digest: None, out, [*READINGS])
    assert (len(again.alarms), again.readings, again.scores) == (1, len(READINGS), 0)
    mended = Life(tmp_path, {"d": Mean("mean", 1, ("t",))}.get, BEGIN, [])
    assert [alarm.is_open for alarm in mended.alarms] == [True, False]


def test_the_alarm_about_a_provider_of_a_first_start_is_not_lost_and_not_repeated(tmp_path: Path) -> None:
    models = {"d": Mean("mean", 1, ("t",))}
    slow = configured({"m": "d"}, engines={"d": Engine("cpu", "no driver: install one")})
    assert [(alarm.code, alarm.is_open) for alarm in Life(tmp_path, models.__getitem__, slow, []).alarms] == [
        ("inference-provider", True)
    ]
    again = Life(tmp_path, models.__getitem__, slow, [*READINGS])
    assert len(again.alarms) == 1
    assert again.serving == [frozenset({"d"})]
    assert [alarm.is_open for alarm in Life(tmp_path, models.__getitem__, BEGIN, []).alarms] == [True, False]
