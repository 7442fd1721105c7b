"""A full disk, for real: nothing confirmed is lost, what frees room works, the agent starts, and all goes on after.

The scenario runs in a process of its own, on a small tmpfs in its own mount namespace. Where none may be mounted, a
limit on the size of files makes writes fail instead (short ones among them), and only what that can show is asked.
"""

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from edge_agent.adapters.ballast import BALLAST_BYTES
from edge_agent.adapters.journal_sqlite import SqliteJournal
from edge_agent.adapters.outbox_sqlite import SqliteOutbox
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


def in_a_process(part: str, folder: Path, *before: str) -> subprocess.CompletedProcess[str]:
    command = [*before, sys.executable, __file__, part, str(folder)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(command, capture_output=True, check=False, text=True, env=environment)


@pytest.mark.parametrize("size_mib", [24, 40])
def test_on_a_full_disk_nothing_is_lost_and_what_frees_room_goes_on(tmp_path: Path, size_mib: int) -> None:
    mount = f'mount -t tmpfs -o size={size_mib}m tmpfs "{tmp_path}"'
    space = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    can_mount = subprocess.run([*space, "sh", "-c", mount], capture_output=True, check=False).returncode == 0
    if can_mount:
        done = in_a_process("scenario", tmp_path, *space, "sh", "-c", f'{mount} && exec "$@"', "sh")
    else:
        done = in_a_process("limited", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_write_that_is_cut_short_loses_nothing_that_was_confirmed(tmp_path: Path) -> None:
    done = in_a_process("limited", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


if __name__ == "__main__":
    {"scenario": scenario, "limited": limited}[sys.argv[1]](Path(sys.argv[2]))
