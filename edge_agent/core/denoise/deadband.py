"""Deadband: a reading is reported when its denoised value has left the last reported one by more than `band`.

Between two reports the signal lay within `band` of the first of them: hold the last value to draw it. Delay: none.

Source: the deadband filter of OPC UA, Part 4, 7.22.2 (absolute).
"""

from typing import Literal

import numpy as np
from pydantic import Field

from edge_agent.core.denoise.reporting import Mark, ReportRows, ReportSettings
from edge_agent.core.denoise.runs import Floats, Ids, Ints
from edge_agent.core.segments import grown


class DeadbandSettings(ReportSettings):
    """Small changes are not reported."""

    filter: Literal["deadband"] = "deadband"
    band: float = Field(ge=0, le=1e100, description="units; a larger change is reported. 0: any change")


class Deadband:
    """State: float64 [slots], the value reported last; int64 [slots], its time."""

    def __init__(self, settings: DeadbandSettings) -> None:
        self._band, self._max_interval_ns = settings.band, settings.max_interval_ns
        self.reported: Floats = np.empty(0)
        self.reported_ns: Ints = np.empty(0, np.int64)

    def grow(self, slots: int) -> None:
        """Make room for more slots."""
        self.reported = grown(self.reported, slots, np.nan)
        self.reported_ns = grown(self.reported_ns, slots, 0)

    def step(self, slot: Ids, ends: Ids, rows: ReportRows, marks: list[int]) -> ReportRows:
        """See `Reporter`."""
        band, max_interval_ns, aside = self._band, self._max_interval_ns, int(Mark.ASIDE)
        times, values = rows.time_ns.tolist(), rows.denoised.tolist()
        lasts, lasts_ns = self.reported[slot].tolist(), self.reported_ns[slot].tolist()
        out: list[int] = []
        start = 0
        for run, end in enumerate(ends.tolist()):
            last, last_ns = lasts[run], lasts_ns[run]
            for i in range(start, end):
                if marks[i] == aside:
                    out.append(i)
                elif marks[i] or times[i] - last_ns >= max_interval_ns or abs(values[i] - last) > band:
                    out.append(i)
                    last, last_ns = values[i], times[i]
            lasts[run], lasts_ns[run] = last, last_ns
            start = end
        self.reported[slot], self.reported_ns[slot] = lasts, lasts_ns
        return rows.take(np.array(out, np.intp))

    def flush(self, _slot: Ids) -> ReportRows:
        """See `Reporter`: nothing is ever kept back."""
        return ReportRows.none()
