"""Looks into journal and outbox without changing them, also while the agent runs.

Rows are read a few at a time: while one read lasts, the log of the running agent cannot be cut. The check of the
pages is one read, and takes about a second a gigabyte on a fast disk.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from edge_agent.adapters import salvage
from edge_agent.adapters.ballast import BALLAST_BYTES, Ballast
from edge_agent.adapters.database import Database
from edge_agent.adapters.journal_sqlite import OLDEST_SCHEMA as JOURNAL
from edge_agent.adapters.journal_sqlite import SqliteJournal, open_entry
from edge_agent.adapters.outbox_sqlite import SCHEMA as OUTBOX
from edge_agent.adapters.outbox_sqlite import SqliteOutbox
from edge_agent.config import EdgeConfig
from edge_agent.core.entries import Data, encode_entry
from models.contract.batch import ContractError, decode_batch

_CHUNK_ROWS = 64
_MAX_PAGE_FAULTS = 20
_NO_DATA = Data(arrival_ns=0, channels=[], index=b"", time_ns=b"", value=b"", quality=b"")
_KIND = slice(1, 11)  # of an entry's blob: behind the number of its fields
CURE = "stop the agent and run `tocsin edge journal repair CONFIG`"


class ExamineError(RuntimeError):
    """The file cannot be looked at; the text says why and what helps."""


class DamagedError(ExamineError):
    """The file is not what it should be; the text says what is wrong with it and where, and the cure."""

    def __init__(self, path: Path, fault: str) -> None:
        super().__init__(f"{path}: damaged: {fault}; {CURE}")
        self.fault = f"{path}: {fault}"


@contextmanager
def journal(config: EdgeConfig) -> Iterator[SqliteJournal]:
    """To be read only. Whatever is read of it in here raises ExamineError."""
    path = config.state_dir / "journal.db"
    settings = config.journal
    with reading(path):
        _find(path, JOURNAL)
        opened = SqliteJournal(path, settings.max_bytes, settings.max_age_s, config.limits.deadletters, read_only=True)
        with closing(opened):
            yield opened


def status(config: EdgeConfig) -> dict[str, Any]:
    """Numbers of both files and of the ballast. Raises ExamineError."""
    folder = config.state_dir
    ballast = Ballast(folder).file
    with _database(folder / "journal.db", JOURNAL) as database:
        found = _journal_status(database, config.journal.max_bytes)
    outbox = _outbox_status(folder / "outbox.db", config)
    with _database(folder / "journal.db", JOURNAL) as database:
        found["unused"] = _unused(database, outbox["through"])
    return {
        "journal": found,
        "outbox": outbox,
        "ballast_bytes": ballast.stat().st_size if ballast.exists() else 0,
        "ballast_wanted_bytes": BALLAST_BYTES,
        "damaged_files": sorted(file.name for file in folder.glob("*.db.damaged-*")),
    }


def journal_faults(config: EdgeConfig) -> list[str]:
    """All that is damaged in the journal, one line each, naming file and place. Raises ExamineError: not readable."""
    return list(_faults(config.state_dir / "journal.db", JOURNAL, "entry", "content", open_entry))


def outbox_faults(config: EdgeConfig) -> list[str]:
    """All that is damaged in the outbox, one line each, naming file and place. Raises ExamineError: not readable."""
    return list(_faults(config.state_dir / "outbox.db", OUTBOX, "batch", "payload", _open_batch))


def _journal_status(database: Database, bound_bytes: int) -> dict[str, Any]:
    used, free = database.pages()
    first = database.rows("SELECT seq, arrival_ns FROM entry ORDER BY seq LIMIT 1")
    last = database.rows("SELECT seq, arrival_ns FROM entry ORDER BY seq DESC LIMIT 1")
    return {
        "entries": database.scalar("SELECT count(*) FROM entry"),
        "first": first[0][0] if first else None,
        "first_arrival_ns": first[0][1] if first else None,
        "last": last[0][0] if last else None,
        "last_arrival_ns": last[0][1] if last else None,
        "used_bytes": (used - free) * salvage.PAGE_BYTES,
        "file_bytes": used * salvage.PAGE_BYTES,
        "max_bytes": bound_bytes,
        "deadletters": database.scalar("SELECT count(*) FROM deadletter"),
    }


def _unused(database: Database, through: int) -> int:
    """Entries with readings whose results are not sealed: ticks, which an idle agent writes as well, are none."""
    kind = encode_entry(_NO_DATA)[_KIND]
    query = f"SELECT count(*) FROM entry WHERE seq > ? AND substr(content, {_KIND.start + 1}, {len(kind)}) = ?"  # noqa: S608 - numbers
    return int(database.rows(query, (through, kind))[0][0])


def _outbox_status(path: Path, config: EdgeConfig) -> dict[str, Any]:
    with _database(path, OUTBOX) as database:
        with closing(SqliteOutbox(path, config.outbox.max_bytes, read_only=True)) as outbox:
            epoch, through, lost, snapshot = outbox.epoch, outbox.through, outbox.lost(), outbox.load_snapshot()
        used, free = database.pages()
        oldest = database.rows("SELECT arrival_ns FROM batch ORDER BY seq LIMIT 1")
        return {
            "epoch": epoch,
            "through": through,
            "snapshot_through": snapshot[0] if snapshot else None,
            "pending": database.scalar("SELECT count(*) FROM batch"),
            "oldest_arrival_ns": oldest[0][0] if oldest else None,
            "refused": database.scalar("SELECT count(*) FROM refused"),
            "lost": lost,
            "used_bytes": (used - free) * salvage.PAGE_BYTES,
            "file_bytes": used * salvage.PAGE_BYTES,
            "max_bytes": config.outbox.max_bytes,
        }


def _faults(path: Path, schema: str, table: str, column: str, check: Callable[[int, bytes], object]) -> Iterator[str]:
    try:
        with _database(path, schema) as database:
            for (text,) in database.rows(f"PRAGMA quick_check({_MAX_PAGE_FAULTS})"):
                if text != "ok":
                    yield f"{path}: {text}"
            after = 0
            query = f"SELECT seq, crc, {column} FROM {table} WHERE seq > ? ORDER BY seq LIMIT {_CHUNK_ROWS}"  # noqa: S608 - names of the schema
            while rows := database.rows(query, (after,)):
                for seq, crc, content in rows:
                    after = seq
                    try:
                        check(crc, content)
                    except (ValueError, TypeError) as error:
                        yield f"{path}: {table} {seq}: {error}"
    except DamagedError as error:
        yield error.fault


def _open_batch(crc: int, payload: bytes) -> None:
    if salvage.checksum(payload) != crc:
        raise ContractError("wrong checksum")
    decode_batch(payload)


@contextmanager
def _database(path: Path, schema: str) -> Iterator[Database]:
    with reading(path):
        _find(path, schema)
        with closing(Database(path, schema, salvage.PAGE_BYTES, read_only=True)) as database:
            yield database


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """SQLite's errors as ExamineError, with what helps."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if salvage.is_busy(error):
            raise ExamineError(f"{path}: {error}: try again") from error
        if salvage.is_unreachable(error):
            raise ExamineError(
                f"{path}: cannot be read: {error}: may you read the file, and write its folder?"
            ) from error
        raise DamagedError(path, str(error)) from error


def _find(path: Path, schema: str) -> None:
    """Whether something like our file lies there. Raises ExamineError, sqlite3.Error."""
    if not path.exists():
        raise ExamineError(f"{path}: there is no such file: has the agent run with this configuration?")
    if not path.stat().st_size:
        raise DamagedError(path, "it is empty")
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        for table, names in salvage.tables(schema).items():
            if not set(names) <= set(salvage.columns(connection, table)):
                raise DamagedError(path, f"table {table} is not there: this may be another program's file")
