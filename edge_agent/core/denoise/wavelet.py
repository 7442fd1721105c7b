"""Wavelet shrinkage of whole waveforms: what the noise alone could have made goes, impacts stay sharp.

Sources: D. L. Donoho and I. M. Johnstone, Ideal spatial adaptation by wavelet shrinkage, Biometrika 81(3), 1994 (the
universal threshold); I. M. Johnstone and B. W. Silverman, Wavelet threshold estimators for data with correlated noise,
JRSS B 59(2), 1997 (each level its own).
"""

import math
from typing import Any

import numpy as np
import pywt
from numpy.typing import NDArray

from edge_agent.config.waveforms import Wavelet
from edge_agent.core.features.block import Block

Samples = NDArray[np.float32]
_SIGMA_OVER_MAD = 1 / 0.6744897501960817  # of a normal distribution


class WaveletShrinkage:
    """A stage of a waveform's `denoise` chain. No state, no delay: it sees the waveform whole."""

    def __init__(self, settings: Wavelet) -> None:
        self._settings, self._wavelet = settings, pywt.Wavelet(settings.wavelet)

    def apply(self, block: Block) -> Block:
        """The block with less noise."""
        return block.replaced(self.shrink(block.samples))

    def shrink(self, samples: Samples) -> Samples:
        """float32 [n, samples] -> the same. Waveforms shorter than the wavelet are left as they are."""
        count = samples.shape[-1]
        most = pywt.dwt_max_level(count, self._wavelet.dec_len)
        levels = min(self._settings.levels or most, most)
        if levels < 1:
            return samples
        # Without the mean, which may be large beside the signal; it is put back.
        mean = samples.astype(np.float64).mean(axis=-1, keepdims=True).astype(np.float32)
        approximation, *details = pywt.wavedec(samples - mean, self._wavelet, "symmetric", levels, axis=-1)
        sigmas = [_sigma(detail) for detail in (details if self._settings.noise == "coloured" else details[-1:])]
        universal = np.float32(math.sqrt(2 * math.log(count)))
        shrunk = [self._beyond(detail, universal * sigmas[min(i, len(sigmas) - 1)]) for i, detail in enumerate(details)]
        out: Samples = pywt.waverec([approximation, *shrunk], self._wavelet, "symmetric", axis=-1)[:, :count] + mean
        return out

    def _beyond(self, detail: Samples, threshold: Samples) -> Samples:
        if self._settings.threshold == "hard":
            return np.where(np.abs(detail) > threshold, detail, np.float32(0))
        return detail - np.clip(detail, -threshold, threshold)


def _sigma(detail: Samples) -> Samples:
    """The noise from the median absolute coefficient, [n, 1]: a few large ones, the signal's, do not move it."""
    out: Any = np.median(np.abs(detail), axis=-1, keepdims=True)
    return np.float32(_SIGMA_OVER_MAD) * out  # type: ignore[no-any-return]
