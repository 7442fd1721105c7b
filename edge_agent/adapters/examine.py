"""Looks into journal and outbox without changing them, also while the agent runs.

Rows are read a few at a time: while one read lasts, the log of the running agent cannot be cut. The check of the
pages is one read, and takes about a second a gigabyte on a fast disk.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from edge_agent.adapters import salvage
from edge_agent.adapters.ballast import BALLAST_BYTES, Ballast
from edge_agent.adapters.database import Database
from edge_agent.adapters.journal_sqlite import SCHEMA as JOURNAL
from edge_agent.adapters.journal_sqlite import SqliteJournal, open_entry
from edge_agent.adapters.outbox_sqlite import SCHEMA as OUTBOX
from edge_agent.adapters.outbox_sqlite import SqliteOutbox
from edge_agent.config import EdgeConfig
from models.contract.batch import ContractError, decode_batch

_CHUNK_ROWS = 64
_MAX_PAGE_FAULTS = 20


class ExamineError(RuntimeError):
    """The file cannot be looked at; the text says why and what helps."""


def journal(config: EdgeConfig) -> SqliteJournal:
    """To be read only. Raises ExamineError."""
    path = _found(config.state_dir / "journal.db", JOURNAL)
    settings = config.journal
    return SqliteJournal(path, settings.max_bytes, settings.max_age_s, config.limits.deadletters, read_only=True)


def status(config: EdgeConfig) -> dict[str, Any]:
    """Numbers of both files and of the ballast. Raises ExamineError, sqlite3.Error."""
    folder = config.state_dir
    ballast = Ballast(folder).file
    return {
        "journal": _journal_status(_database(folder / "journal.db", JOURNAL), config.journal.max_bytes),
        "outbox": _outbox_status(folder / "outbox.db", config),
        "ballast_bytes": ballast.stat().st_size if ballast.exists() else 0,
        "ballast_wanted_bytes": BALLAST_BYTES,
        "set_aside": sorted(file.name for file in folder.glob("*.db.damaged-*")),
    }


def faults(config: EdgeConfig) -> Iterator[str]:
    """All that is damaged, one line each, naming file and place. Raises ExamineError."""
    folder = config.state_dir
    yield from _faults(folder / "journal.db", JOURNAL, "entry", "content", open_entry)
    yield from _faults(folder / "outbox.db", OUTBOX, "batch", "payload", _open_batch)


def _journal_status(database: Database, bound_bytes: int) -> dict[str, Any]:
    with closing(database):
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


def _outbox_status(path: Path, config: EdgeConfig) -> dict[str, Any]:
    with closing(SqliteOutbox(_found(path, OUTBOX), config.outbox.max_bytes, read_only=True)) as outbox:
        epoch, through, lost, snapshot = outbox.epoch, outbox.through, outbox.lost(), outbox.load_snapshot()
    with closing(_database(path, OUTBOX)) as database:
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
    with closing(_database(path, schema)) as database:
        try:
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
        except sqlite3.DatabaseError as error:
            if salvage.is_busy(error):
                raise ExamineError(f"{path}: {error}: try again") from error
            yield f"{path}: {error}"


def _open_batch(crc: int, payload: bytes) -> None:
    if salvage.checksum(payload) != crc:
        raise ContractError("wrong checksum")
    decode_batch(payload)


def _database(path: Path, schema: str) -> Database:
    return Database(_found(path, schema), schema, salvage.PAGE_BYTES, read_only=True)


def _found(path: Path, schema: str) -> Path:
    """The path, when something like our file lies there. Raises ExamineError."""
    if not path.exists():
        raise ExamineError(f"{path}: there is no such file: has the agent run with this configuration?")
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        try:
            for table, names in salvage.tables(schema).items():
                if not set(names) <= set(salvage.columns(connection, table)):
                    raise ExamineError(f"{path}: table {table} is not there: this is another program's file")
        except sqlite3.DatabaseError as error:
            cure = "" if salvage.is_busy(error) else "; `tocsin edge journal repair` saves what can be read"
            raise ExamineError(f"{path}: {error}{cure}") from error
    return path
