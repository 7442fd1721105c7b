"""Finding the few rows that a store will not take among many that it takes, by writing halves.

A row is refused only when the store blames it: by position, or alone in a request. An answer that blames no row is
doubted: the parts are tried within bounds, what is stored is stored, and nothing is refused.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

from models.contract.batch import Refusal

MAX_ROW_LENGTH = 1000  # characters of a refused row in its receipt
MAX_DOUBTS = 32  # doubted answers before parts are divided no more: enough for two rows among 5000


class Rejected(NamedTuple):
    """Rows are to blame, and sending these again will not help. The others may be stored or not."""

    reason: str
    bad: Mapping[int, str] | None = None  # position -> its own reason; None = it is not known which


class Doubted(NamedTuple):
    """Not all was stored, but no row is to blame: it may be the server's own trouble."""

    reason: str
    is_partial: bool = False  # what could be stored is stored: dividing finds nothing more


class Part(Protocol):
    """Rows that are sent at once."""

    def __len__(self) -> int: ...

    def lines(self) -> Sequence[bytes]:
        """The rows one by one, in the order in which they are sent."""
        ...


P = TypeVar("P", bound=Part)


class Outcome(NamedTuple):
    """What became of all rows. Those neither refused nor in doubt are stored."""

    refused: list[Refusal]
    doubt: str = ""  # why rows are in doubt; "" = none are
    has_stored: bool = True  # some rows went through, so the server is well


class Sieve(Generic[P]):
    """Rows on their way into a store. Knows what is stored already, so `pour` may be called again after it raised."""

    def __init__(self, parts: Iterable[P], pack: Callable[[Sequence[bytes]], P]) -> None:
        self._waiting = list(parts)[::-1]  # the next one is the last
        self._aside: list[P] = []  # in doubt
        self._refused: list[Refusal] = []
        self._has_stored = False
        self._pack = pack

    def pour(self, send: Callable[[P], Rejected | Doubted | None]) -> Outcome:
        """Sends until each row is stored, refused or in doubt; about 2 log2(n) requests a bad row. `None` = stored.

        Rows that were stored before with part of their neighbours are sent again, which changes nothing. What `send`
        raises goes through.
        """
        self._waiting += self._aside[::-1]
        self._aside = []
        doubt, doubts = "", 0
        while self._waiting:
            part = self._waiting[-1]
            answer = send(part)  # when it raises, the part is still waiting
            self._waiting.pop()
            if answer is None:
                self._has_stored = True
            elif isinstance(answer, Rejected):
                self._sort(part, answer)
            else:
                doubt, doubts = answer.reason, doubts + 1
                self._has_stored |= answer.is_partial
                if len(part) == 1 or answer.is_partial or doubts > MAX_DOUBTS:
                    self._aside.append(part)
                else:
                    self._halve(part.lines())
        return Outcome(self._refused, doubt, self._has_stored)

    def _sort(self, part: P, answer: Rejected) -> None:
        lines = part.lines()
        bad = {0: answer.reason} if answer.bad is None and len(lines) == 1 else answer.bad
        if not bad:
            self._halve(lines)
            return
        self._refused += [refusal(lines[at].decode(), bad[at]) for at in sorted(bad)]
        if others := [line for at, line in enumerate(lines) if at not in bad]:
            self._waiting.append(self._pack(others))

    def _halve(self, lines: Sequence[bytes]) -> None:
        middle = len(lines) // 2
        self._waiting += [self._pack(lines[middle:]), self._pack(lines[:middle])]


def refusal(row: str, reason: str) -> Refusal:
    """A refused row as the contract carries it."""
    return Refusal(row=row[:MAX_ROW_LENGTH], reason=reason)
