"""Operating regimes: which of the declared conditions fits, once it has for a while.

No delay without a dwell time; with one, that is the delay of each change.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.core.align import NEVER
from edge_agent.core.derive.turns import turns
from edge_agent.core.segments import grown

Ids = NDArray[np.intp]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Regimes:
    """State per asset: its regime, the one that fits at present, and since which cell it has."""

    def __init__(self, dwell: int) -> None:
        """dwell: cells from the first frame that fits to the one that changes the regime."""
        self._dwell = dwell
        self.current: Ints = np.empty(0, np.int64)
        self.fitting: Ints = np.empty(0, np.int64)
        self.since: Ints = np.empty(0, np.int64)

    def grow(self, assets: int) -> None:
        """Make room for more assets."""
        self.current, self.fitting = grown(self.current, assets, 0), grown(self.fitting, assets, 0)
        self.since = grown(self.since, assets, NEVER)

    def step(self, asset: Ids, cell: Ints, conditions: Floats) -> Floats:
        """asset, cell: [n], ascending; conditions: [regimes, n], 1 = fits, NaN = unknown. Returns regimes [n]."""
        fits = conditions == 1
        number = np.where(fits.any(axis=0), np.argmax(fits, axis=0) + 1, 0)
        out = np.empty(len(asset))
        for at in turns(asset):
            who, now, fitting = asset[at], cell[at], number[at]
            self.since[who] = np.where(fitting != self.fitting[who], now, self.since[who])
            self.fitting[who] = fitting
            lasts = now - self.since[who] >= self._dwell
            self.current[who] = np.where(lasts, fitting, self.current[who])
            out[at] = self.current[who]
        return out

    def snapshot(self) -> dict[str, Any]:
        """Arrays, [assets] each."""
        return {"current": self.current, "fitting": self.fitting, "since": self.since}

    def restore(self, saved: dict[str, Any], here: Ids, at: Ids) -> None:
        """here: which of the saved assets to take over; at: their present positions."""
        for name, values in saved.items():
            getattr(self, name)[at] = values[here]
