"""The journal on SQLite: what it confirmed it keeps, in order, and damage stops nothing."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edge_agent.adapters.journal_sqlite import SqliteJournal
from edge_agent.core.entries import Configured, Data, Tick
from edge_agent.core.errors import StartError
from edge_agent.core.intake import DeadLetter
from edge_agent.ports import NoRoomError

KIB = 1024
MAX_BYTES = 1024 * KIB
FOREVER_S = 1e9
Open = Callable[[], SqliteJournal]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.db"


@pytest.fixture
def reopen(path: Path) -> Iterator[Open]:
    """Opens the journal; the one opened before is closed first."""
    opened: list[SqliteJournal] = []

    def open_again() -> SqliteJournal:
        if opened:
            opened.pop().close()
        opened.append(SqliteJournal(path, MAX_BYTES, FOREVER_S, max_deadletters=3))
        return opened[0]

    yield open_again
    for journal in opened:
        journal.close()


def entry(size: int) -> Data:
    return Data(arrival_ns=1, channels=[], index=b"", time_ns=b"", value=b"x" * size, quality=b"")


def letter(number: int) -> DeadLetter:
    return DeadLetter(number, f"f/{number}", "json", "no JSON", 3, b"\x00\xff{")


def letters(journal: SqliteJournal) -> list[DeadLetter]:
    """Newest first."""
    return [found for _, found in journal.letters()]


def damage(path: Path, seqs: list[int]) -> None:
    """Change one byte of each blob behind the journal's back."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for seq in seqs:
            (content,) = connection.execute("SELECT content FROM entry WHERE seq = ?", (seq,)).fetchone()
            changed = content[:-1] + bytes([content[-1] ^ 1])
            connection.execute("UPDATE entry SET content = ? WHERE seq = ?", (changed, seq))


def ticks(journal: SqliteJournal, after: int = 0, limit: int = 64) -> list[tuple[int, int]]:
    return [(stored.seq, stored.entry.arrival_ns) for stored in journal.read(after, limit)]


