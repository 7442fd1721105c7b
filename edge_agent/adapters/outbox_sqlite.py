"""The outbox: sealed batches until their receipt, and the last snapshot of the pipeline.

Plan
    batch(seq, arrival_ns, crc, payload)   `seq` counts from 1 without a gap for one `epoch`
    meta(key, value)                       epoch; through = journal position whose results are sealed;
                                           thinned = for each level, the seq up to which batches have reached it;
                                           lost_* = rows dropped by kind, and batches given up as damaged
    snapshot(id = 1, through, crc, content)
    refused(seq, reason, payload)          batches that no aggregator takes: the newest, 100 and a twentieth of the file

Invariants
1. A batch and the journal position it reaches are committed together: a restart neither skips nor repeats.
2. A batch is deleted only on its receipt; one that was refused whole is set aside, not deleted.
3. A new file has a new epoch, so that the aggregator never takes its batch 1 for an older one. So has a file mended
   at opening when epoch or counter cannot be read: its batches are then numbered anew. Epoch and numbers never change
   while a process lives: the uplink knows batches by them.
4. A mended file that lost `through` takes that of its snapshot, from which the same results are made again; without
   a snapshot 0: the whole journal is used again.

When it is full, `thin` makes room (core/thinning.py): batches are thinned level by level, within a level from the
oldest, a stretch at a time; each row dropped is counted. `wait` drops nothing: results stay in the journal, and once
that is full the messages in the broker. So it is, in both cases, when nothing more can be thinned or the disk is full.
There is no bound by age, on purpose: a clock that jumps ahead must not delete results.
"""

import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from sqlite3 import Connection
from typing import Literal, TypeVar

import structlog

from edge_agent.adapters.database import BoundError, Database
from edge_agent.adapters.salvage import PAGE_BYTES, Salvaged, checksum, raise_counter
from edge_agent.core.thinning import LEVELS, Thinned, Thinner
from edge_agent.ports import NoRoomError, Sealed, Waiting
from models.contract.batch import ContractError, decode_batch, encode_batch

_log = structlog.get_logger()
_REFUSED_KEPT = 100
_MIB = 1024 * 1024
_USUAL_BYTES = _MIB  # of a batch, generously: room on the disk is asked for before its bytes are made
_STEP_BYTES, _STEP_ROWS = 4 * _MIB, 256  # thinned in one commit
_MAX_FREED_BYTES = 4 * _MIB  # at a time: results wait meanwhile
_NEWEST = "SELECT seq FROM sqlite_sequence WHERE name = 'batch'"
T = TypeVar("T")
LOST = ("reading", "feature", "inference", "alarm", "batch")

SCHEMA = """
CREATE TABLE IF NOT EXISTS batch (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, arrival_ns INTEGER NOT NULL, crc INTEGER NOT NULL, payload BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS refused (seq INTEGER PRIMARY KEY, reason TEXT NOT NULL, payload BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS snapshot (
  id INTEGER PRIMARY KEY CHECK (id = 1), through INTEGER NOT NULL, crc INTEGER NOT NULL, content BLOB NOT NULL);
"""


