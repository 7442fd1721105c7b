"""The scores of the Numenta Anomaly Benchmark.

Lavin & Ahmad (2015), Evaluating Real-time Anomaly Detection Algorithms: the Numenta Anomaly Benchmark, ICMLA.

Each row whose anomaly score reaches the threshold is an alarm. In a window that is labelled, the best placed alarm
counts, the earlier the better; a window without one is missed; each alarm outside windows costs. The first 15 % of
the rows of a series, 750 at most, are for learning and do not count. One threshold serves all series of a profile:
the one that scores best. A score of 0 is that of never alarming, 100 of an alarm at the start of each window.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]

LEARNING_SHARE, LEARNING_ROWS = 0.15, 750
OUTSIDE = -1  # the window of a row that is in none
_FAR = 3.0  # window lengths behind a window after which an alarm costs all of its weight


class Profile(NamedTuple):
    """Weights: of a window found, of a false alarm, of a window missed."""

    found: float
    false_alarm: float
    missed: float


PROFILES = {
    "standard": Profile(1.0, 0.11, 1.0),
    "low_fp": Profile(1.0, 0.22, 1.0),
    "low_fn": Profile(1.0, 0.11, 2.0),
}


class Labels(NamedTuple):
    """What an alarm at each row of a series is worth before weighting."""

    window: Ids  # [rows], number of the window the row is in, or OUTSIDE
    worth: Floats  # [rows], -1 to 1
    counts: NDArray[np.bool_]  # [rows], whether the row is past learning
    windows: int


class Best(NamedTuple):
    """Of one profile."""

    score: float | None  # None: there is no window to find
    threshold: float | None  # None: never to alarm is best


def label(rows: int, windows: Sequence[tuple[int, int]]) -> Labels:
    """Labels of a series; windows: first and last row of each, both inside, in order and apart from each other."""
    window = np.full(rows, OUTSIDE, np.int64)
    worth = np.full(rows, -1.0)
    for number, (first, last) in enumerate(windows):
        inside = np.arange(first, last + 1)
        window[inside] = number
        worth[inside] = _curve((inside - last - 1) / (last - first + 1)) / _curve(-1.0)
        end = windows[number + 1][0] if number + 1 < len(windows) else rows
        behind = np.arange(last + 1, end)
        away = (behind - last) / max(last - first, 1)
        worth[behind] = np.where(away > _FAR, -1.0, _curve(away))
    learning = min(int(LEARNING_SHARE * rows), LEARNING_ROWS)
    return Labels(window, worth, np.arange(rows) >= learning, len(windows))


def best(series: Sequence[tuple[Labels, Floats]], profile: Profile) -> Best:
    """The best score over all thresholds, for the labels and the anomaly scores [rows] of each series."""
    windows = sum(labels.windows for labels, _ in series)
    if not windows:
        return Best(None, None)
    levels, gains, open_windows = [], [], 0
    for labels, scores in series:
        order = np.argsort(-scores, kind="stable")
        order = order[labels.counts[order]]
        level, window, worth = scores[order], labels.window[order], labels.worth[order]
        levels.append(level[window == OUTSIDE])
        gains.append(worth[window == OUTSIDE] * profile.false_alarm)
        for number in np.unique(window[window != OUTSIDE]):
            inside = window == number
            # As the threshold falls, the window is worth the best alarm so far; at first it is missed.
            so_far = np.maximum.accumulate(worth[inside] * profile.found)
            levels.append(level[inside])
            gains.append(np.diff(so_far, prepend=-profile.missed))
            open_windows += 1
    level, gain = np.concatenate(levels), np.concatenate(gains)
    order = np.argsort(-level, kind="stable")
    total = np.cumsum(gain[order]) - profile.missed * open_windows
    is_last = np.append(np.diff(level[order]) != 0, True)
    total, level = total[is_last], level[order][is_last]
    highest = int(np.argmax(total)) if len(total) else -1
    never = -profile.missed * open_windows
    if highest < 0 or total[highest] <= never:
        return Best(_normal(never, windows, profile), None)
    return Best(_normal(float(total[highest]), windows, profile), float(level[highest]))


def _curve(away: Floats | float) -> Floats:
    """1 far before the end of a window, 0 at it, -1 far behind; `away` in lengths of the window."""
    return np.asarray(2 / (1 + np.exp(5 * np.asarray(away))) - 1)


def _normal(total: float, windows: int, profile: Profile) -> float:
    never, perfect = -profile.missed * windows, profile.found * windows
    return 100 * (total - never) / (perfect - never)
