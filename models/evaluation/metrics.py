"""Figures of merit, in numpy: how well scores tell wrong from well, and how well a life or a quality is predicted.

Scores that are equal share one threshold: no order among them is made up.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Curve(NamedTuple):
    """Points of a curve, one for each threshold, the highest first; `area` below it."""

    x: Floats
    y: Floats
    area: float


def roc(wrong: Flags, scores: Floats) -> Curve:
    """False-positive against true-positive rate, from (0, 0); both classes are needed. Area by trapezoids."""
    true, false = _counts(wrong, scores)
    x = np.concatenate(([0.0], false / false[-1]))
    y = np.concatenate(([0.0], true / true[-1]))
    return Curve(x, y, float(np.trapezoid(y, x)))


def precision_recall(wrong: Flags, scores: Floats) -> Curve:
    """Recall against precision; the area is the average precision, without interpolation (which flatters)."""
    true, false = _counts(wrong, scores)
    recall, precision = true / true[-1], true / (true + false)
    return Curve(recall, precision, float((np.diff(recall, prepend=0.0) * precision).sum()))


class Alarms(NamedTuple):
    """What the alarm did over runs of labelled windows. A delay runs from an event's first window, in seconds."""

    events: int
    found: int  # an alarm opened in the event
    already_open: int  # events in which none opened, for one was open when they began
    delays_s: Floats  # [found]
    false_alarms: int  # opened and closed outside of any event
    well_s: float  # time outside of events
    well_open_s: float  # of which an alarm was open


def alarms(opened: Sequence[Flags], wrong: Sequence[Flags], period_s: float) -> Alarms:
    """Of runs: whether the alarm is open, and whether something is wrong, at each window, [n] each.

    An event counts as found when an alarm opens in it: one that was open before tells nothing of the event.
    """
    delays, events, already_open, false_alarms, well, well_open = [], 0, 0, 0, 0, 0
    for is_open, is_wrong in zip(opened, wrong, strict=True):
        opens = is_open & ~np.concatenate(([False], is_open[:-1]))
        for begin, end in _stretches(is_wrong):
            events += 1
            if opens[begin:end].any():
                delays.append(int(np.argmax(opens[begin:end])) * period_s)
            else:
                already_open += bool(is_open[begin])
        false_alarms += sum(not is_wrong[begin:end].any() for begin, end in _stretches(is_open))
        well += int((~is_wrong).sum())
        well_open += int((is_open & ~is_wrong).sum())
    delays_s = np.array(delays, np.float64)
    return Alarms(events, len(delays), already_open, delays_s, false_alarms, well * period_s, well_open * period_s)


def hysteresis(
    values: Floats, *, open_at: float, close_at: float, open_after: int, close_after: int, above: bool = True
) -> Flags:
    """Whether the alarm is open at each window [n]: the rule of a manifest's threshold, on windows without a gap."""
    sign = 1.0 if above else -1.0
    opens = _lasting(sign * values >= sign * open_at, open_after)
    closes = _lasting(sign * values <= sign * close_at, close_after)
    moves = np.where(opens, 1, np.where(closes, -1, 0))
    last = np.maximum.accumulate(np.where(moves != 0, np.arange(len(moves)), -1))
    is_open: Flags = (last >= 0) & (moves[np.maximum(last, 0)] == 1)
    return is_open


def rmse(predicted: Floats, true: Floats) -> float:
    """Root mean square error."""
    return float(np.sqrt(((predicted - true) ** 2).mean()))


def coverage(low: Floats, high: Floats, true: Floats) -> float:
    """The share of true values within their interval."""
    return float(((low <= true) & (true <= high)).mean())


class Reliability(NamedTuple):
    """Of each bin of predicted probabilities that is not empty."""

    predicted: Floats  # mean
    observed: Floats  # share that came true
    cases: NDArray[np.intp]
    brier: float  # mean squared error of all


def reliability(probability: Floats, happened: Flags, bins: int = 10) -> Reliability:
    """Whether what is predicted with 30 % happens in 30 of 100 cases; bins of equal width."""
    at = np.minimum((probability * bins).astype(np.intp), bins - 1)
    count = np.bincount(at, minlength=bins)
    full = count > 0
    predicted = np.bincount(at, probability, bins)[full] / count[full]
    observed = np.bincount(at, happened, bins)[full] / count[full]
    return Reliability(predicted, observed, count[full], float(((probability - happened) ** 2).mean()))


def _counts(wrong: Flags, scores: Floats) -> tuple[Floats, Floats]:
    """True and false positives at each distinct score, the highest first."""
    order = np.argsort(-scores, kind="stable")
    is_last = np.append(np.diff(scores[order]) != 0, True)
    true = np.cumsum(wrong[order])[is_last].astype(np.float64)
    return true, np.flatnonzero(is_last) + 1 - true


def _stretches(flags: Flags) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    return [(int(begin), int(end)) for begin, end in zip(edges[::2], edges[1::2], strict=True)]


def _lasting(flags: Flags, count: int) -> Flags:
    """Whether a flag has been set for `count` windows in a row."""
    total = np.cumsum(flags)
    before = np.concatenate((np.zeros(min(count, len(total)), total.dtype), total[:-count]))
    lasting: Flags = total - before == count
    return lasting
