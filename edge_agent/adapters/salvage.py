"""What can be read of a damaged SQLite file, moved into a new one that takes its place.

Rows are read by ascending rowid. Where a page is damaged, the reader halves the range until it stands before the
single row that cannot be read, and goes on behind it in steps that double: the cost is that of the damaged rows,
not of the file. A row with a checksum is taken only when that is right. A lost first page is replaced (`_opened`).

On disk: `X.new` is built whole and synced; `X` is renamed to `X.damaged-N` (of those of the agent's own mending only
the newest N is kept: the disk must not fill up with them); `X.new` becomes `X`. A crash in between is finished at the
next start (`resume`).
Where there is no room for all that can be read, the old file is named `X.damaged-N.unsaved`: it alone has the rest,
so no later mending deletes it. A person does.
"""

import os
import shutil
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

PAGE_BYTES = 4096
_MAX_FAULTS = 20_000  # queries that fail, some seconds: then whole ranges are passed over
_MAX_FIRST_FAULTS = 500  # before any row was read: the table is lost
_LAST_ROWID = (1 << 63) - 1
_UNSAVED = ".unsaved"
_COMMIT_ROWS = 8  # few: they are in memory together, and where room ends the last commit is lost
Finish = Callable[[sqlite3.Connection, bool], None]
HasRoom = Callable[[int], bool]


class Salvaged(NamedTuple):
    """Rows by table. `lost` counts rows with a wrong checksum and row numbers that cannot be read, some unused.

    A count of None: nobody can tell, for the end of the table cannot be read, and neither can its counter.
    When it is not `is_whole`, there was no room for rows that can be read: they count as lost and are in `aside`.
    """

    saved: dict[str, int]
    lost: dict[str, int | None]
    aside: Path
    is_whole: bool


def checksum(content: bytes) -> int:
    """CRC-32, stored beside each blob."""
    return zlib.crc32(content)


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another process holds the file: it says nothing of the file's health."""
    return _code(error) & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file itself is at fault, or the part of the disk under it."""
    code = _code(error)
    return code & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB} or code in {
        sqlite3.SQLITE_IOERR_READ,
        sqlite3.SQLITE_IOERR_SHORT_READ,
    }


def is_foreign(error: sqlite3.Error) -> bool:
    """Whether the file is no SQLite file at all, or its first page is lost: nothing in it can be read."""
    return _code(error) & 0xFF == sqlite3.SQLITE_NOTADB


def is_unreachable(error: sqlite3.Error) -> bool:
    """Whether rights or the file system are in the way: it says nothing of the file's health."""
    return _code(error) & 0xFF in {
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_AUTH,
    } or is_full(error)


def is_full(error: sqlite3.Error) -> bool:
    """Whether something could not be written: the page limit, the disk, a quota."""
    return _code(error) & 0xFF in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR} and not is_damage(error)


def columns(connection: sqlite3.Connection, table: str) -> list[str]:
    """The names of a table's columns; none = no such table."""
    return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]


