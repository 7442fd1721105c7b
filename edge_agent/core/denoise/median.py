"""Medians of sliding windows, and the moving median as a filter.

The moving median takes out single spikes and keeps steps; it does not mark. Causal: the window is the last `window`
readings of the channel, the newest included. Delay: (window - 1) / 2 readings. Warm-up: the median of what is there.

Source: Tukey 1977, Exploratory Data Analysis, chapter 7. Sorting networks: Batcher 1968, AFIPS 32, 307-314.
"""

from collections.abc import Sequence
from functools import cache
from typing import Literal

import numpy as np
from pydantic import Field

from edge_agent.core.denoise.runs import FilterSettings, Flags, Floats, Ints, Lagged, Runs, lagged, rows
from edge_agent.core.segments import grown

# A network of minima and maxima over whole columns beats a sort of each row by far, where there are many rows.
_WIDEST, _FEW = 15, 400


class MedianSettings(FilterSettings):
    """The middle of the last readings."""

    filter: Literal["median"] = "median"
    window: int = Field(ge=3, le=99, description="readings, the newest included")

    def delay_s(self, period_s: float) -> float:
        """Half a window."""
        return (self.window - 1) / 2 * period_s


class MovingMedian:
    """State: float64 [slots, window - 1], the last readings of each slot, NaN where none was."""

    def __init__(self, settings: MedianSettings) -> None:
        self.history: Floats = np.empty((0, settings.window - 1))

    def grow(self, slots: int) -> None:
        """Make room for more slots."""
        self.history = grown(self.history, slots, np.nan)

    def step(self, runs: Runs, _time_ns: Ints, value: Floats) -> tuple[Floats, Flags | None]:
        """See `Filter`."""
        window = lagged(runs, value, self.history)
        median = medians(window.columns)[window.at]
        young = np.flatnonzero(warming(window))
        if len(young):
            median[young] = medians_of_known(rows(window, young))
        return median, None


def warming(window: Lagged) -> Flags:
    """Whether a reading's window is not full yet, [m]: only its oldest can tell."""
    return np.isnan(window.columns[-1][window.at])


def medians_of_known(past: Floats) -> Floats:
    """The median of each row [n, w] without its NaN, [n]; no row is NaN throughout."""
    ordered = np.sort(past, axis=1)  # NaN last
    used = np.sum(~np.isnan(past), axis=1)
    at = np.arange(len(past))
    out: Floats = (ordered[at, (used - 1) // 2] + ordered[at, used // 2]) / 2
    return out


def medians(columns: Sequence[Floats]) -> Floats:
    """The median of the values that stand at the same position, [positions]; NaN where one of them is."""
    width = len(columns)
    low, high = (width - 1) // 2, width // 2
    if width > _WIDEST or len(columns[0]) < _FEW:
        middle = np.partition(np.array(columns), (low, high), axis=0)
        out: Floats = (middle[low] + middle[high]) / 2
        return out
    lines = list(columns)
    for a, b, keeps_min, keeps_max in _network(width):
        first, second = lines[a], lines[b]
        if keeps_min:
            lines[a] = np.minimum(first, second)
        if keeps_max:
            lines[b] = np.maximum(first, second)
    if low == high:
        return lines[low]
    mean: Floats = (lines[low] + lines[high]) / 2
    return mean


@cache
def _network(width: int) -> tuple[tuple[int, int, bool, bool], ...]:
    """Batcher's merge exchange for `width` lines, without what the two middle lines do not need."""
    needed = {(width - 1) // 2, width // 2}
    used: list[tuple[int, int, bool, bool]] = []
    for a, b in reversed(_merge_exchange(width)):
        if a in needed or b in needed:
            used.append((a, b, a in needed, b in needed))
            needed |= {a, b}
    return tuple(reversed(used))


def _merge_exchange(width: int) -> list[tuple[int, int]]:
    pairs: list[tuple[int, int]] = []
    sorted_by = 1
    while sorted_by < width:
        apart = sorted_by
        while apart:
            for block in range(apart % sorted_by, width - apart, 2 * apart):
                pairs += [
                    (line, line + apart)
                    for line in range(block, min(block + apart, width - apart))
                    if line // (2 * sorted_by) == (line + apart) // (2 * sorted_by)
                ]
            apart //= 2
        sorted_by *= 2
    return pairs
