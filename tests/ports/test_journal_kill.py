"""`kill -9` at any moment, for real: what was confirmed is there, and the file goes on from there."""

import os
import random
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from edge_agent.adapters.journal_sqlite import SqliteJournal
from edge_agent.adapters.outbox_sqlite import SqliteOutbox
from edge_agent.core.entries import Tick
from models.contract.batch import decode_batch, encode_batch
from tests.batches import batch

BOUND = 1024 * 1024  # soon reached: it dies while trimming and thinning, too


def open_both(folder: Path) -> tuple[SqliteJournal, SqliteOutbox]:
    return SqliteJournal(folder / "journal.db", BOUND, 1e-9, 3), SqliteOutbox(folder / "outbox.db", BOUND)


def work(folder: Path) -> None:
    """Until it is killed: confirm each step on stdout."""
    journal, outbox = open_both(folder)
    while True:
        number = outbox.through + 1
        journal.append([Tick(arrival_ns=number)] * 3)
        outbox.append(lambda _e, seq: encode_batch(batch([float(i) for i in range(seq)], seq=seq)), 1, through=number)
        journal.trim(number, 2**62)
        sys.stdout.write(f"{number} {journal.last()}\n")
        sys.stdout.flush()


def test_what_was_confirmed_survives_each_kill(tmp_path: Path) -> None:
    chance, environment = random.Random(3), os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    epochs = set()
    for _ in range(3):
        child = subprocess.Popen(
            [sys.executable, __file__, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=environment
        )
        with child:
            assert child.stdout is not None
            lines = [child.stdout.readline() for _ in range(chance.randrange(1, 120))]
            child.kill()
            lines += [line for line in child.stdout if line.endswith("\n")]
        sealed, last = map(int, lines[-1].split())
        journal, outbox = open_both(tmp_path)
        with closing(journal), closing(outbox):
            epochs.add(outbox.epoch)
            waiting = [decode_batch(one.payload).seq for one in outbox.pending(0, 10_000)]
            assert waiting == list(range(1, outbox.through + 1))
            assert outbox.through in {sealed, sealed + 1}
            assert journal.last() in {last, last + 3}
            assert [stored.seq for stored in journal.newest()][:1] in ([], [journal.last()])
    assert len(epochs) == 1


if __name__ == "__main__":
    work(Path(sys.argv[1]))
