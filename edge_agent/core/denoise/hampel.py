"""Hampel filter: a reading far from the median of its recent past is a spike, and is replaced by that median.

Causal: the window is the last `window` readings of the channel, the newest included. Delay: none for
readings that are not spikes; a real step is taken for a spike for (window - 1) / 2 readings. Warm-up:
as long as less than half of the window is there (at least 3), readings pass unchanged.

A short window knows the noise badly. Of normal noise are taken for spikes, in percent (measured):

    window    5     7    11    15    31
    3 sigmas  6.8   4.8   2.8   2.1   1.0
    5 sigmas  2.9   1.4   0.5   0.2   0.0

Source: Hampel 1974, J. Am. Stat. Assoc. 69(346); Pearson et al. 2016, EURASIP J. Adv. Signal Process. 2016:87.
Where more than half of the window is one value the median deviation is 0; then the mean deviation scales
instead (Iglewicz & Hoaglin 1993), so that a signal that toggles between two steps is no row of spikes.
"""

from typing import Literal

import numpy as np
from pydantic import Field

from edge_agent.core.denoise.median import medians, medians_of_known, warming
from edge_agent.core.denoise.runs import FilterSettings, Flags, Floats, Ints, Runs, lagged, rows
from edge_agent.core.segments import grown

_MAD_TO_SIGMA = 1.4826  # for a normal distribution
_MEAN_AD_TO_SIGMA = 1.2533
_LEAST = 3


class HampelSettings(FilterSettings):
    """Spikes are marked and replaced by the median of the last readings."""

    filter: Literal["hampel"] = "hampel"
    window: int = Field(15, ge=3, le=99, description="readings, the newest included")
    sigmas: float = Field(5.0, gt=0, description="a reading this many standard deviations from the median is a spike")


class Hampel:
    """State: float64 [slots, window - 1], the last readings of each slot, NaN where none was."""

    def __init__(self, settings: HampelSettings) -> None:
        self._sigmas = settings.sigmas
        self._warm_up = max(_LEAST, (settings.window + 1) // 2)
        self.history: Floats = np.empty((0, settings.window - 1))

    def grow(self, slots: int) -> None:
        """Make room for more slots."""
        self.history = grown(self.history, slots, np.nan)

    def step(self, runs: Runs, _time_ns: Ints, value: Floats) -> tuple[Floats, Flags | None]:
        """See `Filter`."""
        window = lagged(runs, value, self.history)
        columns = window.columns
        median = medians(columns)
        deviations = [np.abs(column - median) for column in columns]
        sigma = _MAD_TO_SIGMA * medians(deviations)
        flat = sigma == 0
        if flat.any():
            sigma[flat] = _MEAN_AD_TO_SIGMA * sum(deviation[flat] for deviation in deviations) / len(columns)
        is_spike = (deviations[0] > self._sigmas * sigma)[window.at]
        out = np.where(is_spike, median[window.at], value)
        young = np.flatnonzero(warming(window))
        if len(young):
            out[young], is_spike[young] = self._judge_young(rows(window, young), value[young])
        return out, is_spike

    def _judge_young(self, past: Floats, newest: Floats) -> tuple[Floats, Flags]:
        """Windows that are not full: [n, w], NaN where no reading was yet."""
        median = medians_of_known(past)
        deviations = np.abs(past - median[:, None])
        used = np.sum(~np.isnan(past), axis=1)
        sigma = _MAD_TO_SIGMA * medians_of_known(deviations)
        sigma = np.where(sigma == 0, _MEAN_AD_TO_SIGMA * np.nansum(deviations, axis=1) / used, sigma)
        is_spike = (used >= self._warm_up) & (deviations[:, -1] > self._sigmas * sigma)
        return np.where(is_spike, median, newest), is_spike
