"""Rows on their way to an InfluxDB: packed into requests, and what an answer means for them.

Invariants
1. Only 204 means stored. Whatever else answers with success is not the database.
2. Rows are refused only by an answer whose text blames rows; a bare 400 may be the server's own trouble.
3. What needs the processor is done in `prepare`; what that returns sends, and waits for answers.
"""

import re
from collections.abc import Callable, Sequence

from isal import igzip

from aggregator.adapters.http import Answer
from aggregator.core.bisect import Doubted, Rejected, Sieve
from aggregator.core.lines import Block, blocks
from aggregator.core.points import Points
from aggregator.ports import RetryLater, StoreMisconfigured, Undecided, Write
from models.contract.batch import Refusal

# The texts by which InfluxDB 1.x, 2.x and 3.x blame rows, and not themselves, a header or a query.
_BAD_ROWS = re.compile(
    r"unable to parse '|line protocol|partial write|field type conflict|column type|points beyond retention"
    r"|max key length|could not parse entire line|no fields were provided",
    re.IGNORECASE,
)
# A full index: rows of known series are stored; the others are as good as any, once a person has made room.
_FULL = re.compile(r"partial write: max-\S+ limit exceeded", re.IGNORECASE)
_DROPPED = re.compile(r"dropped=(\d+)")
_STORED, _TOO_LARGE = 204, 413
_MAX_REASON = 500  # characters
# Calls in which nothing at all goes through, before rows are left to their gateways: they must not stop all others.
MAX_DOUBTED_CALLS = 8


class Packed:
    """Rows as one request carries them: `body` is line protocol, compressed."""

    def __init__(self, rows: Block | Sequence[bytes]) -> None:
        self._rows = rows
        text = rows.body if isinstance(rows, Block) else b"\n".join(rows)
        # ISA-L's level 1 takes a quarter of zlib's time, which was half of the aggregator's, and makes less of it
        self.body = igzip.compress(text, compresslevel=1, mtime=0)

    def __len__(self) -> int:
        return len(self._rows)

    def lines(self) -> Sequence[bytes]:
        """The rows one by one, in the order of the body where `has_line_numbers`."""
        if not isinstance(self._rows, Block):
            return self._rows
        return self._rows.body.split(b"\n") if self.has_line_numbers() else self._rows.lines()

    def has_line_numbers(self) -> bool:
        """Whether each row is one line of the body: a text may hold a newline."""
        if isinstance(self._rows, Block):
            return self._rows.body.count(b"\n") + 1 == len(self)
        return not any(b"\n" in row for row in self._rows)


def prepare(points: Points, send: Callable[[Packed], Rejected | Doubted | None]) -> Write:
    """A write through `send`, which gives an answer's meaning or raises. Never raises itself.

    Called again after it raised, it goes on where it stopped; called again after it returned, it sends everything
    again, since whoever does so does not believe the database.
    """
    parts = [Packed(block) for block in blocks(points)]
    sieve = Sieve(parts, Packed)
    doubted_calls = 0

    def write() -> list[Refusal]:
        nonlocal sieve, doubted_calls
        refused, doubt, has_stored = sieve.pour(send)
        if doubt:
            doubted_calls += 1
            if has_stored or doubted_calls >= MAX_DOUBTED_CALLS:
                raise Undecided(doubt)
            raise RetryLater(doubt)
        sieve = Sieve(parts, Packed)
        return refused

    return write


def judge(answer: Answer, part: Packed) -> Rejected | Doubted | None:
    """A write's answer: None = all stored. Raises RetryLater, or StoreMisconfigured when a person is needed."""
    status, text = answer.status, answer.text
    reason = reason_of(answer)
    if status == _STORED:
        return None
    if status == _TOO_LARGE:
        return Rejected(reason)
    if status in {400, 422}:
        return _rejected(text, reason, len(part)) if _BAD_ROWS.search(text) else Doubted(reason)
    # 1.x reports an unknown retention policy as its own failure, though it never passes
    if status in {408, 429} or (status >= 500 and "retention policy not found" not in text):
        raise RetryLater(reason, answer.after_s)
    if status < 400:
        raise StoreMisconfigured(f"{reason}: no answer of InfluxDB to a write; is something else at this url?")
    raise StoreMisconfigured(reason)


def reason_of(answer: Answer, text: str | None = None) -> str:
    """For people, and for the receipts of refused rows."""
    return f"HTTP {answer.status}: {(answer.text if text is None else text)[:_MAX_REASON]}"


def _rejected(text: str, reason: str, rows: int) -> Rejected | Doubted:
    if _FULL.search(text):
        return Doubted(reason, is_partial=True)
    dropped = _DROPPED.search(text)
    is_all = dropped is not None and int(dropped[1]) == rows
    return Rejected(reason, dict.fromkeys(range(rows), reason) if is_all else None)
