"""Hampel filter: a reading far from the median of its recent past is a spike, and is replaced by that median.

Causal: the window is the last `window` readings of the channel, the newest included. Delay: none for
readings that are not spikes; a real step is taken for a spike for (window - 1) / 2 readings. Warm-up:
fewer than 3 usable readings in the window pass unchanged. Missing values (NaN) stay missing and count for nothing.

Source: Hampel 1974, J. Am. Stat. Assoc. 69(346); Pearson et al. 2016, EURASIP J. Adv. Signal Process. 2016:87.
Where more than half of the window is one value the median deviation is 0; then the mean deviation scales
instead (Iglewicz & Hoaglin 1993), so that a signal that toggles between two steps is no row of spikes.
"""

import numpy as np
from numpy.typing import NDArray

from edge_agent.core.segments import grown, segments, windows

_MAD_TO_SIGMA = 1.4826  # for a normal distribution
_MEAN_AD_TO_SIGMA = 1.2533
_WARM_UP = 3

Floats = NDArray[np.float64]


class Hampel:
    """State: float64 [channels, window - 1], the last readings of each channel, NaN where none was."""

    def __init__(self, window: int) -> None:
        self.window = window
        self.history: Floats = np.full((0, window - 1), np.nan)

    def grow(self, channels: int) -> None:
        """Make room for more channels."""
        self.history = grown(self.history, channels, np.nan)

    def step(self, ids: NDArray[np.intp], values: Floats, sigmas: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """Filter n readings in order of arrival.

        ids: [n] channel of each. values: [n], NaN = missing. sigmas: [n], allowed deviation.
        Returns (denoised [n], is_spike [n]).
        """
        grouped = segments(ids)
        past = windows(grouped, values, self.history)
        newest = past[:, -1]
        used = np.sum(~np.isnan(past), axis=1)
        median = _median(past, used)
        deviations = np.abs(past - median[:, None])
        sigma = _MAD_TO_SIGMA * _median(deviations, used)
        flat = sigma == 0
        if flat.any():
            sigma[flat] = _MEAN_AD_TO_SIGMA * np.nansum(deviations[flat], axis=1) / used[flat]
        spike_sorted = (used >= _WARM_UP) & (deviations[:, -1] > sigmas[grouped.order] * sigma)
        denoised, is_spike = np.empty_like(values), np.empty(len(values), bool)
        denoised[grouped.order] = np.where(spike_sorted, median, newest)
        is_spike[grouped.order] = spike_sorted
        return denoised, is_spike


def _median(rows: Floats, used: NDArray[np.signedinteger]) -> Floats:
    """Median of each row without its NaN; NaN where a row has nothing else. rows: [n, w], used: [n]."""
    ordered = np.sort(rows, axis=1)  # NaN last
    low = np.maximum(used - 1, 0) // 2
    high = np.minimum(used // 2, rows.shape[1] - 1)
    at = np.arange(len(rows))
    out: Floats = (ordered[at, low] + ordered[at, high]) / 2
    return out
