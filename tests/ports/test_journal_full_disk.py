"""A full disk, for real: nothing confirmed is lost, what frees room works, the agent starts, and all goes on after.

The scenario runs in a process of its own, on a small tmpfs in its own mount namespace. Where none may be mounted, a
limit on the size of files makes writes fail instead (short ones among them), and only what that can show is asked.
"""

import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from edge_agent.adapters.ballast import BALLAST_BYTES
from edge_agent.adapters.database import Database
from edge_agent.adapters.journal_sqlite import SqliteJournal
from edge_agent.adapters.outbox_sqlite import SqliteOutbox
from edge_agent.adapters.salvage import PAGE_BYTES
from edge_agent.core.entries import Configured, Data
from edge_agent.ports import NoRoomError

MIB = 1024 * 1024
BOUND = 64 * MIB  # more than the disk has


def entry(size: int) -> Data:
    return Data(arrival_ns=1, channels=[], index=b"", time_ns=b"", value=b"x" * size, quality=b"")


def fill(file: Path) -> None:
    """Take all room that the disk has."""
    with file.open("ab", buffering=0) as out:
        for size in (MIB, 4096, 1):
            try:
                while out.write(b"f" * size) == size:
                    pass
            except OSError:
                continue


def refused(call: Callable[[], object]) -> bool:
    try:
        call()
    except NoRoomError:
        return True
    return False


def open_both(folder: Path) -> tuple[SqliteJournal, SqliteOutbox]:
    journal = SqliteJournal(folder / "journal.db", BOUND, 1e9, 3)
    return journal, SqliteOutbox(folder / "outbox.db", BOUND)


def scenario(folder: Path) -> None:
    filler, ballast = folder / "filler", folder / "ballast"
    journal, outbox = open_both(folder)
    assert ballast.stat().st_size == BALLAST_BYTES
    for number in range(1, 61):
        journal.append([entry(30_000)])
        outbox.append(lambda _e, _s: os.urandom(30_000), 1, through=number)

    fill(filler)  # another program's file
    assert refused(lambda: [journal.append([entry(MIB)]) for _ in range(9)])
    assert refused(lambda: [outbox.append(lambda _e, _s: os.urandom(MIB), 1, 99) for _ in range(9)])
    through = outbox.through
    for seq in range(1, 31):
        outbox.discard([seq])
    for seq in range(31, 51):
        outbox.set_aside(seq, "refused")
    for position in range(1, 41):
        journal.trim(position, now_ns=0)  # only because there is no room: not by age
        refused(lambda: journal.append([entry(MIB)]))
    assert journal.first() == 41
    waiting = [one.seq for one in outbox.pending(0, 999)]
    assert waiting[:10] == list(range(51, 61))
    journal.close()
    outbox.close()

    fill(filler)
    assert refused(lambda: open_both(folder))  # the ballast is used up
    filler.unlink()
    for part in open_both(folder):
        part.close()
    fill(filler)
    journal, outbox = open_both(folder)
    assert [one.seq for one in outbox.pending(0, 999)] == waiting
    assert outbox.through == through
    start = journal.append([Configured(arrival_ns=1, config="x" * 5000, digests={})])
    outbox.discard(waiting[:1])

    filler.unlink()
    journal.trim(0, 0)
    assert ballast.stat().st_size == BALLAST_BYTES
    assert journal.append([entry(MIB)]) == start + 1
    outbox.append(lambda _e, _s: os.urandom(MIB), 1, 100)
    journal.close()
    outbox.close()

    # Filled by the agent's own files: they live on what comes free in them, for ever if need be.
    journal, outbox = open_both(folder)
    while not refused(lambda: journal.append([entry(MIB)])):
        pass
    for _ in range(30):
        journal.trim(journal.last(), 0)
        journal.append([entry(100_000)])
    journal.close()
    outbox.close()


def limited(folder: Path) -> None:
    journal, outbox = open_both(folder)
    for number in range(1, 21):
        journal.append([entry(30_000)])
        outbox.append(lambda _e, _s: os.urandom(30_000), 1, through=number)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for odd in (1_000_001, 1_010_007):  # writes end in the middle of a page
        resource.setrlimit(resource.RLIMIT_FSIZE, (odd, hard))
        assert refused(lambda: [journal.append([entry(100_000)]) for _ in range(20)])
        assert refused(lambda: [outbox.append(lambda _e, _s: os.urandom(100_000), 1, 99) for _ in range(20)])
        last, through = journal.last(), outbox.through
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        assert journal.append([entry(100_000)]) == last + 1
        assert len(journal.read(0, 999)) == last + 1
        assert outbox.through == through
        outbox.append(lambda _e, _s: b"", 1, through)
    journal.close()
    outbox.close()
    with closing(SqliteJournal(folder / "journal.db", BOUND, 1e9, 3)) as again:
        assert len(again.read(0, 999)) == again.last()


@contextmanager
def files_up_to(size_bytes: int) -> Iterator[None]:
    """Writes beyond fail, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def one_mib_left(folder: Path) -> Iterator[None]:
    """Another program's file takes the rest of the disk."""
    fill(folder / "filler")
    os.truncate(folder / "filler", (folder / "filler").stat().st_size - MIB)
    yield
    (folder / "filler").unlink()


def filled(path: Path, entries: int) -> SqliteJournal:
    journal = SqliteJournal(path, BOUND, 1e9, 3)
    for _ in range(entries // 10):
        journal.append([entry(20_000)] * 10)
    return journal


def garble(path: Path, page: int) -> None:
    with path.open("r+b") as file:
        file.seek(page * PAGE_BYTES)
        file.write(b"\xff" * PAGE_BYTES)


def count(journal: SqliteJournal) -> int:
    return len(journal.read(0, 10_000))


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()} - {"ballast", "filler"}


