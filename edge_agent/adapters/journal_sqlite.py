"""The journal: a ring of entries on disk, and the dead letters beside it.

Plan
    entry(seq, arrival_ns, crc, content)   one blob a commit; `seq` ascends and is never used twice
    deadletter(…)                          committed with the entry of the same messages

Invariants
1. `append` returns after the commit is on disk: only then may messages be acknowledged.
2. An entry is deleted only when its results are sealed in the outbox (`used_through`).
3. A blob whose checksum fails is skipped and counted; it never stops the agent.
"""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog

from edge_agent.adapters.database import PAGE_BYTES, checksum, open_database, transaction
from edge_agent.core.entries import Configured, JournalEntry, decode_entry, encode_entry
from edge_agent.core.intake import DeadLetter
from edge_agent.ports import NoRoomError, Stored

_log = structlog.get_logger()
_ANY_AGE = 1 << 62
_RESERVED_PAGES = 1024
_TRIM_ROWS = 256  # a step: deleting must not hold up the commits

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entry (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, arrival_ns INTEGER NOT NULL, crc INTEGER NOT NULL, content BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS deadletter (
  id INTEGER PRIMARY KEY AUTOINCREMENT, arrival_ns INTEGER NOT NULL, topic TEXT NOT NULL, reason TEXT NOT NULL,
  text TEXT NOT NULL, size_bytes INTEGER NOT NULL, head BLOB NOT NULL);
"""


class SqliteJournal:
    """One file; safe for several threads."""

    def __init__(self, path: Path, max_bytes: int, max_age_s: float, max_deadletters: int) -> None:
        # The ring is trimmed at three quarters of the file's bound: room for the entries still to be used.
        self._database = open_database(path, _SCHEMA, max_bytes)
        self._bound_bytes = max_bytes * 3 // 4
        self._max_age_ns = int(max_age_s * 1e9)
        self._max_deadletters = max_deadletters
        self._refused = False  # an entry found no room: let go of all that is used
        self._pages = max_bytes // PAGE_BYTES
        self._lock = threading.Lock()
        self._damaged: set[int] = set()

    def append(self, entries: Sequence[JournalEntry], deadletters: Sequence[DeadLetter] = ()) -> int:
        """One durable commit; returns the position of the last entry. Raises NoRoomError."""
        with self._lock:
            try:
                with self._room_for(entries), transaction(self._database):
                    self._insert(entries, deadletters)
            except NoRoomError:
                self._refused = True
                raise
            return self._last()

    def read(self, after: int, limit: int = 64) -> list[Stored]:
        """Up to `limit` entries behind `after`, none only at the end. A damaged one is counted once and left out."""
        found: list[Stored] = []
        while not found and (rows := self._rows(after, limit)):
            for seq, crc, content in rows:
                after = seq
                try:
                    if checksum(content) != crc:
                        raise ValueError("wrong checksum")  # noqa: TRY301 - one path for both faults
                    found.append(Stored(seq, decode_entry(content)))
                except ValueError as error:
                    if seq not in self._damaged:
                        self._damaged.add(seq)
                        _log.error("a journal entry is damaged and was left out", seq=seq, error=str(error))
        return found

    @property
    def damaged(self) -> int:
        """How many entries were left out."""
        return len(self._damaged)

    def last(self) -> int:
        """The position of the newest entry ever appended; 0 = none."""
        with self._lock:
            return self._last()

    def first(self) -> int:
        """The position of the oldest entry kept; 0 = none."""
        with self._lock:
            return self._scalar("SELECT coalesce(min(seq), 0) FROM entry")

    def newest(self) -> Iterator[Stored]:
        """Entries from the newest to the oldest."""
        before = self.last() + 1
        while before > 1:
            found = self.read(max(0, before - 65), 64)
            yield from reversed([stored for stored in found if stored.seq < before])
            before = max(1, before - 64)

    def trim(self, used_through: int, now_ns: int) -> None:
        """Delete used entries that are too old or too many, a few at a time."""
        with self._lock:
            pages = self._scalar("PRAGMA page_count") - self._scalar("PRAGMA freelist_count")
            is_full = self._refused or pages * self._scalar("PRAGMA page_size") > self._bound_bytes
            self._refused = False
            older_than_ns = _ANY_AGE if is_full else now_ns - self._max_age_ns
            try:
                self._database.execute(
                    "DELETE FROM entry WHERE seq IN"
                    " (SELECT seq FROM entry WHERE seq <= ? AND arrival_ns < ? ORDER BY seq LIMIT ?)",
                    (used_through, older_than_ns, _TRIM_ROWS),
                )
            except sqlite3.OperationalError as error:  # a full disk: nothing is lost, the next round tries again
                _log.warning("the journal cannot be trimmed now", error=str(error))

    def deadletters(self, limit: int) -> list[dict[str, Any]]:
        """The newest dead letters first."""
        with self._lock:
            rows = self._database.execute(
                "SELECT arrival_ns, topic, reason, text, size_bytes, head FROM deadletter ORDER BY id DESC LIMIT ?",
                (limit,),
            ).fetchall()
        return [DeadLetter(*row)._asdict() for row in rows]

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._database.close()

    def _rows(self, after: int, limit: int) -> list[tuple[int, int, bytes]]:
        with self._lock:
            return self._database.execute(
                "SELECT seq, crc, content FROM entry WHERE seq > ? ORDER BY seq LIMIT ?", (after, limit)
            ).fetchall()

    @contextmanager
    def _room_for(self, entries: Sequence[JournalEntry]) -> Iterator[None]:
        """A full journal must not keep the agent from starting: only then can the outbox drain, and make room."""
        if not any(isinstance(entry, Configured) for entry in entries):
            yield
            return
        self._database.execute(f"PRAGMA max_page_count={self._pages + _RESERVED_PAGES}")
        try:
            yield
        finally:
            self._database.execute(f"PRAGMA max_page_count={self._pages}")

    def _insert(self, entries: Sequence[JournalEntry], deadletters: Sequence[DeadLetter]) -> None:
        for entry in entries:
            content = encode_entry(entry)
            self._database.execute(
                "INSERT INTO entry(arrival_ns, crc, content) VALUES (?, ?, ?)",
                (entry.arrival_ns, checksum(content), content),
            )
        if deadletters:
            self._database.executemany(
                "INSERT INTO deadletter(arrival_ns, topic, reason, text, size_bytes, head) VALUES (?, ?, ?, ?, ?, ?)",
                [tuple(letter) for letter in deadletters],
            )
            self._database.execute(
                "DELETE FROM deadletter WHERE id <= (SELECT max(id) FROM deadletter) - ?", (self._max_deadletters,)
            )

    def _last(self) -> int:
        return self._scalar("SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'entry'), 0)")

    def _scalar(self, query: str) -> int:
        return int(self._database.execute(query).fetchone()[0])
