"""Sliding windows over many interleaved series at once, with history across batches.

The one idea behind every stateful stage: put each series' remembered values in front of its new ones in
one long array, and take all windows from that. Nothing then depends on how batches were cut.
"""

from typing import NamedTuple, TypeVar

import numpy as np
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


def begins(ordered: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Whether each of these values, of which equal ones stand together, is the first of its group, [n]."""
    first = np.ones(len(ordered), bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return first


def lasts_of(starts: Ids, count: int) -> Ids:
    """The last of each group where `count` values fall into groups that begin at `starts`."""
    lasts = np.empty_like(starts)
    lasts[:-1] = starts[1:]
    lasts[-1:] = count
    lasts -= 1
    return lasts


def preceding(values: NDArray[Scalar], starts: Ids, first: NDArray[Scalar]) -> NDArray[Scalar]:
    """What stands before each of the grouped values [n]; `first` [k]: before the first of each group."""
    out = np.empty_like(values)
    out[1:] = values[:-1]
    out[starts] = first
    return out


def ascending(time_ns: NDArray[np.int64], starts: Ids, rank: Ids, newest_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each grouped time is above all before it in its group, [n]; newest_ns: [k], of those before the step."""
    ascends: NDArray[np.bool_] = time_ns > preceding(time_ns, starts, newest_ns)
    if ascends.all():
        return ascends
    # By their ranks, for the times themselves may span all of an int64.
    known, ranks = np.unique(time_ns, return_inverse=True)
    so_far = known[running_max(ranks, rank)]
    out: NDArray[np.bool_] = time_ns > np.maximum(preceding(so_far, starts, newest_ns), newest_ns[rank])
    return out


def segments(ids: NDArray[np.signedinteger]) -> Segments:
    """Group by series. ids: int [n]."""
    order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    first = begins(ordered)
    starts = np.flatnonzero(first)
    return Segments(order, ordered[starts].astype(np.intp), starts, np.cumsum(first) - 1)


def kept(grouped: Segments, keep: NDArray[np.bool_]) -> Segments:
    """The grouping of those grouped values that are kept ([n], in grouped order): `order` is then 0 … m - 1."""
    rank = grouped.rank[keep]
    first = begins(rank)
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
    # All windows, one at each value, laid over each other: what `sliding_window_view` gives, in a tenth of its time.
    shape = (len(longest) - before, before + 1, *values.shape[1:])
    view = np.ndarray(shape, longest.dtype, longest, strides=(longest.strides[0], *longest.strides))
    out: NDArray[Scalar] = view[new - before]
    return out


def windows(grouped: Segments, values: NDArray[Scalar], history: NDArray[Scalar]) -> NDArray[Scalar]:
    """`trailing` of values in order of arrival; what it returns is in grouped order all the same."""
    return trailing(grouped, values[grouped.order], history)
