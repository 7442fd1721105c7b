"""Damage inside the files of journal and outbox: the agent starts, goes on, and loses what is damaged, no more."""

import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.adapters.journal_sqlite import SqliteJournal
from edge_agent.adapters.outbox_sqlite import SqliteOutbox
from edge_agent.adapters.salvage import PAGE_BYTES
from edge_agent.core.entries import Data, JournalEntry, Tick
from models.contract.batch import decode_batch, encode_batch
from tests.batches import batch

MAX_BYTES = 16 * 1024 * 1024
ENTRIES = 400


def open_journal(path: Path) -> SqliteJournal:
    return SqliteJournal(path, MAX_BYTES, 1e9, 3)


def entry(number: int) -> JournalEntry:
    """Ticks and data of some kB, so that there are leaves with many rows and rows of many pages."""
    if number % 3:
        return Tick(arrival_ns=number)
    return Data(arrival_ns=number, channels=[], index=b"", time_ns=b"", value=bytes(number * 20), quality=b"")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed journal of many pages."""
    path = tmp_path_factory.mktemp("sound") / "journal.db"
    with closing(open_journal(path)) as journal:
        for number in range(1, ENTRIES + 1):
            journal.append([entry(number)])
    return path


def all_of(journal: SqliteJournal) -> dict[int, JournalEntry]:
    return dict(journal.read(0, 10_000))


def garble(path: Path, page: int, garbage: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(page * PAGE_BYTES)
        file.write(garbage)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(1, 1 << 30), pages=st.integers(1, 3), seed=st.integers(0, 3), is_noticed=st.booleans())
def test_whatever_pages_are_damaged_the_rest_is_saved_and_positions_go_on(
    sound: Path, tmp_path: Path, at: int, pages: int, seed: int, is_noticed: bool
) -> None:
    path = tmp_path / "journal.db"
    for old in tmp_path.iterdir():
        old.unlink()
    shutil.copyfile(sound, path)
    count = path.stat().st_size // PAGE_BYTES
    first = 1 + at % (count - pages)
    garbage = [bytes(PAGE_BYTES * pages), b"\xff" * PAGE_BYTES * pages, random.Random(at).randbytes(PAGE_BYTES * pages)]
    garble(path, first, garbage[seed % 3])
    if is_noticed:
        path.with_name("journal.db-wal").write_bytes(bytes(32))  # as a process leaves it that was killed
    with closing(open_journal(path)) as journal:
        found = all_of(journal)
        assert all(known == entry(seq) for seq, known in found.items())
        journal.skip_to(ENTRIES)  # what the outbox knows
        assert journal.append([Tick(arrival_ns=9)]) == ENTRIES + 1
        assert all_of(journal).keys() >= found.keys() | {ENTRIES + 1}
        journal.mend()
    with closing(open_journal(path)) as journal:
        assert all_of(journal).keys() == found.keys() | {ENTRIES + 1}


def leaf_pages(path: Path, table: str) -> list[int]:
    """The leaves of a table with rows that fit, told by the first byte of their pages."""
    data = path.read_bytes()
    with closing(sqlite3.connect(path)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    return [p for p in range(1, len(data) // PAGE_BYTES) if data[p * PAGE_BYTES] == 0x0D and p != root - 1]


def test_one_damaged_leaf_costs_its_own_rows_only(sound: Path, tmp_path: Path) -> None:
    path = Path(shutil.copyfile(sound, tmp_path / "journal.db"))
    pages = leaf_pages(path, "entry")
    garble(path, pages[len(pages) // 2], b"\xff" * PAGE_BYTES)
    with closing(open_journal(path)) as journal:
        found = all_of(journal)
        assert ENTRIES - 60 < len(found) < ENTRIES
        assert journal.last() == ENTRIES
    assert (tmp_path / "journal.db.damaged-1").exists()


@pytest.mark.parametrize("garbage", [bytes(PAGE_BYTES), b"\xff" * PAGE_BYTES, b"SQLite format 3\x00" + b"\xff" * 99])
def test_a_lost_first_page_costs_nothing(sound: Path, tmp_path: Path, garbage: bytes) -> None:
    path = Path(shutil.copyfile(sound, tmp_path / "journal.db"))
    garble(path, 0, garbage)
    with closing(open_journal(path)) as journal:
        assert len(all_of(journal)) == ENTRIES
        assert journal.append([Tick(arrival_ns=1)]) == ENTRIES + 1
    assert {file.name for file in tmp_path.iterdir()} == {"ballast", "journal.db", "journal.db.damaged-1"}


def test_damage_met_while_the_agent_runs_is_mended_in_place(sound: Path, tmp_path: Path) -> None:
    path = Path(shutil.copyfile(sound, tmp_path / "journal.db"))
    with closing(open_journal(path)) as journal:
        assert journal.append([Tick(arrival_ns=1)]) == ENTRIES + 1
        with closing(sqlite3.connect(path)) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for page in leaf_pages(path, "entry"):
            garble(path, page, b"\x00\x01" * (PAGE_BYTES // 2))
        assert journal.append([Tick(arrival_ns=2)]) == ENTRIES + 2
        assert ENTRIES + 2 in all_of(journal)


@pytest.mark.parametrize("is_trimmed", [True, False])
def test_a_first_page_that_is_lost_while_the_agent_runs_is_mended_by_whoever_meets_it(
    sound: Path, tmp_path: Path, is_trimmed: bool
) -> None:
    path = Path(shutil.copyfile(sound, tmp_path / "journal.db"))
    with closing(open_journal(path)) as journal:
        with closing(sqlite3.connect(path)) as other:
            other.execute("CREATE TABLE other_pages_than_those_in_memory(x)")
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        garble(path, 0, b"\xff" * PAGE_BYTES)
        if is_trimmed:
            journal.trim(0, 0)
        else:
            assert journal.append([Tick(arrival_ns=1)]) == ENTRIES + 1
        assert (tmp_path / "journal.db.damaged-1").exists()
        assert len(all_of(journal)) == ENTRIES + (not is_trimmed)


def test_a_counter_that_is_lost_goes_on_above_all_that_this_process_has_seen(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with closing(SqliteJournal(path, MAX_BYTES, 1, 3)) as journal:
        for _ in range(5):
            journal.append([Tick(arrival_ns=1)])
        journal.trim(5, 1 << 62)
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("DELETE FROM sqlite_sequence")
        journal.mend()
        assert journal.append([Tick(arrival_ns=1)]) == 6


@pytest.mark.parametrize("is_gone", [True, False])
def test_a_mending_that_a_crash_interrupts_is_finished_or_undone(sound: Path, tmp_path: Path, is_gone: bool) -> None:
    path = tmp_path / "journal.db"
    if is_gone:
        shutil.copyfile(sound, tmp_path / "journal.db.new")
        path.with_name("journal.db-wal").write_bytes(b"of the file that was set aside")
    else:
        with closing(open_journal(path)) as journal:
            journal.append([Tick(arrival_ns=1)])
        (tmp_path / "journal.db.new").write_bytes(b"half")
    with closing(open_journal(path)) as journal:
        assert journal.last() == (ENTRIES if is_gone else 1)
    assert not (tmp_path / "journal.db.new").exists()


def test_another_programs_file_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE entry(x)")
    with closing(open_journal(path)) as journal:
        assert journal.append([Tick(arrival_ns=1)]) == 1
    assert (tmp_path / "journal.db.damaged-1").exists()


@pytest.mark.parametrize("is_counter_lost", [True, False])
def test_a_table_without_a_readable_row_counts_as_lost_whole_or_by_an_unknown_number(
    sound: Path, tmp_path: Path, is_counter_lost: bool
) -> None:
    path = Path(shutil.copyfile(sound, tmp_path / "journal.db"))
    with closing(sqlite3.connect(path)) as connection:
        roots = dict(connection.execute("SELECT name, rootpage FROM sqlite_master").fetchall())
    with closing(open_journal(path)) as journal:
        garble(path, roots["entry"] - 1, b"\xff" * PAGE_BYTES)
        if is_counter_lost:
            garble(path, roots["sqlite_sequence"] - 1, b"\xff" * PAGE_BYTES)
        lost = journal.mend().lost
        assert lost == {"entry": None if is_counter_lost else ENTRIES}


@pytest.mark.parametrize("keeps_earlier", [True, False])
def test_mending_keeps_the_newest_damaged_file_and_all_when_a_person_asks(tmp_path: Path, keeps_earlier: bool) -> None:
    path = tmp_path / "journal.db"
    unsaved = tmp_path / "journal.db.damaged-1.unsaved"
    unsaved.write_bytes(b"rows for which there was no room")
    for _ in range(3):
        path.write_bytes(b"garbage" * 1000)
        with closing(SqliteJournal(path, MAX_BYTES, 1e9, 3, keeps_earlier=keeps_earlier)) as journal:
            lost = journal.mend().lost
            assert lost == dict.fromkeys(("deadletter_again", "deadletter", "entry", "deadletter_payload"))
    kept = {f"journal.db.damaged-{number}" for number in ((2, 3, 4) if keeps_earlier else (4,))}
    assert {file.name for file in tmp_path.glob("*.damaged-*")} == {unsaved.name} | kept


COMMITS = 12


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Journal and outbox as a killed process leaves them: commits of several sizes, all of them in the log."""
    folder = tmp_path_factory.mktemp("killed")
    with (
        closing(open_journal(folder / "journal.db")) as journal,
        closing(SqliteOutbox(folder / "outbox.db", MAX_BYTES)) as outbox,
    ):
        for number in range(1, COMMITS + 1):
            journal.append([entry(number * 30), Tick(arrival_ns=number)])
            outbox.append(lambda epoch, seq: f"{epoch} {seq}".encode() * 300 * seq, number, through=10 * number)
        yield folder


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1), garbage=st.binary(max_size=40))
def test_of_a_torn_or_garbled_log_what_was_committed_before_the_damage_survives(
    killed: Path, tmp_path: Path, where: float, garbage: bytes
) -> None:
    for old in tmp_path.iterdir():
        old.unlink()
    for name in ("journal.db", "outbox.db"):
        shutil.copyfile(killed / name, tmp_path / name)
        log = (killed / f"{name}-wal").read_bytes()
        cut = int(where * len(log))
        torn = log[:cut] + garbage + (log[cut + len(garbage) :] if garbage else b"")
        (tmp_path / f"{name}-wal").write_bytes(torn)
    with closing(open_journal(tmp_path / "journal.db")) as journal:
        found = all_of(journal)
        assert len(found) % 2 == 0  # whole commits
        assert list(found) == list(range(1, len(found) + 1))
        assert all(found[2 * n] == Tick(arrival_ns=n) for n in range(1, len(found) // 2 + 1))
        if where == 1:
            assert len(found) == 2 * COMMITS
    with closing(SqliteOutbox(tmp_path / "outbox.db", MAX_BYTES)) as outbox:
        waiting = outbox.pending(0, 99)
        assert [one.seq for one in waiting] == list(range(1, len(waiting) + 1))
        assert outbox.through == 10 * len(waiting)  # batch and position together, or neither


def filled_outbox(path: Path) -> SqliteOutbox:
    outbox = SqliteOutbox(path, MAX_BYTES)
    for number in range(1, 41):
        outbox.append(lambda _epoch, seq: encode_batch(batch([1.0] * 50, seq=seq)), number, through=number)
    outbox.save_snapshot(35, b"state" * 2000)
    return outbox


def test_a_damaged_outbox_keeps_its_life_its_batches_and_its_position(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    with closing(filled_outbox(path)) as outbox:
        epoch = outbox.epoch
        outbox.discard([1, 2, 40])
    pages = leaf_pages(path, "batch")
    garble(path, pages[len(pages) // 2], b"\xff" * PAGE_BYTES)
    with closing(SqliteOutbox(path, MAX_BYTES)) as outbox:
        waiting = [one.seq for one in outbox.pending(0, 99)]
        assert set(waiting) < set(range(3, 40))
        assert len(waiting) > 20
        assert (outbox.epoch, outbox.through, outbox.load_snapshot()) == (epoch, 40, (35, b"state" * 2000))
        assert outbox.append(lambda _e, seq: b"%d" % seq, 1, 41) == 41


@pytest.mark.parametrize("lost", ["meta", "sqlite_sequence"])
def test_an_outbox_that_lost_its_name_or_counter_begins_a_new_life_with_its_batches(tmp_path: Path, lost: str) -> None:
    path = tmp_path / "outbox.db"
    with closing(filled_outbox(path)) as outbox:
        epoch = outbox.epoch
        outbox.discard([1, 2, 40])
    with closing(sqlite3.connect(path)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (lost,)).fetchone()
    garble(path, root - 1, b"\xff" * PAGE_BYTES)
    with closing(SqliteOutbox(path, MAX_BYTES)) as outbox:
        assert outbox.epoch != epoch
        assert outbox.through == (35 if lost == "meta" else 40)
        waiting = outbox.pending(0, 99)
        assert [one.seq for one in waiting] == list(range(1, 38))
        sent = [decode_batch(one.payload) for one in waiting]
        assert [(one.epoch, one.seq) for one in sent] == [(outbox.epoch, seq) for seq in range(1, 38)]
        assert outbox.append(lambda _e, seq: b"%d" % seq, 1, 41) == 38


def test_a_running_outbox_keeps_name_and_numbers_whatever_is_lost(tmp_path: Path) -> None:
    with closing(filled_outbox(tmp_path / "outbox.db")) as outbox:
        epoch = outbox.epoch
        outbox.discard([40])
        with closing(sqlite3.connect(tmp_path / "outbox.db")) as other, other:
            other.execute("DELETE FROM meta")
            other.execute("DELETE FROM sqlite_sequence")
        outbox.mend()
        assert (outbox.epoch, outbox.through) == (epoch, 35)
        assert [one.seq for one in outbox.pending(0, 99)] == list(range(1, 40))
        assert outbox.append(lambda _e, seq: b"%d" % seq, 1, 41) == 41
