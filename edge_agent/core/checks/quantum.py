"""Quantisation change: values come in much coarser steps than the channel's did before. UNCERTAIN_QUANTUM.

An ADC that has lost bits, or a gateway that rounds all of a sudden. Each WINDOW readings of a channel are looked at
together. Their quantum is the smallest difference between two of their values that are not the same. What was learnt
is the lower quartile of the quanta of the DEPTH windows before. The window is coarse when its quantum is
`quantum_factor` times that or more and

    all its moves are whole multiples of it      a signal that moves fast has large moves, but of any size
    of more than one size, no move included      a straight ramp tells nothing
    between at least three values                a signal that is switched on and off tells nothing

A window with fewer than MOVES moves tells nothing at all: it is not marked and nothing is learnt of it. Marked are
the WINDOW readings from a coarse window's end on. After about three quarters of DEPTH such windows the coarse steps
are what the channel is known for. Warm-up: WARM_UP windows with moves. Delay: WINDOW to 2 WINDOW readings.

Source of the model (rounding to a lattice): Widrow & Kollár 2008, Quantization Noise, ch. 1.
"""

import numpy as np

from edge_agent.core.checks.rows import NONE, Flags, Floats, Ints, Rows
from edge_agent.core.segments import Ids, grown, kept, trailing

WINDOW = 32
MOVES = 8
DEPTH = 16
WARM_UP = 8
_STANDS = 1e-9  # of the largest value: a smaller move is the rounding of floating point
_MULTIPLE = 0.02  # of the quantum: how far a move may be off a whole multiple


class Quantum:
    """State per channel: the last readings, how many there were, the last quanta, and the last verdict."""

    def __init__(self) -> None:
        self.values: Floats = np.empty((0, WINDOW))  # the n-th reading of a channel stands at n % WINDOW
        self.count: Ints = np.empty(0, np.int64)
        self.quanta: Floats = np.empty((0, DEPTH))
        self.is_coarse: Flags = np.empty(0, bool)

    def grow(self, channels: int) -> None:
        """Make room for more channels."""
        self.values = grown(self.values, channels, np.nan)
        self.count = grown(self.count, channels, 0)
        self.quanta = grown(self.quanta, channels, np.nan)
        self.is_coarse = grown(self.is_coarse, channels, 0)

    def step(self, rows: Rows, quantum_factor: Floats) -> Ids:
        """The readings in coarse steps; quantum_factor: [channels]."""
        series, starts, rank = rows.grouped.series, rows.grouped.starts, rows.grouped.rank
        number = np.arange(len(rank)) - starts[rank] + 1 + self.count[series][rank]
        self.count[series] = number[rows.ends]
        is_end = number % WINDOW == 0
        ends = np.flatnonzero(is_end)
        windows = self._windows(rows, number, ends)
        if not len(ends) and not self.is_coarse[series].any():
            return NONE
        verdict = np.zeros(len(ends), bool)
        quantum = _quanta(windows)
        moves = np.flatnonzero(np.isfinite(quantum))
        if len(moves):
            is_end[:] = False
            is_end[ends[moves]] = True
            past = trailing(kept(rows.grouped, is_end), quantum[moves], self.quanta)[:, :-1]
            learnt, windows_before = _lower_quartile(past)
            limit = learnt * quantum_factor[series][rank[ends[moves]]]
            larger = moves[(windows_before >= WARM_UP) & (quantum[moves] >= limit)]
            verdict[larger] = _is_lattice(windows[larger], quantum[larger])
        # Each reading has the verdict of the last window that ended at it or before, maybe in an earlier step.
        latest = np.zeros(len(rank), np.intp)
        latest[ends] = np.arange(len(ends)) + 1
        latest = np.maximum.accumulate(latest)
        is_own = (latest > 0) & (np.append(-1, ends)[latest] >= starts[rank])
        coarse = np.where(is_own, np.append(False, verdict)[latest], self.is_coarse[series][rank])
        self.is_coarse[series] = coarse[rows.ends]
        return np.flatnonzero(coarse)

    def _windows(self, rows: Rows, number: Ints, ends: Ids) -> Floats:
        """Those that end at `ends` [m, WINDOW], NaN before the first reading; number: [n], of each on its channel."""
        rank, channel = rows.grouped.rank, rows.series[rows.grouped.rank]
        back = np.arange(1 - WINDOW, 1)
        at = ends[:, None] + back
        is_new = at >= rows.grouped.starts[rank[ends]][:, None]
        old = self.values[channel[ends][:, None], (number[ends][:, None] + back) % WINDOW]
        windows: Floats = np.where(is_new, rows.value[np.maximum(at, 0)], old)
        last = np.arange(len(rank)) > rows.ends[rank] - WINDOW
        self.values[channel[last], number[last] % WINDOW] = rows.value[last]
        return windows


def _quanta(windows: Floats) -> Floats:
    """That of each of windows [m, WINDOW], NaN where no reading was; NaN where there are too few moves."""
    stands = _stands(windows)
    apart = np.diff(np.sort(windows, axis=1), axis=1)
    quantum: Floats = np.where(apart > stands, apart, np.inf).min(axis=1)
    quantum[np.count_nonzero(np.abs(np.diff(windows, axis=1)) > stands, axis=1) < MOVES] = np.nan
    return quantum


def _is_lattice(windows: Floats, quantum: Floats) -> Flags:
    """Whether the values of windows [m, WINDOW] lie on steps of quantum [m], as far as they tell."""
    stands = _stands(windows)
    moved = np.abs(np.diff(windows, axis=1))
    times = np.where(moved > stands, moved / quantum[:, None], 0.0)  # a NaN is no move, as in _quanta
    sizes = np.rint(times)
    levels = np.count_nonzero(np.diff(np.sort(windows, axis=1), axis=1) > stands, axis=1) + 1
    is_multiple = (np.abs(times - sizes) <= _MULTIPLE).all(axis=1)
    out: Flags = is_multiple & (sizes.min(axis=1) < sizes.max(axis=1)) & (levels >= 3)
    return out


def _stands(windows: Floats) -> Floats:
    """The largest move [m, 1] that is none."""
    out: Floats = _STANDS * np.fmax.reduce(np.abs(windows), axis=1)[:, None]
    return out


def _lower_quartile(past: Floats) -> tuple[Floats, Ints]:
    """Of rows [m, DEPTH] without their NaN: (a quarter from below, how many there are)."""
    ordered = np.sort(past, axis=1)
    used = np.sum(~np.isnan(past), axis=1)
    quartile: Floats = ordered[np.arange(len(past)), used // 4]
    return quartile, used
