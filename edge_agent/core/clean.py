"""Quality checks on raw values. Readings are marked, never removed or changed."""

import numpy as np
from numpy.typing import NDArray

from models.contract.quality import BAD_FROM, Quality

Floats = NDArray[np.float64]
Qualities = NDArray[np.uint8]


def check_range(value: Floats, quality: Qualities, low: Floats, high: Floats) -> Qualities:
    """Mark values outside [low, high] as bad. All arrays [n]; the limits are ±inf where there is none."""
    return np.where((value < low) | (value > high), np.uint8(Quality.BAD_RANGE), quality)


def usable(value: Floats, quality: Qualities) -> Floats:
    """The values that filters and models may use: bad ones become NaN (OPC UA: 'shall never be used')."""
    return np.where(quality >= BAD_FROM, np.nan, value)
