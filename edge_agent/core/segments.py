"""Sliding windows over many interleaved series at once, with history across batches.

The one idea behind every stateful stage: put each series' remembered values in front of its new ones in
one long array, and take all windows from that. Nothing then depends on how batches were cut.
"""

from typing import NamedTuple, TypeVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)
Ids = NDArray[np.intp]


class Segments(NamedTuple):
    """n values of interleaved series, grouped by series with their order kept."""

    order: Ids  # [n], puts the values in groups; values so ordered are said to be in grouped order
    series: Ids  # [k], the series touched, ascending
    starts: Ids  # [k], first of each group
    rank: Ids  # [n], which group a value in grouped order belongs to


def grown(state: NDArray[Scalar], count: int, fill: float) -> NDArray[Scalar]:
    """State with room for `count` series; the very same array where it has it: this is asked at each step."""
    more = count - len(state)
    return np.concatenate((state, np.full((more, *state.shape[1:]), fill, state.dtype))) if more > 0 else state


def running_max(values: NDArray[np.int64], rank: Ids) -> NDArray[np.int64]:
    """The running maximum within each group: groups are kept apart by lifting each above the one before.

    The span of the values times the groups must fit an int64.
    """
    low = values.min()
    lift = rank * (values.max() - low + 1)
    out: NDArray[np.int64] = np.maximum.accumulate(values - low + lift) - lift + low
    return out


def segments(ids: NDArray[np.signedinteger]) -> Segments:
    """Group by series. ids: int [n]."""
    order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    first = np.ones(len(ids), bool)
    first[1:] = ordered[1:] != ordered[:-1]
    starts = np.flatnonzero(first)
    return Segments(order, ordered[starts].astype(np.intp), starts, np.cumsum(first) - 1)


def kept(grouped: Segments, keep: NDArray[np.bool_]) -> Segments:
    """The grouping of those grouped values that are kept ([n], in grouped order): `order` is then 0 … m - 1."""
    rank = grouped.rank[keep]
    first = np.ones(len(rank), bool)
    first[1:] = rank[1:] != rank[:-1]
    starts = np.flatnonzero(first)
    return Segments(np.arange(len(rank)), grouped.series[rank[starts]], starts, np.cumsum(first) - 1)


def trailing(grouped: Segments, values: NDArray[Scalar], history: NDArray[Scalar]) -> NDArray[Scalar]:
    """The window that ends at each value, oldest first; `history` is brought up to date in place.

    values: [n, …] in grouped order. history: [series, w - 1, …], newest last. Returns [n, w, …] in grouped order.
    """
    n, before = len(values), history.shape[1]
    k = len(grouped.series)
    longest = np.empty((n + k * before, *values.shape[1:]), values.dtype)
    new = np.arange(n) + (grouped.rank + 1) * before
    bases = grouped.starts + np.arange(k) * before
    old = bases[:, None] + np.arange(before)
    longest[new] = values
    longest[old] = history[grouped.series]
    ends = np.append(bases[1:], len(longest))
    history[grouped.series] = longest[ends[:, None] - before + np.arange(before)]
    view = np.moveaxis(sliding_window_view(longest, before + 1, axis=0), -1, 1)
    out: NDArray[Scalar] = view[new - before]
    return out


def windows(grouped: Segments, values: NDArray[Scalar], history: NDArray[Scalar]) -> NDArray[Scalar]:
    """`trailing` of values in order of arrival; what it returns is in grouped order all the same."""
    return trailing(grouped, values[grouped.order], history)
