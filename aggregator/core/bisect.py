"""Finding the few rows that a store refuses among many that it takes, by writing halves."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from models.contract.batch import Refusal

MAX_ROW_LENGTH = 1000  # characters of a refused row in its receipt


class Rejected(NamedTuple):
    """A store's answer: not all of these lines were stored, and sending them again will not help."""

    reason: str
    is_all: bool = False  # the reason is known to hold for each of the lines


def isolate(lines: Sequence[bytes], send: Callable[[Sequence[bytes]], Rejected | None]) -> list[Refusal]:
    """Writes lines through `send` until each is stored or refused alone; about log2(n) requests a bad line.

    Halves that were stored before in part are sent again, which changes nothing. What `send` raises goes through.
    """
    if not lines:
        return []
    rejected = send(lines)
    if rejected is None:
        return []
    if rejected.is_all or len(lines) == 1:
        return [refusal(line.decode(), rejected.reason) for line in lines]
    middle = len(lines) // 2
    return isolate(lines[:middle], send) + isolate(lines[middle:], send)


def refusal(row: str, reason: str) -> Refusal:
    """A refused row as the contract carries it."""
    return Refusal(row=row[:MAX_ROW_LENGTH], reason=reason)
