"""How the agent keeps an SQLite file: crash-safe, bounded, and mended where it stands when it is damaged.

On disk
    X, X-wal, X-shm    WAL with synchronous=FULL: what a commit confirmed survives `kill -9` and a power cut
    X.damaged-N        the newest damaged file, for a person to look at; what can be read of it is in X (salvage.py);
                       when a person has the file mended, the earlier ones stay as well
    X.damaged-N.unsaved  for some of it there was no room in X
    ballast            room put by for a full disk (ballast.py)

Rules
1. `X` never has more than `max_bytes`; an eighth of it, 4 MiB at most, is kept for what frees room and for starting.
   The log is cut to 4 MiB after each checkpoint, which follows each commit that takes it beyond that.
2. Near a full disk the file stops growing and lives on its own free pages; on a full one, work that frees room gets
   the ballast. Nothing else may use that.
3. Damage met at opening or by any statement is mended at once and the work is done again. A file is checked at
   opening when the last process did not close it, for half a second at most: the rest is found when it is read.
   All that can be read is saved, with the ballast's room if need be; only when that is not enough, what fits.
4. A deletion writes no zeros over what it deletes: the build of SQLite may do so unasked, and would write every
   batch a second time.
"""

import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import structlog

from edge_agent.adapters import salvage
from edge_agent.adapters.ballast import Ballast
from edge_agent.adapters.salvage import PAGE_BYTES, Finish, Salvaged, transaction
from edge_agent.core.errors import StartError
from edge_agent.ports import NoRoomError

_log = structlog.get_logger()
_RESERVED_PAGES = 1024
_LOG_BYTES = 4 * 1024 * 1024
_CHECK_S = 0.5
T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]


class BoundError(NoRoomError):
    """The file has reached its own bound: less must be kept in it. The disk may have room."""


