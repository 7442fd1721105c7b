"""Remaining life with an interval: the model's own, or how far its forecasts of the failure's moment lay apart."""

import numpy as np
from numpy.typing import NDArray

from aggregator.core.report.content import Forecast
from aggregator.core.report.intervals import Intervals

LOW, HIGH = 0.1, 0.9  # the quantiles that an interval stands for
_HOUR_NS = 3_600_000_000_000


def forecast(
    rul_h: NDArray[np.float64], span: Intervals, low_h: float = np.nan, high_h: float = np.nan
) -> Forecast | None:
    """From the mean forecast of each interval, float64 [n] in h from then on, to one from the span's end on.

    `low_h` and `high_h` are the model's own quantiles, from its newest forecast on; NaN = it gives none.
    """
    at = np.flatnonzero(np.isfinite(rul_h))
    if not len(at):
        return None
    middle = np.array([span.time_ns(int(one)) for one in at], dtype=np.int64) + span.every_ns // 2
    age_h = (span.until_ns - np.minimum(middle, span.until_ns)) / _HOUR_NS
    left_h = rul_h[at] - age_h  # of each forecast, counted from the span's end
    newest = max(float(left_h[-1]), 0.0)
    if np.isfinite(low_h) and np.isfinite(high_h):
        low, high = sorted((max(low_h - age_h[-1], 0.0), max(high_h - age_h[-1], 0.0)))
        return Forecast(newest, float(low), float(high), "the model's interval")
    low, high = np.maximum(np.quantile(left_h, (LOW, HIGH)), 0.0).tolist()
    return Forecast(newest, low, high, "spread of the forecasts" if len(at) > 1 else "one forecast")
