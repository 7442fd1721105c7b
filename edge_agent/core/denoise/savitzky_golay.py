"""Savitzky-Golay filter, causal: the polynomial that fits the last readings best, taken at the newest one.

Keeps slopes and curves that a moving mean flattens, and gives derivatives. The window is the last `window` readings
of the channel, the newest included, taken for evenly spaced. Delay: none for a signal that is a polynomial of degree
`order`; where `order` is no more than `derivative`, half a window. Warm-up: the polynomial of the readings there are,
of as high an order as they determine: the first `order` + 1 readings pass unchanged.

Source: Savitzky & Golay 1964, Anal. Chem. 36(8), 1627-1639; at the end of the window: Gorry 1990, Anal. Chem. 62(6),
570-573.
"""

import math
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from edge_agent.core.denoise.median import warming
from edge_agent.core.denoise.runs import EvenRateSettings, Flags, Floats, Ints, Runs, lagged, rows
from edge_agent.core.segments import grown


class SavitzkyGolaySettings(EvenRateSettings):
    """A polynomial through the last readings, or its derivative, at the newest one."""

    filter: Literal["savitzky-golay"] = "savitzky-golay"
    window: int = Field(ge=3, le=99, description="readings, the newest included")
    order: int = Field(2, ge=0, le=5, description="degree of the polynomial")
    derivative: int = Field(0, ge=0, le=2, description="0: the value; 1, 2: its derivative, units a s, units a s^2")

    @model_validator(mode="after")
    def _possible(self) -> "SavitzkyGolaySettings":
        if self.order >= self.window:
            raise ValueError(f"order {self.order} needs a window of at least {self.order + 1} readings")
        if self.derivative > self.order:
            raise ValueError(f"derivative {self.derivative} needs an order of at least {self.derivative}")
        return self

    def delay_s(self, period_s: float) -> float:
        """None as soon as the polynomial can follow a change."""
        return 0.0 if self.order > self.derivative else (self.window - 1) / 2 * period_s


class SavitzkyGolay:
    """State: float64 [slots, window - 1], the last readings of each slot, NaN where none was."""

    def __init__(self, settings: SavitzkyGolaySettings) -> None:
        self._weights = np.array([_weights(settings, there) for there in range(1, settings.window + 1)])
        self._adds_newest = settings.derivative == 0
        self.history: Floats = np.empty((0, settings.window - 1))

    def grow(self, slots: int) -> None:
        """Make room for more slots."""
        self.history = grown(self.history, slots, np.nan)

    def step(self, runs: Runs, _time_ns: Ints, value: Floats) -> tuple[Floats, Flags | None]:
        """See `Filter`."""
        # Weights of a value add up to 1, those of a derivative to 0. Weighing distances from the newest reading is
        # the same, and keeps a constant one to the bit. All sums go from the oldest to the newest.
        window = lagged(runs, value, self.history)
        newest = window.columns[0]
        total = np.zeros(len(newest))
        for column, weight in zip(window.columns[:0:-1], self._weights[-1].tolist(), strict=False):
            total += weight * (column - newest)
        fitted = total[window.at]
        young = np.flatnonzero(warming(window))
        if len(young):
            past = rows(window, young) - value[young, None]
            missing = np.isnan(past)
            past = np.where(missing, 0.0, past) * self._weights[-1 - missing.sum(axis=1)]
            fitted[young] = np.cumsum(past, axis=1)[:, -1]  # not a plain sum, whose order depends on the shape
        return (value + fitted if self._adds_newest else fitted), None


def _weights(settings: SavitzkyGolaySettings, there: int) -> Floats:
    """What each reading of a window counts of which `there` are there, [window], oldest first."""
    weights = np.zeros(settings.window)
    order = min(settings.order, there - 1)
    if order >= settings.derivative:
        positions = np.arange(1 - there, 1) / settings.window  # below 1, so that no power grows large
        fit = np.linalg.pinv(np.vander(positions, order + 1, increasing=True))[settings.derivative]
        weights[-there:] = (
            fit * math.factorial(settings.derivative) * (settings.rate_hz / settings.window) ** settings.derivative
        )
    return weights
