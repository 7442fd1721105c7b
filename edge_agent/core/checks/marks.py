"""Which mark a reading keeps when several checks have something to say: the worst, by one table."""

import numpy as np
from numpy.typing import NDArray

from models.contract.quality import BAD_FROM, UNCERTAIN_FROM, Quality

Floats = NDArray[np.float64]
Qualities = NDArray[np.uint8]

# From mild to grave: when it came, the process, the value, its time, whether it is a value of the sensor at all.
PRECEDENCE = (
    Quality.GOOD,
    Quality.UNCERTAIN_ARRIVAL_TIME,
    Quality.UNCERTAIN_ORDER,
    Quality.UNCERTAIN_LATE,
    Quality.UNCERTAIN_OPERATING,
    Quality.UNCERTAIN_QUANTUM,
    Quality.UNCERTAIN_RATE,
    Quality.UNCERTAIN_SPIKE,
    Quality.UNCERTAIN_FLAT,
    Quality.UNCERTAIN_DISAGREES,
    Quality.UNCERTAIN_CLOCK,
    Quality.UNCERTAIN_CLOCK_JUMP,
    Quality.UNCERTAIN_CONFLICT,
    Quality.UNCERTAIN_SOURCE,
    Quality.UNCERTAIN_STALE,
    Quality.UNCERTAIN_NO_DATA,
    Quality.BAD_RANGE,
    Quality.BAD_SOURCE,
)


def _ranks() -> Qualities:
    """[256]: severities first; a code that the table does not know is the gravest of its severity but stays in it."""
    ranks = np.arange(256, dtype=np.uint8)
    for low, high in ((0, UNCERTAIN_FROM), (UNCERTAIN_FROM, BAD_FROM), (BAD_FROM, 256)):
        known = [code for code in PRECEDENCE if low <= code < high]
        ranks[low:high] = low + len(known)
        ranks[known] = low + np.arange(len(known))
    return ranks


RANKS = _ranks()


def mark(quality: Qualities, at: NDArray[np.intp] | NDArray[np.bool_], reason: Quality) -> None:
    """Write `reason` into quality [n] at these places, in place, where nothing graver stands."""
    if not len(at):
        return
    found = quality[at]
    quality[at] = np.where(RANKS[found] < RANKS[reason], np.uint8(reason), found)


def usable(value: Floats, quality: Qualities) -> Floats:
    """The values that filters and models may use: bad ones become NaN (OPC UA: 'shall never be used')."""
    return np.where(quality >= BAD_FROM, np.nan, value)
