"""The dead letters in the journal's file: letters, the payloads of some, and the marks of those to be taken again.

    deadletter(id, …)                 the newest so many; the first bytes of each
    deadletter_payload(id, …)         whole payloads up to 64 KiB, of the newest letters, up to a bound in bytes
    deadletter_again(id)              `tocsin edge deadletters --rerun` writes these; the agent takes them up

Payloads lie apart, so that listing letters reads no payload and the oldest payloads can go before their letters.
A payload names its letter's arrival too: after a mending, a number alone might be another letter's.
`upto_bytes` is the sum of the payloads up to this one: what lies beyond the bound is found without adding up.
"""

from collections.abc import Sequence
from sqlite3 import Connection
from typing import Any, NamedTuple

from edge_agent.adapters.salvage import checksum
from edge_agent.core.intake import DeadLetter

PAYLOAD_BYTES = 64 * 1024  # a larger payload is not kept
# In the order of the first files: a mending without the first page finds tables by their place.
LETTERS = """
CREATE TABLE IF NOT EXISTS deadletter (
  id INTEGER PRIMARY KEY AUTOINCREMENT, arrival_ns INTEGER NOT NULL, topic TEXT NOT NULL, reason TEXT NOT NULL,
  text TEXT NOT NULL, size_bytes INTEGER NOT NULL, head BLOB NOT NULL);
"""
# Came later: an older file gets these when an agent opens it.
ADDED = """
CREATE TABLE IF NOT EXISTS deadletter_payload (
  id INTEGER PRIMARY KEY, arrival_ns INTEGER NOT NULL, upto_bytes INTEGER NOT NULL, crc INTEGER NOT NULL,
  content BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS deadletter_again (id INTEGER PRIMARY KEY);
"""
MARKED = """SELECT a.id, d.topic, d.arrival_ns, p.crc, p.content FROM deadletter_again AS a
  LEFT JOIN deadletter AS d ON d.id = a.id
  LEFT JOIN deadletter_payload AS p ON p.id = d.id AND p.arrival_ns = d.arrival_ns
  ORDER BY a.id LIMIT ?"""
_PLAIN = """SELECT id, arrival_ns, topic, reason, text, size_bytes, head, 0, NULL FROM deadletter AS d"""
_WHOLE = """SELECT d.id, d.arrival_ns, topic, reason, text, size_bytes, head, p.crc, p.content
  FROM deadletter AS d LEFT JOIN deadletter_payload AS p ON p.id = d.id AND p.arrival_ns = d.arrival_ns"""
_FORWARD, _BACKWARD = "WHERE d.id > ? ORDER BY d.id LIMIT ?", "WHERE d.id < ? ORDER BY d.id DESC LIMIT ?"
_UPTO = "SELECT upto_bytes FROM deadletter_payload ORDER BY id DESC LIMIT 1"
_FIRST_KEPT = "SELECT id FROM deadletter_payload WHERE upto_bytes - length(content) >= ? ORDER BY id LIMIT 1"


_ALL = 1 << 62


class Bounds(NamedTuple):
    """How many letters are kept, and how many bytes of payloads."""

    letters: int
    payload_bytes: int


def size_bytes(letters: Sequence[DeadLetter]) -> int:
    """About what their payloads take in the file."""
    return sum(len(payload) for letter in letters if (payload := _kept(letter)) is not None)


def keep(database: Connection, letters: Sequence[DeadLetter], bounds: Bounds) -> None:
    """Add letters; what is beyond the bounds goes."""
    row = database.execute(_UPTO).fetchone()
    upto = int(row[0]) if row else 0
    for letter in letters:
        columns = tuple(letter[:6])
        number = database.execute(
            "INSERT INTO deadletter(arrival_ns, topic, reason, text, size_bytes, head) VALUES (?, ?, ?, ?, ?, ?)",
            columns,
        ).lastrowid
        payload = _kept(letter)
        if payload is not None:
            upto += len(payload)
            database.execute(
                "INSERT OR REPLACE INTO deadletter_payload VALUES (?, ?, ?, ?, ?)",
                (number, letter.arrival_ns, upto, checksum(payload), payload),
            )
    database.execute("DELETE FROM deadletter WHERE id <= (SELECT max(id) FROM deadletter) - ?", (bounds.letters,))
    first = database.execute("SELECT coalesce(min(id), ?) FROM deadletter", (_ALL,)).fetchone()[0]
    newest = database.execute(_FIRST_KEPT, (upto - bounds.payload_bytes,)).fetchone()
    database.execute("DELETE FROM deadletter_again WHERE id < ?", (first,))
    database.execute("DELETE FROM deadletter_payload WHERE id < ?", (max(first, newest[0] if newest else _ALL),))


def query(*, oldest_first: bool, payloads: bool) -> str:
    """Rows for `letter_of`, behind or before a number, at most so many. Without `payloads` any file can be read."""
    return f"{_WHOLE if payloads else _PLAIN} {_FORWARD if oldest_first else _BACKWARD}"


def letter_of(row: Sequence[Any]) -> DeadLetter:
    """A row of `query`; a damaged payload counts as not kept."""
    _, *columns, crc, content = row
    payload = content if content is not None and checksum(content) == crc else None
    return DeadLetter._make((*columns, payload))


def forget(database: Connection, numbers: Sequence[int]) -> None:
    """Letters that were taken again."""
    rows = [(number,) for number in numbers]
    for table in ("deadletter", "deadletter_payload", "deadletter_again"):
        database.executemany(f"DELETE FROM {table} WHERE id = ?", rows)  # noqa: S608 - names of the schema


def unmark(database: Connection, numbers: Sequence[int]) -> None:
    """Marks that lead to no sound payload any more."""
    database.executemany("DELETE FROM deadletter_again WHERE id = ?", [(number,) for number in numbers])


def _kept(letter: DeadLetter) -> bytes | None:
    """What is kept of the payload: all or nothing."""
    return letter.payload if letter.payload is not None and len(letter.payload) <= PAYLOAD_BYTES else None
