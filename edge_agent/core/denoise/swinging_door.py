"""Swinging door: readings that a straight line between two reported ones would give anyway are not reported.

The lines from the last report that pass each reading since within `band` form a corridor, which each reading narrows.
As long as the newest reading lies in it, that one alone is kept back: it may be the end of the line. When a reading
lies outside, the one before it is reported, and a new corridor begins there.

Linear interpolation between reported readings differs from none of the denoised values between them by more than
`band`. (The doors of the patent close on the corridor alone, not on the reading, and keep only twice that.)

Delay: the end of a line is reported when the reading after it comes, or with `flush`.

Source: Bristol 1987, US patent 4,669,097; Bristol 1990, Swinging door trending, ISA National Conf. Proc. 45, 749-753.
"""

from math import inf
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edge_agent.core.denoise.reporting import Mark, ReportRows, ReportSettings
from edge_agent.core.denoise.runs import Flags, Floats, Ids, Ints
from edge_agent.core.segments import grown

_NONE = -1


class SwingingDoorSettings(ReportSettings):
    """What lies on a line is not reported."""

    filter: Literal["swinging-door"] = "swinging-door"
    band: float = Field(
        gt=0, le=1e100, description="units; how far linear interpolation of what is reported may be off at most"
    )


class SwingingDoor:
    """State: the corridor, float64 [slots, 3]: value that it begins at, lowest and highest slope a ns; since when.

    And the reading kept back, if any: columns of `ReportRows`, [slots] each.
    """

    def __init__(self, settings: SwingingDoorSettings) -> None:
        self._band, self._max_interval_ns = settings.band, settings.max_interval_ns
        self.corridor: Floats = np.empty((0, 3))
        self.begun_ns: Ints = np.empty(0, np.int64)
        self.is_kept: Flags = np.empty(0, bool)
        self.kept: list[NDArray[Any]] = list(ReportRows.none())

    def grow(self, slots: int) -> None:
        """Make room for more slots."""
        self.corridor = grown(self.corridor, slots, np.nan)
        self.begun_ns = grown(self.begun_ns, slots, 0)
        self.is_kept = grown(self.is_kept, slots, fill=False)
        self.kept = [grown(column, slots, 0) for column in self.kept]

    def step(self, slot: Ids, ends: Ids, rows: ReportRows, marks: list[int]) -> ReportRows:
        """See `Reporter`."""
        band, max_interval_ns, count, aside = self._band, self._max_interval_ns, len(slot), int(Mark.ASIDE)
        # The kept readings come first, one a slot, then the new ones.
        every = ReportRows.joined([self._kept_rows(slot), rows])
        times, values = every.time_ns.tolist(), every.denoised.tolist()
        corridors, begun = self.corridor[slot].tolist(), self.begun_ns[slot].tolist()
        kept = [run if is_kept else _NONE for run, is_kept in enumerate(self.is_kept[slot].tolist())]
        out: list[int] = []
        start = count
        for run, end in enumerate((ends + count).tolist()):
            (y0, low, high), t0, end_of_line = corridors[run], begun[run], kept[run]
            for i in range(start, end):
                t, y, mark = times[i], values[i], marks[i - count]
                if mark == aside:
                    out.append(i)
                    continue
                if mark:
                    out += (i,) if end_of_line == _NONE else (end_of_line, i)
                    t0, y0, low, high, end_of_line = t, y, -inf, inf, _NONE
                    continue
                slope = (y - y0) / (t - t0)
                if end_of_line != _NONE and not low <= slope <= high:
                    out.append(end_of_line)
                    t0, y0, low, high = times[end_of_line], values[end_of_line], -inf, inf
                    slope = (y - y0) / (t - t0)
                if t - t0 >= max_interval_ns:
                    out.append(i)
                    t0, y0, low, high, end_of_line = t, y, -inf, inf, _NONE
                else:
                    reach, end_of_line = band / (t - t0), i
                    low = max(low, slope - reach)
                    high = min(high, slope + reach)
            corridors[run], begun[run], kept[run] = (y0, low, high), t0, end_of_line
            start = end
        self.corridor[slot], self.begun_ns[slot] = corridors, begun
        self._keep(slot, every, np.array(kept, np.intp))
        return every.take(np.array(out, np.intp))

    def flush(self, slot: Ids) -> ReportRows:
        """See `Reporter`."""
        holding = slot[self.is_kept[slot]]
        rows = self._kept_rows(holding)
        self.corridor[holding, 0], self.begun_ns[holding] = rows.denoised, rows.time_ns
        self.corridor[holding, 1:] = -inf, inf
        self.is_kept[holding] = False
        return rows

    def _kept_rows(self, slot: Ids) -> ReportRows:
        return ReportRows(*(column[slot] for column in self.kept))

    def _keep(self, slot: Ids, every: ReportRows, kept: Ids) -> None:
        is_kept = kept != _NONE
        self.is_kept[slot] = is_kept
        for column, values in zip(self.kept, every.take(kept[is_kept]), strict=True):
            column[slot[is_kept]] = values
