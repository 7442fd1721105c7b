"""Exponential smoothing: each reading pulls the smoothed value towards itself, the more the longer it was awaited.

    y += (1 - exp(-dt / time_constant_s)) * (x - y)

Correct for readings that come irregularly. Causal. Delay: a ramp lags by dt / (exp(dt / time_constant_s) - 1), about
`time_constant_s` - dt / 2 where readings come often. Warm-up: begins at the first reading. A gap is a long dt: nothing
more is needed, so that by default the filter never begins anew.

Source: Brown 1956, Exponential Smoothing for Predicting Demand; for irregular times Wright 1986, Management Science
32(4), 499-510.
"""

import math
from typing import Literal

import numpy as np
from pydantic import Field

from edge_agent.core.denoise.runs import FilterSettings, Flags, Floats, Ints, Runs, elapsed_s, remember, remembered
from edge_agent.core.segments import grown, preceding


class ExponentialSettings(FilterSettings):
    """The mean of the past, the weight of a reading fading with its age."""

    filter: Literal["exponential"] = "exponential"
    time_constant_s: float = Field(
        gt=0, le=1e9, description="s; after a step, 63 % of it is followed within this time, 95 % within three times"
    )

    def delay_s(self, period_s: float) -> float:
        """The lag behind a ramp."""
        return period_s / math.expm1(min(period_s / self.time_constant_s, 700.0))


class Exponential:
    """State: float64 [slots, 2], the last reading and how far the smoothed value lies above it; int64 [slots], when.

    The lag d = y - x is what is followed: d_t = c_t (d_{t-1} + x_{t-1} - x_t) with c_t = exp(-dt / time_constant_s).
    A constant then stays one to the bit. The recursion is a lower bidiagonal system of equations, solved by LAPACK from
    top to bottom, one element a row: 5 ns a reading, and no bit depends on where a batch begins.
    """

    def __init__(self, settings: ExponentialSettings) -> None:
        from scipy.linalg.lapack import dtbtrs  # noqa: PLC0415 - slow to import

        self._solve = dtbtrs
        self._time_constant_s = settings.time_constant_s
        self.memory: Floats = np.empty((0, 2))
        self.heard_ns: Ints = np.empty(0, np.int64)

    def grow(self, slots: int) -> None:
        """Make room for more slots."""
        self.memory = grown(self.memory, slots, 0.0)
        self.heard_ns = grown(self.heard_ns, slots, 0)

    def step(self, runs: Runs, time_ns: Ints, value: Floats) -> tuple[Floats, Flags | None]:
        """See `Filter`."""
        before = remembered(runs, self.memory, 0.0)
        fade = np.exp(elapsed_s(runs, time_ns, self.heard_ns) / -self._time_constant_s)
        fade[runs.starts[runs.is_new]] = 0.0
        past = preceding(value, runs.starts, before[:, 0])
        # Each run has a row more in front: the lag that it begins with.
        carried = runs.starts + np.arange(len(runs.starts))
        new = np.arange(1, len(value) + 1) + runs.rank
        lag = np.empty(len(value) + len(carried))
        lag[carried] = before[:, 1]
        lag[new] = fade * (past - value)
        bands = np.zeros((len(lag), 2))
        bands[new - 1, 1] = -fade
        lag = self._solve(bands.T, lag, uplo="L", diag="U", overwrite_b=1)[0][new]
        before[:, 0], before[:, 1] = value[runs.lasts], lag[runs.lasts]
        remember(runs, self.memory, before)
        return value + lag, None
