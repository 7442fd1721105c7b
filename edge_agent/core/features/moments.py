"""Time-domain features of waveforms: float64 [n] in the unit of the samples, or without one. No state, no delay.

All are taken about the mean, so that the offset of an accelerometer does not count, and in double precision: the
fourth power of a large count leaves the range of float32.
Source: R. B. Randall, Vibration-based Condition Monitoring, 2nd ed. 2021, section 5.
"""

import numpy as np

from edge_agent.core.features.block import Block, Floats


def rms(block: Block) -> Floats:
    """Root mean square: the energy of the vibration."""
    out: Floats = np.sqrt(block.once(mean_square))
    return out


def peak(block: Block) -> Floats:
    """The largest distance from the mean."""
    x = block.once(centred)
    out: Floats = np.maximum(x.max(axis=-1), -x.min(axis=-1))
    return out


def peak_to_peak(block: Block) -> Floats:
    """From the lowest to the highest sample."""
    x = block.once(centred)
    out: Floats = x.max(axis=-1) - x.min(axis=-1)
    return out


def crest(block: Block) -> Floats:
    """Peak over RMS, no unit: 1.41 for a sine, above 4 with impacts. 0 for a constant."""
    return _ratio(block.once(peak), block.once(rms))


def kurtosis(block: Block) -> Floats:
    """Fourth moment over the squared second, no unit: 1.5 for a sine, 3 for noise, more with impacts.

    0 for a constant.
    """
    return _ratio(np.mean(block.once(squares) ** 2, axis=-1), block.once(mean_square) ** 2)


def skewness(block: Block) -> Floats:
    """Third moment over the second to the 3/2, no unit: 0 for what swings evenly to both sides, and for a constant."""
    second = block.once(mean_square)
    return _ratio(np.mean(block.once(squares) * block.once(centred), axis=-1), second * np.sqrt(second))


def centred(block: Block) -> Floats:
    """The samples less their mean, [n, samples]."""
    x = block.samples.astype(np.float64)
    x -= x.mean(axis=-1, keepdims=True)
    return x


def squares(block: Block) -> Floats:
    """Of the centred samples, [n, samples]."""
    return block.once(centred) ** 2


def mean_square(block: Block) -> Floats:
    """The second moment, [n]."""
    out: Floats = np.mean(block.once(squares), axis=-1)
    return out


def _ratio(a: Floats, b: Floats) -> Floats:
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0)
