"""Frames in turns: what depends on the frame before is worked out for all assets at once, frame by frame."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from edge_agent.core.segments import begins

Ids = NDArray[np.intp]


def turns(asset: Ids) -> list[Ids]:
    """asset: [n], equal ones side by side. Returns positions: of the first frame of each asset, then of the second."""
    turn = turn_of(asset, np.ones(len(asset), bool))
    return parted(turn, int(turn.max(initial=-1)) + 1)


def parted(turn: Ids, count: int) -> list[Ids]:
    """The positions of each of `count` turns, ascending; turn: [n], below `count`."""
    order = np.argsort(turn, kind="stable")
    bounds = np.searchsorted(turn[order], np.arange(count + 1)).tolist()
    return [order[begin:end] for begin, end in pairwise(bounds)]


def turn_of(asset: Ids, ends: NDArray[np.bool_]) -> Ids:
    """The turn of each frame, where every frame that `ends` marks is the last of its turn. Both [n]."""
    before: Ids = np.cumsum(ends) - ends
    first = begins(asset)
    out: Ids = before - before[np.flatnonzero(first)][np.cumsum(first) - 1]
    return out
