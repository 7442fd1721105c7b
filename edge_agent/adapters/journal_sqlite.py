"""The journal: a ring of entries on disk, and the dead letters beside it.

Plan
    entry(seq, arrival_ns, crc, content)   one blob an entry, several a commit; `seq` ascends, is never used twice
    deadletter(…)                          committed with the entry of the same messages (letters_sqlite.py)

Invariants
1. `append` returns after the commit is on disk: only then may messages be acknowledged.
2. An entry is deleted only when its results are sealed in the outbox (`used_through`).
3. A blob whose checksum fails is skipped and counted; damaged pages are mended (database.py). Neither stops the agent.
4. A damaged log gives back all commits before the damage, whole. A power cut does no such damage while the disk keeps
   what it confirmed; when it does not, the commits behind are lost, and are counted nowhere.
5. A file that was mended, replaced or brought back from a copy goes on above every position that the outbox knows:
   `skip_to`.
6. A dead letter that is taken again goes in the commit of what came of it.

When it is full, used entries go first, whatever their age. Unused ones never go: `append` raises NoRoomError and the
broker keeps the messages. That passes: the outbox makes room for results by thinning, so the pipeline catches up.
The age counts on the gateway's clock. One that jumps ahead lets go early, but only of entries that are used.
"""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from sqlite3 import Connection

import structlog

from edge_agent.adapters import letters_sqlite as letters
from edge_agent.adapters.database import Database
from edge_agent.adapters.salvage import PAGE_BYTES, Salvaged, checksum, raise_counter
from edge_agent.core.entries import Configured, JournalEntry, decode_entry, encode_entry
from edge_agent.core.intake import DeadLetter, Message
from edge_agent.ports import Again, NoRoomError, Stored

_log = structlog.get_logger()
_ANY_AGE = 1 << 62
_TRIM_ROWS = 256  # a step: deleting must not hold up the commits
_TRIM_S = 0.05  # a call
_GIVE_WAY_S = 0.001  # between two steps: a thread that waits for the file needs a moment to take it
_CHUNK_ROWS = 64
_LAST = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'entry'), 0)"
# Stamps ascend: behind the first entry that is not too old there is none.
_OLD = """SELECT seq FROM (SELECT seq, arrival_ns FROM entry WHERE seq <= ? ORDER BY seq LIMIT ?)
  WHERE arrival_ns < ?"""
_FORWARD = "SELECT seq, crc, content FROM entry WHERE seq > ? ORDER BY seq LIMIT ?"
_BACKWARD = "SELECT seq, crc, content FROM entry WHERE seq < ? ORDER BY seq DESC LIMIT ?"

# What each of our files has; SCHEMA: what it has once an agent has opened it.
OLDEST_SCHEMA = (
    """
CREATE TABLE IF NOT EXISTS entry (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, arrival_ns INTEGER NOT NULL, crc INTEGER NOT NULL, content BLOB NOT NULL);
"""
    + letters.LETTERS
)
SCHEMA = OLDEST_SCHEMA + letters.ADDED
DEADLETTER_BYTES = 64 * 1024 * 1024


