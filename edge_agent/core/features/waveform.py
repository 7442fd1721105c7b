"""Time-domain features of waveforms: float64 [n, samples] in, float64 [n] out. No state, no delay.

All are taken about the mean, so that the offset of an accelerometer does not count.
Source: R. B. Randall, Vibration-based Condition Monitoring, 2nd ed. 2021, section 5.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def rms(x: Floats) -> Floats:
    """Root mean square, in the unit of `x`: the energy of the vibration."""
    out: Floats = np.sqrt(np.mean(_centred(x) ** 2, axis=-1))
    return out


def crest(x: Floats) -> Floats:
    """Peak over RMS, no unit: 1.41 for a sine, above 4 with impacts. 0 for a constant."""
    centred = _centred(x)
    return _ratio(np.max(np.abs(centred), axis=-1), np.sqrt(np.mean(centred**2, axis=-1)))


def kurtosis(x: Floats) -> Floats:
    """Fourth moment over the squared second, no unit: 1.5 for a sine, 3 for noise, more with impacts.

    0 for a constant.
    """
    squares = _centred(x) ** 2
    return _ratio(np.mean(squares**2, axis=-1), np.mean(squares, axis=-1) ** 2)


def _centred(x: Floats) -> Floats:
    out: Floats = x - np.mean(x, axis=-1, keepdims=True)
    return out


def _ratio(a: Floats, b: Floats) -> Floats:
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0)