class SqliteOutbox:
    """One file; safe for several threads. Damage is mended at opening and when it is met."""

    def __init__(
        self,
        path: Path,
        max_bytes: int,
        when_full: Literal["thin", "wait"] = "thin",
        *,
        read_only: bool = False,
        keeps_earlier: bool = False,
    ) -> None:
        """`read_only`, `keeps_earlier`: see Database. Raises StartError, NoRoomError."""
        self._max_bytes, self._thins = max_bytes, when_full == "thin"
        self._thinner, self._is_thinning = Thinner(), False
        self._epoch, self._newest = "", 0  # as long as this process lives, whatever happens to the file
        self._database = Database(
            path, SCHEMA, max_bytes, self._complete, read_only=read_only, keeps_earlier=keeps_earlier
        )
        if not read_only and not self._meta("epoch"):
            self._database.free(lambda database: self._complete(database, counted=True))
        newest = self._database.rows(_NEWEST)
        self._newest = newest[0][0] if newest else 0
        self._epoch = self._meta("epoch")

    @property
    def epoch(self) -> str:
        """The name of this outbox's life."""
        return self._epoch

    @property
    def through(self) -> int:
        """The journal position up to which results were sealed."""
        return int(self._meta("through") or 0)

    def append(self, build: Callable[[str, int], bytes], arrival_ns: int, through: int) -> int:
        """Seal a batch. Raises NoRoomError."""

        def work(database: Connection) -> int:
            row = database.execute(_NEWEST).fetchone()
            seq = (row[0] if row else 0) + 1
            payload = build(self._epoch, seq)
            database.execute("INSERT INTO batch VALUES (?, ?, ?, ?)", (seq, arrival_ns, checksum(payload), payload))
            _set(database, "through", str(through))
            return int(seq)

        self._newest = self._finding_room(lambda: self._database.add(work, _USUAL_BYTES))
        return self._newest

    def pending(self, after: int, limit: int) -> list[Sealed]:
        """Batches without a receipt, oldest first, none only at the end. A damaged one is given up, loudly."""
        query = "SELECT seq, arrival_ns, crc, payload FROM batch WHERE seq > ? ORDER BY seq LIMIT ?"
        found: list[Sealed] = []
        while not found and (rows := self._database.rows(query, (after, limit))):
            after = rows[-1][0]
            found = [Sealed(seq, at_ns, payload) for seq, at_ns, crc, payload in rows if checksum(payload) == crc]
            if len(found) < len(rows):
                self._give_up({row[0] for row in rows} - {one.seq for one in found})
        return found

    def discard(self, seqs: Sequence[int]) -> None:
        """Forget batches. Raises NoRoomError."""
        self._database.free(lambda database: _delete(database, seqs))

    def set_aside(self, seq: int, reason: str) -> None:
        """Keep a refused batch for inspection, out of the way of the others. Raises NoRoomError."""

        def work(database: Connection) -> None:
            row = database.execute("SELECT payload FROM batch WHERE seq = ?", (seq,)).fetchone()
            _delete(database, [seq])  # first: a full file then has room for the copy
            if row is not None:
                database.execute("INSERT OR REPLACE INTO refused VALUES (?, ?, ?)", (seq, reason, row[0]))
            kept = kept_bytes = 0
            sizes = database.execute("SELECT seq, length(payload) FROM refused ORDER BY seq DESC").fetchall()
            for number, size_bytes in sizes:
                kept, kept_bytes = kept + 1, kept_bytes + size_bytes
                if kept > _REFUSED_KEPT or (kept > 1 and kept_bytes > self._max_bytes // 20):
                    database.execute("DELETE FROM refused WHERE seq <= ?", (number,))
                    break

        self._database.free(work)

    def backlog(self) -> int:
        """How many batches wait."""
        count = self._database.scalar("SELECT count(*) FROM batch")
        self._is_thinning = self._is_thinning and count > 0
        return count

    def waiting(self) -> Waiting:
        """How many wait, their size and the age of the oldest."""
        query = "SELECT count(*), coalesce(sum(length(payload)), 0), min(arrival_ns) FROM batch"
        return Waiting(*self._database.rows(query)[0])

    def lost(self) -> dict[str, int]:
        """Rows that thinning dropped since the file was made, by kind; and batches that were damaged."""
        counted = dict(self._database.rows("SELECT key, value FROM meta WHERE key LIKE 'lost_%'"))
        return {kind: int(counted.get(f"lost_{kind}", 0)) for kind in LOST}

    def save_snapshot(self, through: int, content: bytes) -> None:
        """Replace the snapshot, in one step. Raises NoRoomError; the last one is kept then."""

        def work(database: Connection) -> None:
            database.execute(
                "INSERT OR REPLACE INTO snapshot VALUES (1, ?, ?, ?)", (through, checksum(content), content)
            )

        self._finding_room(lambda: self._database.add(work, len(content), reserve=True))

    def load_snapshot(self) -> tuple[int, bytes] | None:
        """The last snapshot, or None when there is none that can be trusted."""
        rows = self._database.rows("SELECT through, crc, content FROM snapshot")
        if not rows or checksum(rows[0][2]) != rows[0][1]:
            return None
        return int(rows[0][0]), rows[0][2]

    def mend(self) -> Salvaged:
        """Rebuild the file by what can be read of it. Raises NoRoomError."""
        return self._database.mend()

    def close(self) -> None:
        """Release the file."""
        self._database.close()

    def _finding_room(self, add: Callable[[], T]) -> T:
        """Do it; at the file's bound make room and do it again."""
        while True:
            try:
                return add()
            except BoundError:
                if not self._thins or not self._make_room():
                    raise

    def _make_room(self) -> bool:
        """Thin until a twentieth of the file has come free, or 4 MiB; whether any page came free."""
        if not self._is_thinning:
            self._is_thinning = True
            _log.error("the outbox is full: results are thinned; `tocsin edge journal status` counts what is lost")
        before = free = self._database.pages()[1]
        wanted = min(self._max_bytes // 20, _MAX_FREED_BYTES) // PAGE_BYTES
        while free - before < wanted and self._database.add(self._thin_a_stretch, _STEP_BYTES, reserve=True):
            free = self._database.pages()[1]
        return free > before

    def _thin_a_stretch(self, database: Connection) -> bool:
        """One step of the batches that are thinned least; False when nothing is left to thin."""
        newest = database.execute("SELECT coalesce(max(seq), 0) FROM batch").fetchone()[0]
        reached = _reached(database)
        level = next((level for level in range(1, LEVELS + 1) if reached[level - 1] < newest), None)
        if level is None:
            return False
        rows, size_bytes = [], 0
        query = "SELECT seq, arrival_ns, crc, payload FROM batch WHERE seq > ? ORDER BY seq LIMIT ?"
        for row in database.execute(query, (reached[level - 1], _STEP_ROWS)):
            rows.append(row)
            size_bytes += len(row[3])
            if size_bytes >= _STEP_BYTES:
                break
        smaller = [(row, thinned) for row in rows if (thinned := self._thinned(row, level))]
        # Deleted and written again in one run: a page that only got emptier would not come free.
        _delete(database, [row[0] for row, _ in smaller])
        lost: Counter[str] = Counter()
        for (seq, arrival_ns, *_), (payload, dropped) in smaller:
            database.execute("INSERT INTO batch VALUES (?, ?, ?, ?)", (seq, arrival_ns, checksum(payload), payload))
            lost += dropped
        _count(database, lost)
        reached[level - 1] = rows[-1][0]
        _set(database, "thinned", " ".join(map(str, reached)))
        return True

    def _thinned(self, row: tuple[int, int, int, bytes], level: int) -> Thinned | None:
        _, _, crc, payload = row
        try:
            return self._thinner.thin(payload, level) if checksum(payload) == crc else None
        except ContractError:  # whatever it is, the aggregator will say so in its receipt
            return None

    def _give_up(self, damaged: set[int]) -> None:
        """Delete and count what cannot be sent; without room for that it is only left out, and met again."""

        def work(database: Connection) -> None:
            _delete(database, sorted(damaged))
            _count(database, Counter(batch=len(damaged)))

        try:
            self._database.free(work)
        except NoRoomError as error:
            _log.warning("damaged batches cannot be given up now", seqs=sorted(damaged), error=str(error))
        else:
            _log.error("batches in the outbox are damaged and cannot be sent", seqs=sorted(damaged))

    def _complete(self, database: Connection, counted: bool) -> None:
        """Give a new or mended file what it lacks."""
        known = dict(database.execute("SELECT key, value FROM meta").fetchall())
        if "through" not in known:
            row = database.execute("SELECT through FROM snapshot").fetchone()
            _set(database, "through", str(row[0] if row else 0))
        if self._epoch:  # batches are under way by these numbers
            _set(database, "epoch", self._epoch)
            raise_counter(database, "batch", self._newest)
        elif "epoch" not in known or not counted:
            epoch = uuid.uuid4().hex
            _set(database, "epoch", epoch)
            _renumber(database, epoch)

    def _meta(self, key: str) -> str:
        """Empty when there is none."""
        rows = self._database.rows("SELECT value FROM meta WHERE key = ?", (key,))
        return str(rows[0][0]) if rows else ""


def _set(database: Connection, key: str, value: str) -> None:
    database.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))