def fill(journal: SqliteJournal) -> int:
    """Appends until there is no room; returns the last position."""
    for _ in range(MAX_BYTES // (60 * KIB) + 1):
        try:
            journal.append([entry(60 * KIB)], [letter(1)])
        except NoRoomError:
            break
    else:
        pytest.fail("the journal took more than its bound")
    return journal.last()


def test_entries_come_back_in_order_from_any_position(reopen: Open) -> None:
    journal = reopen()
    assert [journal.append([Tick(arrival_ns=10 * i)]) for i in (1, 2, 3)] == [1, 2, 3]
    assert ticks(journal) == [(1, 10), (2, 20), (3, 30)]
    assert ticks(journal, after=1, limit=1) == [(2, 20)]
    assert ticks(journal, after=3) == []
    assert (journal.first(), journal.last()) == (1, 3)


def test_an_empty_journal_has_no_positions(reopen: Open) -> None:
    journal = reopen()
    assert (journal.first(), journal.last(), journal.read(0), letters(journal)) == (0, 0, [], [])


def test_reopening_keeps_entries_and_dead_letters(reopen: Open) -> None:
    reopen().append([entry(5000)], [letter(1), letter(2)])
    journal = reopen()
    assert [stored.entry for stored in journal.read(0)] == [entry(5000)]
    assert letters(journal) == [letter(2), letter(1)]
    assert journal.append([Tick(arrival_ns=2)]) == 2


def test_what_was_confirmed_is_in_the_file_before_the_journal_is_closed(reopen: Open, path: Path) -> None:
    reopen().append([Tick(arrival_ns=7)], [letter(1)])
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT seq, arrival_ns FROM entry").fetchall() == [(1, 7)]
        assert other.execute("SELECT count(*) FROM deadletter").fetchone() == (1,)


def test_dead_letters_alone_take_no_position_and_only_the_newest_are_kept(reopen: Open) -> None:
    journal = reopen()
    journal.append([Tick(arrival_ns=1)])
    for number in range(5):
        assert journal.append([], [letter(number)]) == 1
    assert [found.topic for found in letters(journal)] == ["f/4", "f/3", "f/2"]
    assert [found.topic for _, found in journal.letters(oldest_first=True)] == ["f/2", "f/3", "f/4"]


def test_payloads_of_dead_letters_never_fill_the_journal(reopen: Open, path: Path) -> None:
    journal = reopen()
    for number in range(200):
        journal.append([], [letter(number)._replace(payload=b"x" * 60 * KIB)])
    assert [found.payload is not None for _, found in journal.letters(payloads=True)] == [True, True, False]
    journal.close()
    assert path.stat().st_size <= MAX_BYTES


def test_only_used_entries_that_are_too_old_are_let_go(tmp_path: Path) -> None:
    with closing(SqliteJournal(tmp_path / "j.db", MAX_BYTES, 10, 3)) as journal:
        for second in range(1, 6):
            journal.append([Tick(arrival_ns=second * 10**9)])
        journal.trim(used_through=2, now_ns=14 * 10**9)
        assert ticks(journal) == [(3, 3 * 10**9), (4, 4 * 10**9), (5, 5 * 10**9)]
        journal.trim(used_through=5, now_ns=14 * 10**9)
        assert [seq for seq, _ in ticks(journal)] == [4, 5]


def test_a_position_is_never_used_again(tmp_path: Path) -> None:
    file = tmp_path / "j.db"
    with closing(SqliteJournal(file, MAX_BYTES, 1, 3)) as journal:
        for _ in range(3):
            journal.append([Tick(arrival_ns=1)])
        journal.trim(used_through=3, now_ns=10**18)
        assert journal.read(0) == []
    with closing(SqliteJournal(file, MAX_BYTES, 1, 3)) as journal:
        assert (journal.first(), journal.last()) == (0, 3)
        assert journal.append([Tick(arrival_ns=1)]) == 4


def test_a_full_journal_refuses_without_harm_and_goes_on_after_a_trim(reopen: Open) -> None:
    journal = reopen()
    kept = fill(journal)
    assert [stored.seq for stored in journal.read(0)] == list(range(1, kept + 1))
    with pytest.raises(NoRoomError):
        journal.append([entry(60 * KIB)])
    journal.trim(used_through=0, now_ns=2)
    assert journal.first() == 1
    journal.trim(used_through=kept - 1, now_ns=2)
    assert journal.append([entry(60 * KIB)]) == kept + 1
    assert [stored.seq for stored in reopen().read(0)] == [kept, kept + 1]


def test_trimming_says_whether_there_is_more_and_ends_when_all_that_is_too_old_is_gone(tmp_path: Path) -> None:
    with closing(SqliteJournal(tmp_path / "j.db", MAX_BYTES, 1, 3)) as journal:
        journal.append([Tick(arrival_ns=1)] * 2000)
        while journal.trim(used_through=1500, now_ns=10**18):
            assert journal.first() > 1
        assert journal.first() == 1501
        assert not journal.trim(used_through=1500, now_ns=10**18)


def test_trimming_goes_on_until_the_size_is_inside_its_bound_and_no_further(reopen: Open) -> None:
    journal = reopen()
    for _ in range(40):
        journal.append([entry(100)] * 100)
    while journal.trim(used_through=4000, now_ns=2):
        pass
    kept = 4000 - journal.first() + 1
    assert 2500 < kept < 4000 - 256
    assert not journal.is_short_of_room


def test_a_journal_is_short_of_room_until_a_trim_could_make_some(reopen: Open) -> None:
    journal = reopen()
    found = [journal.is_short_of_room]
    kept = fill(journal)
    found.append(journal.is_short_of_room)
    assert not journal.trim(used_through=0, now_ns=2)
    found.append(journal.is_short_of_room)
    journal.trim(used_through=kept, now_ns=2)
    found.append(journal.is_short_of_room)
    journal.append([entry(60 * KIB)] * 13)
    found.append(journal.is_short_of_room)
    journal.trim(used_through=0, now_ns=2)  # above the bound, and nothing is used
    found.append(journal.is_short_of_room)
    assert found == [False, True, True, False, False, True]


def test_the_bound_holds_from_the_first_commit_on(reopen: Open, path: Path) -> None:
    journal = reopen()
    with pytest.raises(NoRoomError):
        journal.append([Configured(arrival_ns=1, config="x" * 2 * MAX_BYTES, digests={})])
    journal.close()
    assert path.stat().st_size <= MAX_BYTES
    assert reopen().last() == 0


def test_a_full_journal_still_takes_the_configuration_with_which_an_agent_starts(reopen: Open) -> None:
    kept = fill(reopen())
    journal = reopen()
    assert journal.append([Configured(arrival_ns=2, config="x" * 60 * KIB, digests={})]) == kept + 1
    with pytest.raises(NoRoomError):
        journal.append([entry(60 * KIB)])
    assert [stored.seq for stored in journal.read(kept)] == [kept + 1]


def test_the_file_stays_inside_its_bound(reopen: Open, path: Path) -> None:
    journal = reopen()
    for _ in range(60):
        journal.trim(journal.append([entry(100 * KIB)]), now_ns=2)
    assert path.stat().st_size <= MAX_BYTES


def test_a_damaged_entry_is_left_out_and_counted_once(reopen: Open, path: Path) -> None:
    journal = reopen()
    for i in range(1, 5):
        journal.append([Tick(arrival_ns=i)])
    damage(path, [2, 4])
    assert ticks(journal) == [(1, 1), (3, 3)]
    assert ticks(journal) == [(1, 1), (3, 3)]
    assert journal.damaged == 2


def test_a_row_of_damaged_entries_longer_than_a_read_does_not_hide_those_behind_it(reopen: Open, path: Path) -> None:
    journal = reopen()
    for i in range(1, 9):
        journal.append([Tick(arrival_ns=i)])
    damage(path, [2, 3, 4, 5, 6, 7])
    assert ticks(journal, after=1, limit=2) == [(8, 8)]
    assert journal.damaged == 6


def test_a_sound_blob_that_is_no_entry_is_left_out(reopen: Open, path: Path) -> None:
    journal = reopen()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO entry(arrival_ns, crc, content) VALUES (1, 0, x'')")  # CRC-32 of nothing is 0
    journal.append([Tick(arrival_ns=2)])
    assert ticks(journal) == [(2, 2)]


@pytest.mark.parametrize("garbage", [b"no database at all" * 500, b"SQLite format 3\x00" + b"\xff" * 9000])
def test_a_garbage_file_is_set_aside_and_a_new_one_takes_its_place(reopen: Open, path: Path, garbage: bytes) -> None:
    path.parent.mkdir(parents=True)
    for number in (1, 2):
        path.write_bytes(garbage)
        journal = reopen()
        assert journal.append([Tick(arrival_ns=1)]) == 1
        assert path.with_name(f"journal.db.damaged-{number}").read_bytes() == garbage
        journal.close()
    assert ticks(reopen()) == [(1, 1)]


def test_a_file_that_cannot_be_opened_is_not_taken_for_a_damaged_one(path: Path) -> None:
    path.mkdir(parents=True)  # not a file that can be opened at all
    with pytest.raises(StartError, match=r"journal\.db: cannot be opened"):
        SqliteJournal(path, MAX_BYTES, FOREVER_S, 3)
    assert [file.name for file in path.parent.iterdir()] == ["journal.db"]


def test_the_newest_come_first_and_a_hole_of_millions_costs_nothing(reopen: Open) -> None:
    journal = reopen()
    assert list(journal.newest()) == []
    for i in range(1, 101):
        journal.append([Tick(arrival_ns=i)])
    journal.skip_to(1 << 40)
    journal.append([Tick(arrival_ns=101)])
    assert [stored.entry.arrival_ns for stored in journal.newest()] == list(range(101, 0, -1))
    assert next(journal.newest()).seq == (1 << 40) + 1


def test_a_damaged_entry_is_missing_among_the_newest(reopen: Open, path: Path) -> None:
    journal = reopen()
    for i in range(1, 4):
        journal.append([Tick(arrival_ns=i)])
    damage(path, [2])
    assert [stored.seq for stored in journal.newest()] == [3, 1]


def test_positions_that_the_outbox_counts_as_used_are_skipped_and_none_is_taken_back(reopen: Open) -> None:
    journal = reopen()
    journal.skip_to(7)
    journal.skip_to(3)
    assert journal.last() == 7
    assert journal.append([Tick(arrival_ns=1)]) == 8
    assert reopen().last() == 8


def test_one_commit_takes_several_entries_or_none(reopen: Open) -> None:
    journal = reopen()
    assert journal.append([Tick(arrival_ns=1), entry(10), Tick(arrival_ns=2)]) == 3
    with pytest.raises(NoRoomError):
        journal.append([Tick(arrival_ns=3), entry(2 * MAX_BYTES)])
    assert journal.last() == 3


def test_the_room_kept_back_lies_inside_the_bound(reopen: Open, path: Path) -> None:
    journal = reopen()
    fill(journal)
    journal.append([Configured(arrival_ns=2, config="x" * 60 * KIB, digests={})])
    journal.close()
    assert path.stat().st_size <= MAX_BYTES


def test_what_is_let_go_is_not_written_a_second_time(reopen: Open, path: Path) -> None:
    journal = reopen()
    for _ in range(4):
        journal.append([entry(200 * KIB)])
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    journal.trim(4, now_ns=1 << 62)
    assert journal.first() == 0
    assert path.with_name("journal.db-wal").stat().st_size < 100 * KIB


def test_a_file_that_is_read_only_opened_is_left_as_it_is(reopen: Open, path: Path) -> None:
    reopen().append([Tick(arrival_ns=1)])
    with closing(SqliteJournal(path, MAX_BYTES, FOREVER_S, 3, read_only=True)) as looker:
        assert ticks(looker) == [(1, 1)]
        with pytest.raises(NoRoomError):
            looker.append([Tick(arrival_ns=2)])
    assert reopen().append([Tick(arrival_ns=2)]) == 2
