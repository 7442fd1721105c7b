"""Which series of a gateway are taken: those that every store can name, and of these so many.

A database pays for each series for ever, so a gateway that invents them is limited. What it brought before is known
and goes on. Series are kept as 64-bit hashes, 8 bytes each, and nearly every batch repeats a list of series that came
before: then one hash of the whole list is the whole check.

Bounded: at most `max_gateways`, and `max_kept` hashes of all of them. Beyond that the gateway longest unheard of is
forgotten, and may bring as many again: too little is refused then, never too much.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_TAG_CHARS = 1000  # a channel's name and what is derived from it; four of them stay below a store's 64 KiB a key
MAX_GATEWAYS = 20_000
MAX_KEPT = 8_000_000
_MAX_LISTS = 16  # of one gateway: its channels do not all speak in each batch
# What line protocol cannot carry in a tag: control characters, a backslash that would escape what follows.
_NO_TAG = re.compile(r"[\x00-\x1f\x7f]|\\(?=[,= \\]|$)")

Flags = NDArray[np.bool_]
Hashes = NDArray[np.int64]
Tags = tuple[str, ...]


class Verdict(NamedTuple):
    """Of each series of a list: whether no store can name it, and whether it is one too many."""

    is_unfit: Flags
    is_beyond: Flags


@dataclass
class _Known:
    """What one gateway has brought."""

    hashes: Hashes = field(default_factory=lambda: np.empty(0, np.int64))  # ascending
    lists: dict[int, None] = field(default_factory=dict)  # hashes of lists that were taken whole, oldest first


class SeriesGuard:
    """Remembers the series of all gateways since it was made. For one thread at a time."""

    def __init__(self, max_series: int, max_gateways: int = MAX_GATEWAYS, max_kept: int = MAX_KEPT) -> None:
        """`max_series`: of one gateway, all measurements together."""
        self.max_series, self._max_gateways, self._max_kept = max_series, max_gateways, max_kept
        self._gateways: dict[tuple[str, str], _Known] = {}  # heard last = last
        self._kept = 0

    def check(self, gateway: tuple[str, str], measurement: str, series: Sequence[Tags]) -> Verdict | None:
        """None = all are taken. Earlier series of the list come before later ones where not all have room."""
        known = self._gateways.pop(gateway, None) or _Known()
        self._gateways[gateway] = known
        whole = hash((measurement, *series))
        if whole in known.lists:
            return None
        hashes = np.fromiter(map(hash, series), np.int64, len(series)) ^ hash(measurement)
        is_new = ~_contains(known.hashes, hashes)
        verdict = self._admit(known, series, hashes, is_new) if is_new.any() else None
        if verdict is None:
            known.lists[whole] = None
            if len(known.lists) > _MAX_LISTS:
                del known.lists[next(iter(known.lists))]
        self._forget()
        return verdict

    def known(self, gateway: tuple[str, str]) -> int:
        """How many series of this gateway are known."""
        return len(self._gateways[gateway].hashes) if gateway in self._gateways else 0

    def _admit(self, known: _Known, series: Sequence[Tags], hashes: Hashes, is_new: Flags) -> Verdict | None:
        is_unfit = np.zeros(len(series), dtype=bool)
        new = np.flatnonzero(is_new)
        is_unfit[new] = [not all(map(is_fit, series[position])) for position in new.tolist()]
        is_beyond = is_new & ~is_unfit
        found, first = np.unique(hashes[is_beyond], return_index=True)
        admitted = np.sort(found[np.argsort(first)[: self.max_series - len(known.hashes)]])
        known.hashes = np.union1d(known.hashes, admitted)
        self._kept += len(admitted)
        is_beyond &= ~_contains(admitted, hashes)
        return Verdict(is_unfit, is_beyond) if is_unfit.any() or is_beyond.any() else None

    def _forget(self) -> None:
        while len(self._gateways) > 1 and (self._kept > self._max_kept or len(self._gateways) > self._max_gateways):
            self._kept -= len(self._gateways.pop(next(iter(self._gateways))).hashes)


def is_fit(tag: str) -> bool:
    """Whether every store can carry this tag."""
    if not 0 < len(tag) <= MAX_TAG_CHARS:
        return False
    return (tag.isprintable() and "\\" not in tag) or _NO_TAG.search(tag) is None


def _contains(known: Hashes, hashes: Hashes) -> Flags:
    """Of each hash, whether it is among the known ones, which ascend."""
    if not len(known):
        return np.zeros(len(hashes), dtype=bool)
    found: Flags = known[np.minimum(np.searchsorted(known, hashes), len(known) - 1)] == hashes
    return found
