"""The health index as it is published: it follows the model's, and does not flicker.

    model's health ─▶ exponential mean of the asset's scored windows ─▶ whole points, held while they are near

The mean is m += (1 - exp(-1 / health_windows)) * (x - m), and begins at the first window: after a step 63 % of it is
followed within `health_windows` windows, 95 % within three times as many. The published value is the mean rounded to a
whole point when it was last set, and it is set anew only when the mean lies a point or more away from it: noise of the
mean of less than half a point never moves it to and fro. With `health_windows` 0 the model's own value is published.
Alarms are judged by the model's own value. A window without a score changes nothing.

Source of the mean: Brown 1956, Exponential Smoothing for Predicting Demand.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.core.rounds import rounds
from edge_agent.core.segments import grown

Ids = NDArray[np.intp]
Floats = NDArray[np.float64]

_BAND = 1.0  # points


class Health:
    """State: float64 [assets] each, the mean and the published value; NaN = none yet."""

    def __init__(self, windows: float) -> None:
        self._weight = 1.0 - math.exp(-1.0 / windows) if windows else 1.0
        self._is_raw = not windows
        self.mean: Floats = np.empty(0)
        self.published: Floats = np.empty(0)

    def grow(self, assets: int) -> None:
        """Make room for more assets."""
        self.mean, self.published = grown(self.mean, assets, np.nan), grown(self.published, assets, np.nan)

    def step(self, asset: Ids, health: Floats) -> Floats:
        """The published health of n scored windows, those of an asset together and in order; [n] each."""
        if self._is_raw:
            return health
        out = np.empty(len(asset))
        for rows in rounds(asset):
            who, now = asset[rows], health[rows]
            mean = self.mean[who]
            mean = np.where(np.isnan(mean), now, mean + self._weight * (now - mean))
            held = self.published[who]
            held = np.where(np.abs(mean - held) < _BAND, held, np.rint(mean))
            self.mean[who], self.published[who], out[rows] = mean, held, held
        return out

    def take_over(self, other: "Health", assets: Ids) -> None:
        """Go on for these assets where another version of the model stopped."""
        self.mean[assets], self.published[assets] = other.mean[assets], other.published[assets]

    def forget(self, assets: Ids) -> None:
        """Begin anew for these assets."""
        self.mean[assets] = self.published[assets] = np.nan

    def snapshot(self) -> dict[str, Any]:
        """The state as arrays: not a copy."""
        return {"mean": self.mean, "published": self.published}

    def restore(self, saved: dict[str, Any]) -> None:
        """The reverse."""
        self.mean, self.published = saved["mean"], saved["published"]