def mending_with_the_ballast(folder: Path) -> None:
    path = folder / "journal.db"
    filled(path, 300).close()
    garble(path, 100)
    with one_mib_left(folder), closing(SqliteJournal(path, BOUND, 1e9, 3)) as journal:
        assert 290 <= count(journal) < 300
        assert not (folder / "ballast").exists()
        assert names(folder) >= {"journal.db", "journal.db.damaged-1"}


def mending_a_part(folder: Path) -> None:
    """Of 600 entries there is room for some."""
    path = folder / "journal.db"
    filled(path, 600).close()
    garble(path, 100)
    disk = os.statvfs(folder)
    little = one_mib_left(folder) if disk.f_blocks * disk.f_frsize < BOUND else files_up_to(4 * MIB)
    with little, capture_logs() as logs:
        journal = SqliteJournal(path, BOUND, 1e9, 3)
        kept = count(journal)
        (mended,) = [log for log in logs if "saved" in log]
        assert 50 < kept == mended["saved"]["entry"] < 550
        assert kept + mended["lost_at_most"]["entry"] >= 600
        assert journal.last() == 600
        # It lives on: what is used makes room.
        journal.trim(600, 2**62)
        assert journal.append([entry(1000)]) == 601
    journal.mend()  # again, and with room
    assert (count(journal), journal.last()) == (1, 601)
    journal.close()
    assert names(folder) == {"journal.db", "journal.db.damaged-1.unsaved", "journal.db.damaged-2"}


def lost_first_page(folder: Path) -> None:
    """There is no room for the copy that mending needs: nothing is lost, and it is done later."""
    path = folder / "journal.db"
    journal = filled(path, 600)
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE other_pages_than_those_in_memory(x)")
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    garble(path, 0)
    with files_up_to(4 * MIB):
        for _ in range(2):
            assert refused(lambda: journal.append([entry(1)]))
            assert refused(lambda: journal.read(0))
            assert refused(lambda: journal.trim(0, 0))
            assert refused(lambda: SqliteJournal(path, BOUND, 1e9, 3))
        assert names(folder) <= {"journal.db", "journal.db-wal", "journal.db-shm"}
    assert journal.append([entry(1)]) == 601
    assert count(journal) == 601
    journal.close()


def reading(folder: Path) -> None:
    with closing(SqliteOutbox(folder / "outbox.db", BOUND)) as outbox:
        for _ in range(3):
            outbox.append(lambda _e, _s: b"payload", 1, 1)
        with closing(sqlite3.connect(folder / "outbox.db")) as other, other:
            other.execute("UPDATE batch SET payload = x'00' WHERE seq = 1")
        with files_up_to(1000):
            for _ in range(2):
                assert [one.seq for one in outbox.pending(0, 1)] == [2]
            assert (outbox.backlog(), outbox.lost()["batch"]) == (3, 0)
        assert [one.seq for one in outbox.pending(0, 9)] == [2, 3]
        assert (outbox.backlog(), outbox.lost()["batch"]) == (2, 1)
    with closing(Database(folder / "any.db", "CREATE TABLE IF NOT EXISTS t(x)", BOUND, read_only=False)) as database:
        numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100000)"
        sort = f"{numbers} SELECT randomblob(99) FROM n ORDER BY 1"  # noqa: S608 - ours
        with files_up_to(1000):
            assert refused(lambda: database.rows(sort))  # it needs a file of its own
        assert len(database.rows(sort)) == 100_000


def in_a_process(part: str, folder: Path, *before: str) -> subprocess.CompletedProcess[str]:
    command = [*before, sys.executable, __file__, part, str(folder)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(command, capture_output=True, check=False, text=True, env=environment)


def on_a_small_disk(part: str, instead: str, folder: Path, size_mib: int) -> subprocess.CompletedProcess[str]:
    mount = f'mount -t tmpfs -o size={size_mib}m tmpfs "{folder}"'
    space = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    can_mount = subprocess.run([*space, "sh", "-c", mount], capture_output=True, check=False).returncode == 0
    if can_mount:
        return in_a_process(part, folder, *space, "sh", "-c", f'{mount} && exec "$@"', "sh")
    return in_a_process(instead, folder)


@pytest.mark.parametrize("size_mib", [24, 40])
def test_on_a_full_disk_nothing_is_lost_and_what_frees_room_goes_on(tmp_path: Path, size_mib: int) -> None:
    done = on_a_small_disk("scenario", "limited", tmp_path, size_mib)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_damaged_file_is_saved_whole_when_the_ballast_makes_the_room_for_it(tmp_path: Path) -> None:
    done = on_a_small_disk("mending_with_the_ballast", "mending_a_part", tmp_path, 24)
    assert done.returncode == 0, done.stdout + done.stderr


def test_of_a_damaged_file_for_which_there_is_no_room_a_part_is_saved_counted_and_the_rest_kept(tmp_path: Path) -> None:
    for done in (
        on_a_small_disk("mending_a_part", "mending_a_part", tmp_path, 32),
        in_a_process("mending_a_part", tmp_path / "limited"),
    ):
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_lost_first_page_without_room_for_a_copy_loses_nothing_and_is_mended_later(tmp_path: Path) -> None:
    done = in_a_process("lost_first_page", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_without_room_a_damaged_batch_is_left_out_and_what_cannot_be_read_says_so(tmp_path: Path) -> None:
    done = in_a_process("reading", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_write_that_is_cut_short_loses_nothing_that_was_confirmed(tmp_path: Path) -> None:
    done = in_a_process("limited", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]))
