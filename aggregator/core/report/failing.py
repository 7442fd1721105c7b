"""The probability that an asset fails before a time, from what its models say of it."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from aggregator.core.report.content import Forecast

_Z = 1.2815515655446004  # the normal distribution's 90 % quantile

Floats = NDArray[np.float64]


def of_probability(failure_prob: float, horizon_h: float, hours: Floats) -> Floats:
    """Before each of `hours`, float64 [n], at the constant hazard that gives `failure_prob` within `horizon_h`."""
    return 1 - (1 - min(max(failure_prob, 0.0), 1.0)) ** (np.maximum(hours, 0.0) / horizon_h)


def of_forecast(forecast: Forecast, hours: Floats) -> Floats:
    """Before each of `hours`, float64 [n], when the interval holds 80 % of a distribution: see `shape`.

    The machine has not failed yet: what a normal distribution puts before now is left out.
    """
    low, high = forecast.low_h, forecast.high_h
    hours = np.maximum(hours, 0.0)
    if low == high:
        return (hours >= low).astype(np.float64)
    if low > 0:
        middle, sigma = (np.log(low) + np.log(high)) / 2, (np.log(high) - np.log(low)) / (2 * _Z)
        with np.errstate(divide="ignore"):
            return np.asarray(ndtr((np.log(hours) - middle) / sigma))
    middle, sigma = (low + high) / 2, (high - low) / (2 * _Z)
    before_now = ndtr(-middle / sigma)
    return np.asarray((ndtr((hours - middle) / sigma) - before_now) / (1 - before_now))


def shape(forecast: Forecast) -> str:
    """The distribution in a word."""
    if forecast.low_h == forecast.high_h:
        return "no spread"
    return "log-normal" if forecast.low_h > 0 else "normal"
