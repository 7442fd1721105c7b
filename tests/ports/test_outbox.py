"""The outbox on SQLite: a batch is there until its receipt, and is committed with the position it reaches."""

import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from edge_agent.adapters.outbox_sqlite import SqliteOutbox
from edge_agent.ports import NoRoomError, Sealed
from models.contract.batch import decode_batch, encode_batch
from tests.batches import T0, alarm, batch

KIB = 1024
MAX_BYTES = 1024 * KIB
Open = Callable[[], SqliteOutbox]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "outbox.db"


@pytest.fixture
def reopen(path: Path) -> Iterator[Open]:
    """Opens the outbox; the one opened before is closed first."""
    opened: list[SqliteOutbox] = []

    def open_again() -> SqliteOutbox:
        if opened:
            opened.pop().close()
        opened.append(SqliteOutbox(path, MAX_BYTES))
        return opened[0]

    yield open_again
    for outbox in opened:
        outbox.close()


def build(epoch: str, seq: int) -> bytes:
    return f"{epoch}/{seq}".encode()


def large(_epoch: str, _seq: int) -> bytes:
    return b"x" * 60 * KIB


def seqs(outbox: SqliteOutbox) -> list[int]:
    return [sealed.seq for sealed in outbox.pending(0, 1000)]


def fill(outbox: SqliteOutbox) -> int:
    """Appends until there is no room, each batch with its own number as position; returns the last number."""
    kept = 0
    for _ in range(MAX_BYTES // (60 * KIB) + 1):
        try:
            kept = outbox.append(large, 1, through=kept + 1)
        except NoRoomError:
            return kept
    pytest.fail("the outbox took more than its bound")


def test_batches_are_numbered_from_1_and_wait_in_order(reopen: Open) -> None:
    outbox = reopen()
    assert [outbox.append(build, 10 * i, through=i) for i in (1, 2, 3)] == [1, 2, 3]
    assert outbox.pending(0, 9) == [Sealed(i, 10 * i, build(outbox.epoch, i)) for i in (1, 2, 3)]
    assert [sealed.seq for sealed in outbox.pending(1, 1)] == [2]
    assert (outbox.through, outbox.backlog()) == (3, 3)


def test_a_batch_goes_on_its_receipt_and_no_other(reopen: Open) -> None:
    outbox = reopen()
    for _ in range(3):
        outbox.append(build, 1, 1)
    outbox.discard([2])
    outbox.discard([2, 77])
    outbox.discard([])
    assert seqs(outbox) == [1, 3]
    assert outbox.backlog() == 2


def test_reopening_keeps_epoch_batches_position_and_snapshot(reopen: Open) -> None:
    outbox = reopen()
    epoch = outbox.epoch
    outbox.append(build, 5, through=42)
    outbox.save_snapshot(40, b"state")
    outbox = reopen()
    assert (outbox.epoch, outbox.through, outbox.load_snapshot()) == (epoch, 42, (40, b"state"))
    assert outbox.pending(0, 9) == [Sealed(1, 5, build(epoch, 1))]


def test_the_numbers_have_no_gap_when_all_batches_were_discarded_before_a_restart(reopen: Open) -> None:
    outbox = reopen()
    outbox.append(build, 1, 1)
    outbox.append(build, 1, 2)
    outbox.discard([1, 2])
    assert reopen().append(build, 1, 3) == 3


def test_a_new_file_has_a_new_epoch(tmp_path: Path) -> None:
    epochs = set()
    for name in "abc":
        with closing(SqliteOutbox(tmp_path / name, MAX_BYTES)) as outbox:
            epochs.add(outbox.epoch)
    assert len(epochs) == 3
    assert all(epochs)


def test_a_fresh_outbox_is_empty(reopen: Open) -> None:
    outbox = reopen()
    assert (outbox.through, outbox.backlog(), outbox.pending(0, 9), outbox.load_snapshot()) == (0, 0, [], None)


def test_a_batch_that_cannot_be_kept_moves_no_position_and_takes_no_number(reopen: Open) -> None:
    outbox = reopen()
    kept = fill(outbox)
    assert (outbox.through, seqs(outbox)) == (kept, list(range(1, kept + 1)))
    outbox.discard([1, 2])
    assert outbox.append(large, 1, through=99) == kept + 1
    assert outbox.through == 99


def test_a_snapshot_for_which_there_is_no_room_leaves_the_last_one(reopen: Open) -> None:
    outbox = reopen()
    outbox.save_snapshot(1, b"old")
    fill(outbox)
    with pytest.raises(NoRoomError):
        outbox.save_snapshot(2, b"n" * 300 * KIB)
    assert outbox.load_snapshot() == (1, b"old")


def test_a_full_outbox_keeps_room_for_a_snapshot(reopen: Open) -> None:
    outbox = reopen()
    fill(outbox)
    outbox.save_snapshot(2, b"n" * 60 * KIB)
    assert outbox.load_snapshot() == (2, b"n" * 60 * KIB)


def test_a_snapshot_is_replaced_whole(reopen: Open) -> None:
    outbox = reopen()
    outbox.save_snapshot(1, b"a" * 100_000)
    outbox.save_snapshot(2, b"b")
    assert outbox.load_snapshot() == (2, b"b")


def test_a_damaged_snapshot_is_none(reopen: Open, path: Path) -> None:
    reopen().save_snapshot(1, b"state")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE snapshot SET content = x'00'")
    assert reopen().load_snapshot() is None


def test_a_damaged_batch_is_given_up_and_the_others_are_sent(reopen: Open, path: Path) -> None:
    outbox = reopen()
    for _ in range(3):
        outbox.append(build, 1, 1)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE batch SET payload = x'00' WHERE seq = 2")
    assert seqs(outbox) == [1, 3]
    assert outbox.backlog() == 2


def test_damaged_batches_do_not_hide_those_behind_them(reopen: Open, path: Path) -> None:
    outbox = reopen()
    for _ in range(4):
        outbox.append(build, 1, 1)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE batch SET payload = x'00' WHERE seq < 4")
    assert [one.seq for one in outbox.pending(0, 1)] == [4]


def test_a_garbage_file_is_set_aside_and_the_new_one_is_another_life(reopen: Open, path: Path) -> None:
    outbox = reopen()
    epoch = outbox.epoch
    outbox.append(build, 1, 1)
    outbox.close()
    path.write_bytes(b"garbage" * 1000)
    outbox = reopen()
    assert outbox.epoch != epoch
    assert (outbox.through, seqs(outbox)) == (0, [])
    assert path.with_name("outbox.db.damaged-1").read_bytes() == b"garbage" * 1000


def sealed(seq: int) -> bytes:
    """A batch that compresses badly: 300 readings, an inference, an alarm now and then."""
    values = np.random.default_rng(seq).random(300).tolist()
    return encode_batch(batch(values, seq=seq, alarms=[alarm(T0 + seq, is_open=True)] if seq % 10 == 0 else []))


def append_until_refused(outbox: SqliteOutbox, made: Callable[[str, int], bytes], first: int, last: int) -> None:
    for number in range(first, last):
        try:
            outbox.append(made, 1, through=number)
        except NoRoomError:
            return
    pytest.fail("the outbox took more than its bound")


def test_a_full_outbox_thins_what_waits_and_counts_it(reopen: Open, path: Path) -> None:
    outbox = reopen()
    for number in range(1, 501):
        assert outbox.append(lambda _epoch, seq: sealed(seq), 1, through=number) == number
    assert (outbox.backlog(), outbox.through) == (500, 500)
    waiting = [decode_batch(one.payload) for one in outbox.pending(0, 2000)]
    assert [one.seq for one in waiting] == list(range(1, 501))  # no stretch is cut out
    counts = [len(one.readings.index) // 4 for one in waiting]
    assert 0 < min(counts) * 3 < 300
    assert max(counts[:-60]) <= 2 * min(counts) + 1  # all of the past is about as dense
    assert counts[-1] == 300  # the newest is whole
    assert outbox.lost() == {"reading": 300 * 500 - sum(counts), "feature": 0, "inference": 0, "alarm": 0, "batch": 0}
    assert sum(len(one.alarms) for one in waiting) == 50
    lost = outbox.lost()
    outbox.close()
    assert path.stat().st_size <= MAX_BYTES
    assert reopen().lost() == lost


def test_readings_go_first_then_predictions_and_when_only_alarms_are_left_it_waits(reopen: Open) -> None:
    def only_alarms(_epoch: str, seq: int) -> bytes:
        names = [random.Random(1000 * seq + i).randbytes(20).hex() for i in range(200)]
        return encode_batch(batch([], seq=seq, alarms=[alarm(T0, is_open=True, name=name) for name in names]))

    outbox = reopen()
    for number in range(1, 101):
        outbox.append(lambda _epoch, seq: sealed(seq), 1, through=number)
    append_until_refused(outbox, only_alarms, 101, 400)
    waiting = [decode_batch(one.payload) for one in outbox.pending(0, 2000)]
    assert outbox.through == len(waiting) > 200
    assert sum(len(one.readings.index) + len(one.inferences.index) for one in waiting) == 0
    assert sum(len(one.alarms) for one in waiting) == 10 + 200 * (len(waiting) - 100)
    assert outbox.lost() == {
        "reading": 100 * 300, "feature": 0, "inference": len(waiting), "alarm": 0, "batch": 0
    }  # fmt: skip


def test_with_wait_nothing_is_thinned(tmp_path: Path) -> None:
    with closing(SqliteOutbox(tmp_path / "o.db", MAX_BYTES, "wait")) as outbox:
        append_until_refused(outbox, lambda _epoch, seq: sealed(seq), 1, 1000)
        assert [one.payload for one in outbox.pending(0, 2000)] == [sealed(n) for n in range(1, outbox.backlog() + 1)]
        assert not any(outbox.lost().values())


def test_batches_given_up_as_damaged_are_counted(reopen: Open, path: Path) -> None:
    outbox = reopen()
    outbox.append(build, 1, 1)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE batch SET payload = x'00'")
    assert outbox.pending(0, 9) == []
    assert outbox.lost()["batch"] == 1


def test_refused_batches_are_bounded_in_number_and_bytes(reopen: Open, path: Path) -> None:
    outbox = reopen()
    for sizes in ([20 * KIB] * 10, [10] * 150):
        for size in sizes:
            outbox.set_aside(outbox.append(lambda _e, _s, n=size: b"x" * n, 1, 1), "why")  # type: ignore[misc]
        with closing(sqlite3.connect(path)) as other:
            kept, size = other.execute("SELECT count(*), sum(length(payload)) FROM refused").fetchone()
        assert size <= MAX_BYTES // 20
        assert kept in {2, 100}


class OutboxMachine(RuleBasedStateMachine):
    """Against a dictionary, with reopening in between."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.outbox = self.open()
        self.epoch = self.outbox.epoch
        self.model: dict[int, Sealed] = {}
        self.newest = self.through = 0
        self.snapshot: tuple[int, bytes] | None = None

    def open(self) -> SqliteOutbox:
        return SqliteOutbox(Path(self.folder.name) / "o.db", MAX_BYTES)

    @rule(content=st.binary(max_size=20), arrival_ns=st.integers(0, 2**62), through=st.integers(0, 2**62))
    def append(self, content: bytes, arrival_ns: int, through: int) -> None:
        self.newest += 1
        asked = []

        def made(epoch: str, seq: int) -> bytes:
            asked.append((epoch, seq))
            return content

        assert self.outbox.append(made, arrival_ns, through) == self.newest
        assert asked == [(self.epoch, self.newest)]
        self.model[self.newest] = Sealed(self.newest, arrival_ns, content)
        self.through = through

    @rule(seqs=st.lists(st.integers(0, 20), max_size=5))
    def discard(self, seqs: list[int]) -> None:
        self.outbox.discard(seqs)
        for seq in seqs:
            self.model.pop(seq, None)

    @rule(through=st.integers(0, 99), content=st.binary(max_size=20))
    def save_snapshot(self, through: int, content: bytes) -> None:
        self.outbox.save_snapshot(through, content)
        self.snapshot = (through, content)

    @rule()
    def reopen(self) -> None:
        self.outbox.close()
        self.outbox = self.open()

    @rule()
    def mend(self) -> None:
        self.outbox.mend()

    @rule(is_half_done=st.booleans())
    def crash(self, is_half_done: bool) -> None:
        """The process dies here, or while a batch is being sealed: a copy of the bytes on disk goes on."""
        folder, copies = Path(self.folder.name), tempfile.TemporaryDirectory()

        def copied(_epoch: str, _seq: int) -> bytes:
            for file in folder.glob("o.db*"):
                if file.suffix != ".db-shm":
                    shutil.copyfile(file, Path(copies.name) / file.name)
            return b"never confirmed"

        if is_half_done:
            self.outbox.append(copied, 1, 1)
        else:
            copied("", 0)
        self.outbox.close()
        self.folder.cleanup()
        self.folder = copies
        self.outbox = self.open()

    @rule(after=st.integers(0, 20), limit=st.integers(1, 5))
    def read_a_part(self, after: int, limit: int) -> None:
        expected = [sealed for seq, sealed in sorted(self.model.items()) if seq > after][:limit]
        assert self.outbox.pending(after, limit) == expected

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        assert {sealed.seq: sealed for sealed in self.outbox.pending(0, 1000)} == self.model
        assert self.outbox.backlog() == len(self.model)
        assert self.outbox.epoch == self.epoch
        assert self.outbox.through == self.through
        assert self.outbox.load_snapshot() == self.snapshot

    def teardown(self) -> None:
        self.outbox.close()
        self.folder.cleanup()


def test_any_sequence_of_calls_leaves_what_a_dictionary_would_hold() -> None:
    run_state_machine_as_test(OutboxMachine, settings=settings(deadline=None, max_examples=20, stateful_step_count=20))
