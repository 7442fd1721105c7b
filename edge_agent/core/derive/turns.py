"""Frames in turns: what depends on the frame before is worked out for all assets at once, frame by frame."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.intp]


def turns(asset: Ids) -> Iterator[Ids]:
    """asset: [n], equal ones side by side. Yields positions: of the first frame of each asset, then of the second."""
    turn = turn_of(asset, np.ones(len(asset), bool))
    order = np.argsort(turn, kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(turn[order])) + 1) if len(order) else ()


def turn_of(asset: Ids, ends: NDArray[np.bool_]) -> Ids:
    """The turn of each frame, where every frame that `ends` marks is the last of its turn. Both [n]."""
    before: Ids = np.cumsum(ends) - ends
    first = np.ones(len(asset), bool)
    first[1:] = asset[1:] != asset[:-1]
    out: Ids = before - before[np.flatnonzero(first)][np.cumsum(first) - 1]
    return out
