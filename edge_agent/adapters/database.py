"""How the agent opens its SQLite files: crash-safe, bounded, and set aside rather than refused when damaged.

WAL with synchronous=FULL: what a commit confirmed survives `kill -9` and a power cut. The page limit keeps the
file inside its bound: an SQLite file on a full disk cannot even delete (facts: SQLITE_FULL also on DELETE).
"""

import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from edge_agent.ports import NoRoomError

_log = structlog.get_logger()
PAGE_BYTES = 4096


def open_database(path: Path, schema: str, max_bytes: int) -> sqlite3.Connection:
    """A connection that any thread may use under the caller's lock. A damaged file is renamed `*.damaged-N`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _open(path, schema, max_bytes)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):  # locked, no permission, no disk: the file itself is well
            raise
        aside = _set_aside(path)
        _log.error("a damaged file was set aside; a new one takes its place", file=str(aside), error=str(error))
        return _open(path, schema, max_bytes)


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """All or nothing. Raises NoRoomError when there is no room."""
    try:
        database.execute("BEGIN IMMEDIATE")
        yield
        database.execute("COMMIT")
    except sqlite3.OperationalError as error:
        raise NoRoomError(str(error)) from error
    finally:
        if database.in_transaction:
            database.execute("ROLLBACK")


def checksum(content: bytes) -> int:
    """CRC-32, stored beside each blob."""
    return zlib.crc32(content)


def _open(path: Path, schema: str, max_bytes: int) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    try:
        connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA journal_size_limit=4194304")
        connection.execute(f"PRAGMA max_page_count={max_bytes // PAGE_BYTES}")
        connection.executescript(schema)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _set_aside(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    path.rename(aside)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return aside
