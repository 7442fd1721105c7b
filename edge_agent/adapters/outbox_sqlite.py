"""The outbox: sealed batches until their receipt, and the last snapshot of the pipeline.

Plan
    batch(seq, arrival_ns, crc, payload)   `seq` counts from 1 without a gap for one `epoch`
    meta(key, value)                       epoch; through = journal position whose results are sealed
    snapshot(id = 1, through, crc, content)
    refused(seq, reason, payload)          batches that no aggregator takes, the newest REFUSED_KEPT

Invariants
1. A batch and the journal position it reaches are committed together: a restart neither skips nor repeats.
2. A batch is deleted only on its receipt; one that was refused whole is set aside, not deleted.
3. A new file has a new epoch, so that the aggregator never takes its batch 1 for an older one.
"""

import threading
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from edge_agent.adapters.database import checksum, open_database, transaction
from edge_agent.ports import Sealed

_log = structlog.get_logger()
REFUSED_KEPT = 100

_SCHEMA = """
CREATE TABLE IF NOT EXISTS batch (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, arrival_ns INTEGER NOT NULL, crc INTEGER NOT NULL, payload BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS refused (seq INTEGER PRIMARY KEY, reason TEXT NOT NULL, payload BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS snapshot (
  id INTEGER PRIMARY KEY CHECK (id = 1), through INTEGER NOT NULL, crc INTEGER NOT NULL, content BLOB NOT NULL);
"""


class SqliteOutbox:
    """One file; safe for several threads."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._database = open_database(path, _SCHEMA, max_bytes)
        self._lock = threading.Lock()
        self._database.execute("INSERT OR IGNORE INTO meta VALUES ('epoch', ?), ('through', '0')", (uuid.uuid4().hex,))
        self._epoch = self._meta("epoch")

    @property
    def epoch(self) -> str:
        """The name of this outbox's life."""
        return self._epoch

    @property
    def through(self) -> int:
        """The journal position up to which results were sealed."""
        with self._lock:
            return int(self._meta("through"))

    def append(self, build: Callable[[str, int], bytes], arrival_ns: int, through: int) -> int:
        """Seal a batch. Raises NoRoomError."""
        with self._lock, transaction(self._database):
            row = self._database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'batch'").fetchone()
            seq = (row[0] if row else 0) + 1
            payload = build(self._epoch, seq)
            self._database.execute(
                "INSERT INTO batch VALUES (?, ?, ?, ?)", (seq, arrival_ns, checksum(payload), payload)
            )
            self._database.execute("UPDATE meta SET value = ? WHERE key = 'through'", (str(through),))
        return int(seq)

    def pending(self, after: int, limit: int) -> list[Sealed]:
        """Batches without a receipt, oldest first. A damaged one is given up, loudly."""
        with self._lock:
            rows = self._database.execute(
                "SELECT seq, arrival_ns, crc, payload FROM batch WHERE seq > ? ORDER BY seq LIMIT ?", (after, limit)
            ).fetchall()
        damaged = [seq for seq, _, crc, payload in rows if checksum(payload) != crc]
        if damaged:
            _log.error("batches in the outbox are damaged and cannot be sent", seqs=damaged)
            self.discard(damaged)
        return [Sealed(seq, arrival_ns, payload) for seq, arrival_ns, _, payload in rows if seq not in damaged]

    def discard(self, seqs: Sequence[int]) -> None:
        """Forget batches."""
        with self._lock, transaction(self._database):
            self._database.executemany("DELETE FROM batch WHERE seq = ?", [(seq,) for seq in seqs])

    def set_aside(self, seq: int, reason: str) -> None:
        """Keep a refused batch for inspection, out of the way of the others."""
        with self._lock, transaction(self._database):
            row = self._database.execute("SELECT payload FROM batch WHERE seq = ?", (seq,)).fetchone()
            # Deleted first: a full file then has room for the copy.
            self._database.execute("DELETE FROM batch WHERE seq = ?", (seq,))
            self._database.execute("DELETE FROM refused WHERE seq <= ?", (seq - REFUSED_KEPT,))
            if row is not None:
                self._database.execute("INSERT OR REPLACE INTO refused VALUES (?, ?, ?)", (seq, reason, row[0]))

    def forget_journal(self) -> None:
        """The journal was replaced and counts from 1 again: positions of the old one mean nothing."""
        with self._lock, transaction(self._database):
            self._database.execute("UPDATE meta SET value = '0' WHERE key = 'through'")
            self._database.execute("DELETE FROM snapshot")

    def backlog(self) -> int:
        """How many batches wait."""
        with self._lock:
            return int(self._database.execute("SELECT count(*) FROM batch").fetchone()[0])

    def save_snapshot(self, through: int, content: bytes) -> None:
        """Replace the snapshot, in one step. Raises NoRoomError; the last one is kept then."""
        with self._lock, transaction(self._database):
            self._database.execute(
                "INSERT OR REPLACE INTO snapshot VALUES (1, ?, ?, ?)", (through, checksum(content), content)
            )

    def load_snapshot(self) -> tuple[int, bytes] | None:
        """The last snapshot, or None when there is none that can be trusted."""
        with self._lock:
            row = self._database.execute("SELECT through, crc, content FROM snapshot").fetchone()
        if row is None or checksum(row[2]) != row[1]:
            return None
        return int(row[0]), row[2]

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._database.close()

    def _meta(self, key: str) -> str:
        return str(self._database.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()[0])