def tables(schema: str) -> dict[str, list[str]]:
    """Table names and their columns. Small tables first: they carry what the others mean, and room may run out."""
    with closing(sqlite3.connect(":memory:")) as empty:
        empty.executescript(schema)
        names = [row[0] for row in empty.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = {name: columns(empty, name) for name in names if not name.startswith("sqlite_")}
    return dict(sorted(found.items(), key=lambda item: ("crc" in item[1], "arrival_ns" in item[1])))


def rebuild(
    path: Path, schema: str, finish: Finish, has_room: HasRoom | None = None, *, keeps_earlier: bool = False
) -> Salvaged:
    """Replace the file by a new one with all that can be read of it.

    `finish(new, counted)` completes the new file before it takes its place; `counted`: the counters of row numbers
    were read, so that no number is used twice. `has_room(bytes)`: go without the rows for which there is no room;
    without it all are saved or none. `keeps_earlier`: no file that was set aside before goes.
    Raises OSError, sqlite3.Error: the file is as it was.
    """
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    try:
        copied = _build(path, fresh, schema, finish, has_room)
        _sync(fresh)
    except (sqlite3.Error, OSError):
        fresh.unlink(missing_ok=True)  # it takes the room that others need
        raise
    is_whole = not any(copy.left for copy in copied.values())
    aside = _set_aside(path, is_whole=is_whole, keeps_earlier=keeps_earlier)
    fresh.rename(path)
    _sync(path.parent)
    lost = {table: copy.missing for table, copy in copied.items() if copy.missing != 0}
    return Salvaged({table: copy.saved for table, copy in copied.items()}, lost, aside, is_whole)


class _Copied(NamedTuple):
    """Rows of one table; `left`: there was no room for them; `lost` None: it cannot be told."""

    saved: int
    lost: int | None
    left: int

    @property
    def missing(self) -> int | None:
        """How many are not in the new file."""
        return None if self.lost is None else self.lost + self.left


def _build(path: Path, fresh: Path, schema: str, finish: Finish, has_room: HasRoom | None) -> dict[str, _Copied]:
    copied: dict[str, _Copied] = {}
    with closing(sqlite3.connect(fresh, isolation_level=None)) as new:
        new.execute(f"PRAGMA page_size={PAGE_BYTES}")
        new.execute("PRAGMA journal_mode=MEMORY")
        new.execute("PRAGMA synchronous=OFF")  # synced once, below
        new.executescript(schema)
        with _opened(path, fresh.read_bytes()[:PAGE_BYTES]) as old:
            counters = _counters(old)
            wanted = tables(schema)
            added = _added(old, wanted)
            for table, names in wanted.items():
                if table in added:
                    copied[table] = _Copied(0, 0, 0)
                    continue
                copied[table] = _copy(old, new, table, names, (counters or {}).get(table), has_room)
        for table, top in (counters or {}).items():
            raise_counter(new, table, top)
        finish(new, counters is not None)
    return copied


def _added(old: sqlite3.Connection, wanted: Iterable[str]) -> set[str]:
    """Tables that came after this file was made: some of ours are there, and these are not."""
    with suppress(sqlite3.DatabaseError):
        there = {row[0] for row in old.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not there.isdisjoint(wanted):
            return set(wanted) - there
    return set()


@contextmanager
def _opened(path: Path, first_page: bytes) -> Iterator[sqlite3.Connection]:
    """The damaged file. When its first page is lost, which names the tables, a copy with that of a new file.

    Tables made in the same order lie at the same roots, so that page fits. The copy goes when it is read.
    """
    copy = path.with_name(path.name + ".copy")
    old = sqlite3.connect(path, isolation_level=None)
    try:
        try:
            has_tables = bool(old.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
        except sqlite3.DatabaseError as error:
            if is_busy(error) or is_full(error):  # the log needs an index: without room for it nothing is lost yet
                raise
            has_tables = False
        pages = path.stat().st_size // PAGE_BYTES
        if not has_tables and pages > 1:
            old.close()
            shutil.copyfile(path, copy)
            with copy.open("r+b") as file:
                file.write(first_page[:28] + pages.to_bytes(4, "big") + first_page[32:])
                file.truncate(pages * PAGE_BYTES)
            old = sqlite3.connect(copy, isolation_level=None)
        yield old
    finally:
        old.close()
        copy.unlink(missing_ok=True)


def resume(path: Path) -> None:
    """Finish or undo a rebuilding that a crash interrupted: the new file is whole once the old one is gone."""
    path.with_name(path.name + ".copy").unlink(missing_ok=True)
    fresh = path.with_name(path.name + ".new")
    if not fresh.exists():
        return
    if path.exists():
        fresh.unlink()
        return
    _remove_log(path)
    fresh.rename(path)
    _sync(path.parent)


def raise_counter(connection: sqlite3.Connection, table: str, to: int) -> None:
    """No row of the table gets a number of `to` or below from here on."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
    if row is None:
        connection.execute("INSERT INTO sqlite_sequence(name, seq) VALUES (?, ?)", (table, to))
    elif row[0] < to:
        connection.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = ?", (to, table))


class Reader:
    """The readable rows of one table, by ascending rowid."""

    def __init__(self, connection: sqlite3.Connection, table: str, names: list[str]) -> None:
        self._connection, self._faults = connection, 0
        self._is_given_up = False
        self._holes: list[tuple[int, int]] = []
        self._last = 0
        self._query = f"SELECT rowid, {', '.join(names)} FROM {table} WHERE rowid BETWEEN ? AND ? ORDER BY rowid"  # noqa: S608 - names of the schema

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Without the rowid. Raises sqlite3.OperationalError when another process holds the file."""
        ranges = [(0, _LAST_ROWID)]
        while ranges:
            low, high = ranges.pop()
            try:
                for rowid, *row in self._connection.execute(self._query, (low, high)):
                    yield tuple(row)
                    low = self._last = rowid + 1
            except sqlite3.DatabaseError as error:
                if is_busy(error):
                    raise
                if is_foreign(error):
                    self._is_given_up = True
                    return
                self._faults += 1
                if low >= high or self._faults > (_MAX_FAULTS if self._last else _MAX_FIRST_FAULTS):
                    self._holes.append((low, high))
                    continue
                middle = (low + high) // 2
                ranges += [(middle + 1, high), (low, middle)]

    def unreadable(self, top: int | None) -> int | None:
        """How many row numbers cannot be read, of those up to `top`, the table's counter.

        None: it cannot be told, for the end of the table cannot be read, and neither can the counter.
        """
        if self._is_given_up or (top is None and any(high > self._last for _, high in self._holes)):
            return None
        top = max(top or 0, self._last)
        return sum(max(0, min(high, top) - max(low, 1) + 1) for low, high in self._holes)


class Whole:
    """The rows of a small table without row numbers, as far as it can be read."""

    def __init__(self, connection: sqlite3.Connection, table: str, names: list[str]) -> None:
        self._connection, self._is_cut = connection, False
        self._query = f"SELECT {', '.join(names)} FROM {table}"  # noqa: S608 - names of the schema

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """In the table's order, up to the first that cannot be read."""
        try:
            yield from self._connection.execute(self._query)
        except sqlite3.DatabaseError:
            self._is_cut = True

    def unreadable(self, _top: int | None) -> int | None:
        """None: it cannot be told how many."""
        return None if self._is_cut else 0


def _code(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", None) or 0)  # None: an error of Python's own, such as bad UTF-8


def _copy(
    old: sqlite3.Connection,
    new: sqlite3.Connection,
    table: str,
    names: list[str],
    top: int | None,
    has_room: HasRoom | None,
) -> _Copied:
    """Columns that the old file lacks get their defaults. A row counts as saved when its commit is done."""
    with suppress(sqlite3.DatabaseError):
        names = [name for name in names if name in columns(old, table)]
    reader = Whole(old, table, names) if table == "meta" else Reader(old, table, names)
    rows = reader.rows()
    saved = lost = left = 0
    while group := list(islice(rows, _COMMIT_ROWS)):
        if left or (has_room and not has_room(_size_bytes(group))):
            left += len(group)
            continue
        try:
            with transaction(new):
                taken = sum(_insert(new, table, names, row) for row in group)
        except sqlite3.OperationalError as error:
            if has_room is None or not is_full(error):
                raise
            left += len(group)
        else:
            saved, lost = saved + taken, lost + len(group) - taken
    unreadable = reader.unreadable(top)
    return _Copied(saved, None if unreadable is None else lost + unreadable, left)


def _insert(new: sqlite3.Connection, table: str, names: list[str], row: tuple[Any, ...]) -> bool:
    marks = ", ".join("?" * len(names))
    insert = f"INSERT OR IGNORE INTO {table}({', '.join(names)}) VALUES ({marks})"  # noqa: S608 - names of the schema
    try:
        return _is_sound(names, row) and new.execute(insert, row).rowcount == 1
    except sqlite3.IntegrityError:  # a NULL where none may be
        return False


def _size_bytes(rows: list[tuple[Any, ...]]) -> int:
    """About what they take in a file, to whole pages."""
    return sum(PAGE_BYTES + len(value) for row in rows for value in row if isinstance(value, bytes | str))


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")


def _is_sound(names: list[str], row: tuple[Any, ...]) -> bool:
    if "crc" not in names:
        return True
    return isinstance(row[-1], bytes) and checksum(row[-1]) == row[names.index("crc")]


def _counters(old: sqlite3.Connection) -> dict[str, int] | None:
    try:
        return dict(old.execute("SELECT name, seq FROM sqlite_sequence").fetchall())
    except sqlite3.DatabaseError as error:
        if is_busy(error) or is_full(error):
            raise
        return None


def _set_aside(path: Path, *, is_whole: bool, keeps_earlier: bool) -> Path:
    """Under a new number. The files set aside before go, unless they are to stay or hold what is nowhere else."""
    earlier = {file: _number(file) for file in path.parent.glob(f"{path.name}.damaged-*")}
    name = f"{path.name}.damaged-{max(earlier.values(), default=0) + 1}"
    aside = path.with_name(name if is_whole else name + _UNSAVED)
    path.rename(aside)
    for file, number in earlier.items():
        if number and not keeps_earlier and file.suffix != _UNSAVED:
            file.unlink(missing_ok=True)
    _remove_log(path)
    return aside


def _number(aside: Path) -> int:
    """0: a person named it."""
    number = aside.name.removesuffix(_UNSAVED).rpartition("-")[2]
    return int(number) if number.isdecimal() else 0


def _remove_log(path: Path) -> None:
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