class SqliteJournal:
    """One file; safe for several threads. Damage is mended at opening and when it is met."""

    def __init__(
        self,
        path: Path,
        max_bytes: int,
        max_age_s: float,
        max_deadletters: int,
        *,
        deadletter_bytes: int = DEADLETTER_BYTES,
        read_only: bool = False,
        keeps_earlier: bool = False,
    ) -> None:
        """`deadletter_bytes`: of the payloads of dead letters; an eighth of the file at most.

        `read_only`, `keeps_earlier`: see Database. Raises StartError, NoRoomError.
        """
        self._seen = 0  # the highest position that this process knows: a mended file goes on above it
        self._damaged: set[int] = set()
        self._refused = False  # an entry found no room
        self._is_stuck = False  # the last trim could not make room
        self._max_age_ns = int(max_age_s * 1e9)
        self._letters = letters.Bounds(max_deadletters, min(deadletter_bytes, max_bytes // 8))
        # The ring is trimmed at three quarters of the file's bound: room for the entries still to be used.
        self._bound_bytes = max_bytes * 3 // 4
        self._database = Database(
            path, SCHEMA, max_bytes, self._go_on_above, read_only=read_only, keeps_earlier=keeps_earlier
        )

    def append(
        self, entries: Sequence[JournalEntry], deadletters: Sequence[DeadLetter] = (), done: Sequence[int] = ()
    ) -> int:
        """One durable commit; returns the last position. Raises NoRoomError, and then nothing was kept.

        `done`: letters that were taken `again`, and come to this.
        """
        contents = [(entry.arrival_ns, encode_entry(entry)) for entry in entries]

        def work(database: Connection) -> int:
            database.executemany(
                "INSERT INTO entry(arrival_ns, crc, content) VALUES (?, ?, ?)",
                [(arrival_ns, checksum(content), content) for arrival_ns, content in contents],
            )
            letters.forget(database, done)
            if deadletters:
                letters.keep(database, deadletters, self._letters)
            return int(database.execute(_LAST).fetchone()[0])

        try:
            if any(isinstance(entry, Configured) for entry in entries):
                # A full file or disk must not keep the agent from starting: only then can the outbox drain.
                last = self._database.free(work)
            else:
                size_bytes = sum(len(content) for _, content in contents) + letters.size_bytes(deadletters)
                last = self._database.add(work, size_bytes)
        except NoRoomError:
            self._refused = True
            raise
        self._seen = max(self._seen, last)
        return last

    def read(self, after: int, limit: int = 64) -> list[Stored]:
        """Up to `limit` entries behind `after`, none only at the end. A damaged one is counted once and left out."""
        found: list[Stored] = []
        while not found and (rows := self._database.rows(_FORWARD, (after, limit))):
            after = rows[-1][0]
            self._seen = max(self._seen, after)
            found = self._sound(rows)
        return found

    def newest(self) -> Iterator[Stored]:
        """Entries from the newest to the oldest, read in chunks: those appended meanwhile are not among them."""
        before = _ANY_AGE
        while rows := self._database.rows(_BACKWARD, (before, _CHUNK_ROWS)):
            before = rows[-1][0]
            yield from self._sound(rows)

    @property
    def damaged(self) -> int:
        """How many entries were left out."""
        return len(self._damaged)

    def last(self) -> int:
        """The position of the newest entry ever appended; 0 = none."""
        return self._database.scalar(_LAST)

    def first(self) -> int:
        """The position of the oldest entry kept; 0 = none."""
        return self._database.scalar("SELECT coalesce(min(seq), 0) FROM entry")

    def skip_to(self, position: int) -> None:
        """No entry gets a position of `position` or below from here on: the outbox counts those as used.

        Raises NoRoomError.
        """
        if self.last() < position:
            self._database.free(lambda database: raise_counter(database, "entry", position))

    @property
    def is_short_of_room(self) -> bool:
        """An entry was refused since the last trim, or that could not make room: more has to be used."""
        return self._refused or self._is_stuck

    def trim(self, used_through: int, now_ns: int) -> bool:
        """Delete used entries that are too old or too many, a few at a time, for 50 ms; whether there are more.

        A refused entry lowers the bound of size once: an eighth of what is kept goes, if it is used.
        """
        used, free = self._database.pages()
        bound_bytes = self._bound_bytes
        if self._refused:
            bound_bytes = min(bound_bytes, (used - free) * PAGE_BYTES * 7 // 8)
        self._refused = False
        until_s = time.monotonic() + _TRIM_S
        while is_more := self._trim_a_step(used_through, now_ns - self._max_age_ns, bound_bytes):
            if time.monotonic() >= until_s:
                break
            time.sleep(_GIVE_WAY_S)
        used, free = self._database.pages()
        self._is_stuck = not is_more and (used - free) * PAGE_BYTES > bound_bytes
        self._database.tend()
        return is_more

    def letters(self, *, oldest_first: bool = False, payloads: bool = False) -> Iterator[tuple[int, DeadLetter]]:
        """Dead letters and their numbers, read in chunks; `payloads`: with those that are kept and sound."""
        query = letters.query(oldest_first=oldest_first, payloads=payloads and self._has_payloads())
        last = 0 if oldest_first else _ANY_AGE
        while rows := self._database.rows(query, (last, _CHUNK_ROWS)):
            last = rows[-1][0]
            yield from ((row[0], letters.letter_of(row)) for row in rows)

    def again(self, limit: int) -> list[Again]:
        """Up to `limit` letters that are marked to be taken again, oldest first. Raises NoRoomError."""
        rows = self._database.rows(letters.MARKED, (limit,))
        found = [
            Again(number, Message(topic, content, arrival_ns))
            for number, topic, arrival_ns, crc, content in rows
            if content is not None and checksum(content) == crc
        ]
        if len(found) < len(rows):
            lost = {row[0] for row in rows}.difference(one.number for one in found)
            _log.warning("dead letters cannot be taken again: their payloads are gone", count=len(lost))
            self._database.free(lambda database: letters.unmark(database, sorted(lost)))
        return found

    def mend(self) -> Salvaged:
        """Rebuild the file by what can be read of it. Raises NoRoomError."""
        return self._database.mend()

    def close(self) -> None:
        """Release the file."""
        self._database.close()

    def _has_payloads(self) -> bool:
        """A file that no agent of this version has opened has none."""
        return bool(self._database.rows("SELECT 1 FROM sqlite_master WHERE name = 'deadletter_payload'"))

    def _trim_a_step(self, used_through: int, older_than_ns: int, bound_bytes: int) -> bool:
        """Whether another step may find more."""
        used, free = self._database.pages()
        is_full = (used - free) * PAGE_BYTES > bound_bytes
        seqs = self._database.rows(_OLD, (used_through, _TRIM_ROWS, _ANY_AGE if is_full else older_than_ns))
        if seqs:
            try:
                self._database.free(lambda database: database.executemany("DELETE FROM entry WHERE seq = ?", seqs))
            except NoRoomError as error:  # nothing is lost, the next round tries again
                _log.warning("the journal cannot be trimmed now", error=str(error))
                return False
        return len(seqs) == _TRIM_ROWS

    def _sound(self, rows: Sequence[tuple[int, int, bytes]]) -> list[Stored]:
        """Decoded; what is damaged is reported once and left out."""
        found = []
        for seq, crc, content in rows:
            try:
                found.append(Stored(seq, open_entry(crc, content)))
            except ValueError as error:
                if seq not in self._damaged:
                    self._damaged.add(seq)
                    _log.error("a journal entry is damaged and was left out", seq=seq, error=str(error))
        return found

    def _go_on_above(self, mended: Connection, _counted: bool) -> None:
        raise_counter(mended, "entry", self._seen)


def open_entry(crc: int, content: bytes) -> JournalEntry:
    """Check and decode. Raises ValueError."""
    if checksum(content) != crc:
        raise ValueError("wrong checksum")
    return decode_entry(content)
