"""Streams of readings of a few interleaved channels, and the ways to send them through chains of filters."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_agent.core.denoise import AnyFilterSettings
from edge_agent.core.denoise.chain import Chains
from edge_agent.core.segments import segments
from edge_agent.core.state import dump, load

CHANNELS = 4
START_NS = 1_760_000_000_000_000_000
MOST = 80
Chain = tuple[AnyFilterSettings, ...]


class Stream(NamedTuple):
    """Readings in order of arrival, [n] each; times ascend within each channel."""

    channel: NDArray[np.intp]
    time_ns: NDArray[np.int64]
    value: NDArray[np.float64]

    def of(self, channel: int) -> "Stream":
        mine = self.channel == channel
        return Stream(np.zeros(mine.sum(), np.intp), self.time_ns[mine], self.value[mine])


@dataclass(frozen=True, eq=False)
class Filtered:
    """What came out, [n] each."""

    value: NDArray[np.float64]
    is_spike: NDArray[np.bool_]

    def __eq__(self, other: object) -> bool:
        """To the bit."""
        return (
            isinstance(other, Filtered)
            and self.value.tobytes() == other.value.tobytes()
            and self.is_spike.tobytes() == other.is_spike.tobytes()
        )

    def __hash__(self) -> int:
        raise TypeError


def stream_of(readings: Iterable[tuple[int, float, float]]) -> Stream:
    """Of (channel, seconds since its last reading, value)."""
    now_ns = [START_NS] * CHANNELS
    rows = []
    for channel, dt_s, value in readings:
        now_ns[channel] += max(round(dt_s * 1e9), 1)
        rows.append((channel, now_ns[channel], value))
    channels, times, values = zip(*rows, strict=True) if rows else ((), (), ())
    return Stream(np.array(channels, np.intp), np.array(times, np.int64), np.array(values, np.float64))


def single(values: Sequence[float] | NDArray[np.float64], period_s: float = 1.0) -> Stream:
    """One channel at an even rate."""
    return stream_of((0, period_s, float(value)) for value in values)


def streams(value: st.SearchStrategy[float]) -> st.SearchStrategy[Stream]:
    """Readings a second apart, sooner or later; and now and then a gap of 100 s."""
    dt_s = st.sampled_from([1.0, 1.0, 1.0, 1.0, 0.25, 3.7, 100.0])
    return st.lists(st.tuples(st.integers(0, CHANNELS - 1), dt_s, value), max_size=MOST).map(stream_of)


cuts = st.lists(st.integers(0, MOST), max_size=12)
usual = st.floats(-1e6, 1e6)
# Whole numbers: sums and medians of these are exact, so that an oracle may add them up in another order.
whole = st.one_of(st.integers(-5, 5), st.integers(-1000, 1000)).map(float)


def filtered(
    chains: Sequence[Chain], stream: Stream, cuts: Iterable[int] = (), *, restarts: bool = False, appear: bool = False
) -> Filtered:
    """The stream through the chains ([channels]), cut before the positions `cuts`.

    restarts: between two batches the state goes through bytes into chains that are new. appear: the chains are told of
    a channel only when its first reading is there.
    """
    count = len(stream.value)
    known = 0 if appear else len(chains)
    running, told = Chains(), list(chains[:known])
    running.settle(told)
    out = Filtered(np.full(count, np.nan), np.zeros(count, bool))
    for start, end in pairwise([0, *sorted(min(cut, count) for cut in cuts), count]):
        if start == end:
            continue
        if restarts:
            state = dump(running.snapshot())
            running, told = Chains(), copies(told)
            running.settle(told)
            running.restore(load(state))
        highest = int(stream.channel[start:end].max()) + 1
        if highest > known:
            told += chains[known:highest]
            known = highest
            running.settle(told)
        step(running, stream, np.arange(start, end), out)
    return out


def copies(chains: Sequence[Chain]) -> list[Chain]:
    """Equal, but other objects: as after a restart."""
    return [tuple(one.model_copy() for one in chain) for chain in reversed(chains)][::-1]


def step(chains: Chains, stream: Stream, which: NDArray[np.intp], out: Filtered) -> None:
    """One batch."""
    grouped = segments(stream.channel[which])
    at = which[grouped.order]
    time_ns, value = stream.time_ns[at], stream.value[at]
    time_ns.flags.writeable = value.flags.writeable = False
    out.value[at], out.is_spike[at] = chains.step(grouped, time_ns, value)
