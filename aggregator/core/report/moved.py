"""Which channels lie elsewhere than before: a simple figure, to point at where to look.

The last quarter of the report's interval means against those of the span before, as (median - median) / sigma, sigma
being 1.4826 times the median absolute deviation before (robust: a few odd intervals do not hide a shift).
"""

from collections.abc import Iterable

import numpy as np

from aggregator.core.report.content import Moved
from aggregator.core.report.intervals import Intervals
from aggregator.core.views import Row, number

RECENT = 0.25
_ENOUGH = 5  # intervals before, or nothing is said
_SIGMAS = 3.0
_NAMED = 3


def moved(means: Iterable[Row], span: Intervals) -> tuple[Moved, ...]:
    """The up to three channels of one asset that moved most, beyond three sigmas; `means` reach back into before."""
    recent_ns = span.until_ns - round(RECENT * (span.until_ns - span.since_ns))
    before: dict[str, list[float]] = {}
    recent: dict[str, list[float]] = {}
    for row in means:
        time_ns, mean = number(row, "time"), number(row, "mean", np.nan)
        if np.isfinite(mean):
            if time_ns < span.begin_ns:
                before.setdefault(str(row["channel"]), []).append(mean)
            elif time_ns + span.every_ns > recent_ns:
                recent.setdefault(str(row["channel"]), []).append(mean)
    found = [_moved(channel, before[channel], recent[channel]) for channel in before.keys() & recent.keys()]
    told = sorted((one for one in found if one), key=lambda one: (-abs(one.sigmas), one.channel))
    return tuple(told[:_NAMED])


def _moved(channel: str, before: list[float], recent: list[float]) -> Moved | None:
    if len(before) < _ENOUGH:
        return None
    middle, now = float(np.median(before)), float(np.median(recent))
    sigma = 1.4826 * float(np.median(np.abs(np.array(before) - middle)))
    if now == middle:
        return None
    # rounding of the mean is no movement
    sigmas = (now - middle) / sigma if sigma > 1e-9 * max(abs(middle), abs(now)) else np.copysign(np.inf, now - middle)
    return Moved(channel, middle, now, float(sigmas)) if abs(sigmas) >= _SIGMAS else None
