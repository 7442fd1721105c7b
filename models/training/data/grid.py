"""Readings onto the grid of frames, as the edge agent aligns them with `align = "hold"`.

Cell k with period p holds the readings with (k-1)p < t <= kp; its frame, stamped kp, has for each channel the last
reading of the cell, else the last one before for as long as `hold_s`. So a model learns from the frames that it will
see live.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Readings(NamedTuple):
    """m readings of one machine, in order of time; of equal times the later one counts."""

    channel: NDArray[np.intp]  # [m]
    time_ns: Ints  # [m]
    value: Floats  # [m], finite


class Stretch(NamedTuple):
    """Frames that follow each other; NaN where no value holds."""

    time_ns: Ints  # [rows], of each frame: its cell's end
    values: Floats  # [rows, channels]


def align(readings: Readings, hold_s: Sequence[float], period_s: float) -> Iterator[Stretch]:
    """The frames, in stretches between which nothing holds: a gap of a year costs nothing.

    hold_s: of each channel; 0: a value stands in its own cell only.
    """
    if not len(readings.value):
        return
    period_ns = round(period_s * 1e9)
    holds = [int(each / period_s + 1e-9) for each in hold_s]
    cell = -(-readings.time_ns // period_ns)
    longest = max(holds)
    breaks = np.flatnonzero(np.diff(cell) > longest + 1) + 1
    for part in np.split(np.arange(len(cell)), breaks):
        # Before a gap the last values hold on; behind the last reading of all nothing is known to come.
        end = int(cell[part[-1]]) + (longest if part[-1] < len(cell) - 1 else 0)
        cells = np.arange(cell[part[0]], end + 1)
        values = np.full((len(cells), len(holds)), np.nan)
        for channel, hold in enumerate(holds):
            mine = part[readings.channel[part] == channel]
            if not len(mine):
                continue
            last = np.searchsorted(cell[mine], cells, side="right") - 1
            at = mine[np.maximum(last, 0)]
            is_held = (last >= 0) & (cells - cell[at] <= hold)
            values[is_held, channel] = readings.value[at[is_held]]
        yield Stretch(cells * period_ns, values)
