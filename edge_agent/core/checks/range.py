"""Range: a value outside [low, high].

    range            physical limits of the sensor or the quantity: BAD_RANGE, the value is used nowhere
    operating_range  limits of normal operation: UNCERTAIN_OPERATING, the value is used

No state, no warm-up, no delay. Source: OPC UA Part 8 (InstrumentRange, EURange of AnalogItemType).
"""

import numpy as np

from edge_agent.core.checks.rows import NONE, Floats, Rows
from edge_agent.core.segments import Ids


def outside(rows: Rows, low: Floats, high: Floats) -> Ids:
    """The readings outside [low, high]; limits [channels], ±inf where there is none."""
    grouped, series = rows.grouped, rows.series
    low, high = low[series], high[series]
    # The extremes of each channel say whether any need be looked at one by one.
    least, most = np.minimum.reduceat(rows.value, grouped.starts), np.maximum.reduceat(rows.value, grouped.starts)
    if not ((least < low) | (most > high)).any():
        return NONE
    return np.flatnonzero((rows.value < low[grouped.rank]) | (rows.value > high[grouped.rank]))