class Database:
    """One file; safe for several threads. `work` may be called twice and does nothing but SQL."""

    def __init__(
        self,
        path: Path,
        schema: str,
        max_bytes: int,
        finish: Finish = lambda _new, _counted: None,
        *,
        read_only: bool,
        keeps_earlier: bool = False,
    ) -> None:
        """`finish`, `keeps_earlier`: see `salvage.rebuild`. `read_only`: look beside a running agent; mend nothing.

        Raises StartError when the file cannot be opened, NoRoomError when a full disk or another program is in the
        way; read-only it may also raise sqlite3.DatabaseError.
        """
        self.path, self._schema, self._finish = path, schema, finish
        self._pages = max_bytes // PAGE_BYTES
        self._reserve = min(_RESERVED_PAGES, self._pages // 8)
        self._limit = self._pages  # of the next commit; 1: the file does not grow
        self._lock = threading.RLock()
        self._ballast = Ballast(path.parent)
        self._is_read_only, self._is_open = read_only, read_only
        self._keeps_earlier = keeps_earlier
        self._salvaged: Salvaged | None = None  # what opening did
        if read_only:
            self._connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection, self._is_open = self._open(), True
        self._ballast.restore()

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """All rows of a query.

        Raises NoRoomError when the disk or another program is in the way; read-only sqlite3.DatabaseError instead.
        """
        with self._lock:
            return self._reading(lambda: self._connection.execute(query, parameters).fetchall())

    def scalar(self, query: str) -> int:
        """The one number that a query gives. Raises as `rows` does."""
        return int(self.rows(query)[0][0])

    def add(self, work: Work[T], size_bytes: int, *, reserve: bool = False) -> T:
        """Commit work that adds about `size_bytes`; `reserve`: it may use the pages kept back.

        Raises BoundError, NoRoomError: nothing was kept.
        """
        with self._lock:
            has_room = self._ballast.has_room(size_bytes)
            self._limit = self._pages if has_room else 1
            try:
                return self._commit(work if reserve else self._sparing(work))
            except sqlite3.OperationalError as error:
                if not salvage.is_full(error):
                    raise NoRoomError(f"{self.path.name}: {error}") from error
                if has_room and error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                    raise BoundError(f"{self.path.name} has reached its bound") from error
                with suppress(sqlite3.Error):  # the failed commit lies in the log: give its room back
                    self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                raise NoRoomError(f"{self.path.name}: the disk is full ({error})") from error

    def free(self, work: Work[T]) -> T:
        """Commit work that frees room: as it is, then with the reserved pages, then with the ballast.

        Raises NoRoomError.
        """
        with self._lock:
            for more_room in (self._allow_all, self._ballast.release, None):
                try:
                    return self._commit(work)
                except sqlite3.OperationalError as error:
                    if more_room is None or not salvage.is_full(error):
                        raise NoRoomError(f"{self.path.name}: {error}") from error
                    more_room()
            raise AssertionError  # the last round returns or raises

    def pages(self) -> tuple[int, int]:
        """(in the file, of them free). Raises as `rows` does."""
        with self._lock:
            return self._reading(lambda: _pages(self._connection))

    def tend(self) -> None:
        """To be called now and then: puts the ballast back once the disk has room."""
        self._ballast.restore()

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._connection.close()

    def _sparing(self, work: Work[T]) -> Work[T]:
        """The work, refused before its commit when it takes of the pages kept back."""

        def spared(connection: sqlite3.Connection) -> T:
            result = work(connection)
            used, free = _pages(connection)
            if self._pages - used + free < self._reserve:
                raise BoundError(f"{self.path.name} has reached its bound")
            return result

        return spared

    def _allow_all(self) -> None:
        self._limit = self._pages

    def _commit(self, work: Work[T]) -> T:
        def once() -> T:
            # A limit below the present size is taken for that size.
            self._connection.execute(f"PRAGMA max_page_count={self._limit}")
            with transaction(self._connection):
                return work(self._connection)

        return self._mending(once)

    def _reading(self, once: Callable[[], T]) -> T:
        try:
            return self._mending(once)
        except sqlite3.OperationalError as error:
            if self._is_read_only:
                raise
            raise NoRoomError(f"{self.path.name} cannot be read now: {error}") from error

    def _mending(self, once: Callable[[], T]) -> T:
        """Do it; when the file is damaged, mend that and do it again. Raises NoRoomError when that cannot be done."""
        if not self._is_open:  # the last mending failed
            self._connection, self._is_open = self._open(), True
        try:
            return once()
        except sqlite3.DatabaseError as error:
            if self._is_read_only or not salvage.is_damage(error):
                raise
            self._mend(error)
        return once()

    def mend(self) -> Salvaged:
        """Rebuild the file by what can be read of it, if opening has not done so. Raises NoRoomError."""
        with self._lock:
            if self._salvaged is None:
                self._salvaged = self._mend("a person had it mended")
            return self._salvaged

    def _mend(self, reason: object) -> Salvaged:
        """Raises NoRoomError: nothing was lost by trying; the next call tries again."""
        self._is_open = False
        with suppress(sqlite3.Error, AttributeError):  # at opening there is no connection yet
            self._connection.close()
        try:
            done = self._rebuilt()
            _log.error(
                "a damaged file was set aside; what can be read of it was saved"
                if done.is_whole
                else "a damaged file was set aside; there is no room for all that can be read of it: the rest is there",
                file=str(done.aside),
                error=str(reason),
                saved=done.saved,
                lost_at_most={table: _number(count) for table, count in done.lost.items()},
            )
            self._connection = self._connect()
        except (sqlite3.Error, OSError) as error:
            raise NoRoomError(f"{self.path.name} is damaged ({reason}) and cannot be mended now: {error}") from error
        self._is_open = True
        return done

    def _rebuilt(self) -> Salvaged:
        """Whole; or whole with the ballast's room; or as much as leaves room for the log."""
        for has_room, is_last in ((None, False), (None, False), (self._ballast.has_room, True)):
            try:
                return salvage.rebuild(
                    self.path, self._schema, self._finish, has_room, keeps_earlier=self._keeps_earlier
                )
            except (sqlite3.Error, OSError) as error:
                if is_last or (isinstance(error, sqlite3.Error) and not salvage.is_full(error)):
                    raise
                self._ballast.release()
        raise AssertionError  # the last round returns or raises

    def _open(self) -> sqlite3.Connection:
        salvage.resume(self.path)
        log = self.path.with_name(self.path.name + "-wal")
        was_closed = not log.exists() or not log.stat().st_size
        for is_last in (False, True):
            try:
                return self._connect(is_checked=not was_closed)
            except sqlite3.DatabaseError as error:
                if salvage.is_damage(error) or isinstance(error, _ForeignError):
                    self._salvaged = self._mend(error)
                    return self._connection
                if is_last or salvage.is_busy(error):
                    raise NoRoomError(f"{self.path}: cannot be opened now: {error}") from error
                if not salvage.is_full(error):
                    raise StartError(f"{self.path}: cannot be opened: {error}") from error
                self._ballast.release()
        raise AssertionError  # the last round returns or raises

    def _connect(self, *, is_checked: bool = False) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=10)
        try:
            connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA secure_delete=OFF")
            connection.execute(f"PRAGMA journal_size_limit={_LOG_BYTES}")
            connection.executescript(self._schema)
            for table, names in salvage.tables(self._schema).items():
                if not set(names) <= set(salvage.columns(connection, table)):
                    raise _ForeignError(f"table {table} is not this program's")
            if is_checked:
                _check(connection)
        except sqlite3.Error:
            connection.close()  # at once: closed later, it would take the log of the file in its place away
            raise
        return connection


class _ForeignError(sqlite3.DatabaseError):
    """A sound SQLite file, but of another program."""


def _number(lost: int | None) -> int | str:
    return "an unknown number" if lost is None else lost


def _pages(connection: sqlite3.Connection) -> tuple[int, int]:
    used = int(connection.execute("PRAGMA page_count").fetchone()[0])
    return used, int(connection.execute("PRAGMA freelist_count").fetchone()[0])


def _check(connection: sqlite3.Connection) -> None:
    """Raises sqlite3.DatabaseError when pages are found damaged in the time that is allowed."""
    clock = threading.Timer(_CHECK_S, connection.interrupt)
    clock.start()
    try:
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        return
    finally:
        clock.cancel()
        clock.join()  # a late interrupt must not hit the next statement
    if found != "ok":
        fault = sqlite3.DatabaseError(str(found))
        fault.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise fault
