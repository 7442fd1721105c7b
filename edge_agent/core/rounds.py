"""Rows of many assets in rounds: what must go one by one for an asset goes side by side for all of them."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edge_agent.core.segments import begins

Ids = NDArray[np.intp]


def rounds(asset: Ids) -> Iterator[Ids]:
    """Positions of the first row of each asset, then of the second of each that has one, and so on.

    asset: [n], equal ones together.
    """
    if not len(asset):
        return
    first = begins(asset)
    place = np.arange(len(asset)) - np.flatnonzero(first)[np.cumsum(first) - 1]
    most = int(place.max()) + 1
    if most == 1:
        yield np.arange(len(asset))
        return
    order = np.argsort(place, kind="stable")
    yield from np.split(order, np.cumsum(np.bincount(place))[:-1])