def _count(database: Connection, lost: Counter[str]) -> None:
    for kind, count in lost.items():
        database.execute(
            "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = CAST(value AS INTEGER) + ?2",
            (f"lost_{kind}", count),
        )


def _delete(database: Connection, seqs: Sequence[int]) -> None:
    database.executemany("DELETE FROM batch WHERE seq = ?", [(seq,) for seq in seqs])


def _reached(database: Connection) -> list[int]:
    """For each level, the seq up to which batches have been thinned to it."""
    row = database.execute("SELECT value FROM meta WHERE key = 'thinned'").fetchone()
    found = [int(seq) for seq in row[0].split()] if row else []
    return found + [0] * (LEVELS - len(found))


def _renumber(database: Connection, epoch: str) -> None:
    """Batches of a life that cannot go on become the first ones of a new life."""
    numbers = [row[0] for row in database.execute("SELECT seq FROM batch ORDER BY seq")]
    for new, old in enumerate(numbers, 1):
        arrival_ns, payload = database.execute("SELECT arrival_ns, payload FROM batch WHERE seq = ?", (old,)).fetchone()
        _delete(database, [old])
        try:
            batch = decode_batch(payload)
        except ContractError:  # whatever it is, the aggregator says so in its receipt
            pass
        else:
            batch.epoch, batch.seq = epoch, new
            payload = encode_batch(batch)
        database.execute("INSERT INTO batch VALUES (?, ?, ?, ?)", (new, arrival_ns, checksum(payload), payload))
    database.execute("DELETE FROM meta WHERE key = 'thinned'")
    database.execute("DELETE FROM sqlite_sequence WHERE name = 'batch'")
    raise_counter(database, "batch", len(numbers))
