"""The journal against a model of plain dictionaries: any sequence of calls, reopenings, crashes and mendings."""

import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from edge_agent.adapters.journal_sqlite import SqliteJournal
from edge_agent.core.entries import JournalEntry, Tick
from edge_agent.core.intake import DeadLetter, Message

MAX_BYTES = 1024 * 1024
LETTERS = 4
PAYLOAD_BYTES = 40


def copy(folder: Path, name: str) -> "tempfile.TemporaryDirectory[str]":
    """The bytes of a database and its log as they lie on disk now, while it is open."""
    made = tempfile.TemporaryDirectory()
    for suffix in ("", "-wal"):
        file = folder / (name + suffix)
        if file.exists():
            shutil.copyfile(file, Path(made.name) / file.name)
    return made


def letter(number: int) -> DeadLetter:
    """Every third without its payload, the others of 7 to 21 bytes."""
    payload = None if number % 3 == 0 else b"payload" * (number % 4)
    return DeadLetter(number, f"f/{number}", "json", "no JSON", 3, b"\x00\xff{", payload)


class JournalMachine(RuleBasedStateMachine):
    """Against a dictionary, with reopening and trimming in between."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.journal = self.open()
        self.model: dict[int, JournalEntry] = {}
        self.letters: dict[int, DeadLetter] = {}  # by number
        self.written = 0  # letters
        self.payloads: dict[int, tuple[int, bytes]] = {}  # by number: the bytes up to it, and itself
        self.marked: set[int] = set()
        self.newest = 0

    def open(self) -> SqliteJournal:
        file = Path(self.folder.name) / "j.db"
        return SqliteJournal(file, MAX_BYTES, 5e-9, max_deadletters=LETTERS, deadletter_bytes=PAYLOAD_BYTES)

    @rule(arrivals_ns=st.lists(st.integers(0, 20), min_size=1, max_size=3), letters=st.integers(0, 3))
    def append(self, arrivals_ns: list[int], letters: int) -> None:
        new = [letter(self.written + i) for i in range(letters)]
        entries = [Tick(arrival_ns=arrival_ns) for arrival_ns in arrivals_ns]
        assert self.journal.append(entries, new) == self.newest + len(entries)
        self.model |= dict(enumerate(entries, self.newest + 1))
        self.newest += len(entries)
        self.keep(new)

    @rule()
    def append_a_dead_letter_only(self) -> None:
        new = letter(self.written)
        assert self.journal.append([], [new]) == self.newest
        self.keep([new])

    def keep(self, new: list[DeadLetter]) -> None:
        """Beyond the bounds the oldest go: letters by their count, payloads by the bytes kept since."""
        for one in new:
            self.written += 1
            self.letters[self.written] = one._replace(payload=None)
            if one.payload is not None:
                upto = max((upto for upto, _ in self.payloads.values()), default=0) + len(one.payload)
                self.payloads[self.written] = upto, one.payload
        if not new:
            return
        self.letters = {n: one for n, one in self.letters.items() if n > self.written - LETTERS}
        newest = max((upto for upto, _ in self.payloads.values()), default=0)
        self.payloads = {
            n: (upto, payload)
            for n, (upto, payload) in self.payloads.items()
            if n in self.letters and upto - len(payload) >= newest - PAYLOAD_BYTES
        }
        self.marked &= set(self.letters)

    @rule(data=st.data())
    def mark(self, data: st.DataObject) -> None:
        """As `--rerun` does, from another process; a mark of a letter without payload leads nowhere."""
        numbers = data.draw(st.sets(st.sampled_from(sorted(self.letters)))) if self.letters else set()
        with closing(sqlite3.connect(Path(self.folder.name) / "j.db")) as other, other:
            other.executemany("INSERT OR IGNORE INTO deadletter_again VALUES (?)", [(n,) for n in numbers])
        self.marked |= numbers

    @rule(limit=st.integers(1, 4), dead_again=st.integers(0, 2))
    def take_again(self, limit: int, dead_again: int) -> None:
        looked_at = sorted(self.marked)[:limit]
        found = self.journal.again(limit)
        expected = [n for n in looked_at if n in self.payloads]
        assert [one.number for one in found] == expected
        assert [one.message for one in found] == [
            Message(self.letters[n].topic, self.payloads[n][1], self.letters[n].arrival_ns) for n in expected
        ]
        new = [letter(self.written + i) for i in range(dead_again)]
        self.journal.append([], new, expected)
        for number in expected:
            del self.letters[number], self.payloads[number]
        self.marked -= set(looked_at)
        self.keep(new)

    @precondition(lambda self: self.newest > 0)
    @rule(data=st.data(), now_ns=st.integers(0, 30))
    def trim(self, data: st.DataObject, now_ns: int) -> None:
        used = data.draw(st.integers(0, self.newest))
        self.journal.trim(used, now_ns)
        for seq in [s for s, e in self.model.items() if s <= used and e.arrival_ns < now_ns - 5]:
            del self.model[seq]

    @rule()
    def reopen(self) -> None:
        self.journal.close()
        self.journal = self.open()

    @rule(position=st.integers(0, 40))
    def skip_to(self, position: int) -> None:
        self.journal.skip_to(position)
        self.newest = max(self.newest, position)

    @rule()
    def mend(self) -> None:
        self.journal.mend()

    @rule()
    def crash(self) -> None:
        """The process dies here: what a copy of the bytes on disk holds is what goes on."""
        with closing(self.journal):
            copied = copy(Path(self.folder.name), "j.db")
        self.folder.cleanup()
        self.folder = copied
        self.journal = self.open()

    @rule(after=st.integers(0, 20), limit=st.integers(1, 5))
    def read_a_part(self, after: int, limit: int) -> None:
        expected = [item for item in sorted(self.model.items(), key=lambda item: item[0]) if item[0] > after][:limit]
        assert [tuple(stored) for stored in self.journal.read(after, limit)] == expected

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        assert {stored.seq: stored.entry for stored in self.journal.read(0, 1000)} == self.model
        assert [stored.seq for stored in self.journal.newest()] == sorted(self.model, reverse=True)
        assert self.journal.first() == min(self.model, default=0)
        assert self.journal.last() == self.newest
        newest_first = sorted(self.letters.items(), reverse=True)
        assert list(self.journal.letters()) == newest_first
        whole = [(n, one._replace(payload=self.payloads.get(n, (0, None))[1])) for n, one in newest_first[::-1]]
        assert list(self.journal.letters(oldest_first=True, payloads=True)) == whole
        assert sum(len(one.payload or b"") for _, one in whole) <= PAYLOAD_BYTES

    def teardown(self) -> None:
        self.journal.close()
        self.folder.cleanup()


def test_any_sequence_of_calls_leaves_what_a_dictionary_would_hold() -> None:
    run_state_machine_as_test(JournalMachine, settings=settings(deadline=None, max_examples=25, stateful_step_count=20))
