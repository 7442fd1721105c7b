"""The alarm limit of an anomaly model, from how many false alarms a week its operator accepts.

The limit is taken from raw scores of machines that were well, on windows that fitting never saw. Neighbouring
windows say the same thing twice, and an alarm is a run of windows, not a window: so the scores are cut into blocks
longer than their memory, and each block counts once, by its highest score that an alarm could have opened at.

Where the blocks are enough for the budget, the limit is the conformal quantile of their maxima (Vovk, Gammerman &
Shafer 2005): if blocks are exchangeable, a new one passes it no more often than the budget allows, whatever the
distribution. Where they are not, a generalised Pareto tail is fitted to the highest maxima and followed beyond what
was seen (peaks over threshold; Siffer et al. 2017, Anomaly Detection in Streams with Extreme Value Theory, KDD).
A tail is never taken to be lighter than so few peaks can tell. Where no score gets beyond a ceiling (a forest has one),
it is fitted to -log(1 - score / ceiling), which has none: the limit stays below what a window can reach.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, Field
from scipy import stats

from models.training.anomaly.base import Floats, sliding
from models.training.table import DataError

WEEK_S = 7 * 86_400.0

_FEWEST_BLOCKS = 5  # below, there is no tail to speak of
_ENOUGH_PEAKS = 10  # that both parameters of a tail are fitted to; with fewer it is taken to be exponential
_MOST_PEAKS = 100
_HEAVIEST = 0.5  # shape of a tail: above it, a few points would put the limit out of reach
_FAR = 10.0  # times the data at hand: a limit that rests on more is told as such
_NEAR = 0.95  # of the ceiling: a limit beyond it is reached by next to nothing
_MOST_ALARMS = 0.5  # of blocks may alarm: a budget that allows more asks for no limit at all


class Budget(BaseModel, extra="forbid", frozen=True):
    """What the operator accepts."""

    alarms_per_week: float = Field(1.0, gt=0, description="false alarms of one machine in a week of running well")
    open_after: int = Field(3, ge=1, description="consecutive windows beyond the limit before an alarm opens")


class Calibration(NamedTuple):
    """A limit on raw scores, and what is known of it."""

    limit: float
    close_at: float  # share of the limit at which an alarm closes
    open_after: int  # windows
    close_after: int  # windows; as long as the scores remember, so that one disturbance is one alarm
    method: Literal["conformal", "tail", "exponential"]
    alarms_per_week: float  # the budget
    expected_per_week: float
    at_most_per_week: float  # with 90 % confidence, from what was counted alone
    held_out_weeks: float
    held_out_blocks: int
    warning: str  # empty where the data support the budget


def calibrate(
    scores: Sequence[Floats], budget: Budget, *, sample_period_s: float, ceiling: float = math.inf
) -> Calibration:
    """The limit that keeps to the budget.

    Args:
        scores: raw scores of consecutive windows, [n] for each run, of machines that were well and that the model
            was not fitted on; oldest first.
        budget: what is accepted.
        sample_period_s: from one frame to the next, and so from one window to the next.
        ceiling: the highest score that a window can get.

    Raises:
        DataError: scores that are not finite, or so few that they say nothing about rare events.
    """
    runs = [run for run in scores if len(run) >= budget.open_after]
    if not all(np.isfinite(run).all() for run in runs):
        msg = "held-out scores: a value is not finite; the model cannot be calibrated"
        raise DataError(msg)
    windows = sum(map(len, runs))
    memory, longest = _memory(runs), max(windows // (2 * _FEWEST_BLOCKS), budget.open_after)
    length = min(max(2 * memory, memory + budget.open_after), longest)
    # An alarm opens at a score that open_after windows in a row have reached: the lowest of them.
    lasting = [sliding(run[:, None], budget.open_after)[..., 0].min(1) for run in runs]
    maxima = np.sort(np.concatenate([_block_maxima(run, length) for run in lasting] or [np.empty(0)]))[::-1]
    blocks, block_weeks = len(maxima), length * sample_period_s / WEEK_S
    if blocks and maxima[0] <= 0:
        msg = "held-out scores are all 0: normal data in which the model is surprised now and then are needed"
        raise DataError(msg)
    if blocks < _FEWEST_BLOCKS:
        msg = (
            f"{windows} held-out windows make {blocks} stretches of {length}; at least {_FEWEST_BLOCKS} are needed:"
            " give more normal data, a larger held-out share, or a shorter window"
        )
        raise DataError(msg)
    if ceiling <= maxima[0]:
        ceiling = math.inf  # it is none
    allowed = min(budget.alarms_per_week * block_weeks, _MOST_ALARMS)  # alarms a block
    rank = int(allowed * (blocks + 1))
    method: Literal["conformal", "tail", "exponential"]
    if rank >= 1:
        method, limit, expected = "conformal", float(maxima[rank - 1]), rank / (blocks + 1)
    else:
        method, limit = _tail(_unbounded(maxima, ceiling), allowed)
        limit, expected = _bounded(limit, ceiling), allowed
    limit = _rounded_up(limit)
    beyond = int((maxima >= limit).sum())
    everything = np.concatenate(runs)
    return Calibration(
        limit=limit,
        close_at=round(float(np.clip(np.quantile(everything, 0.99) / limit, 0.5, 0.9)), 2),
        open_after=budget.open_after,
        close_after=max(min(memory, length), budget.open_after),
        method=method,
        alarms_per_week=budget.alarms_per_week,
        expected_per_week=expected / block_weeks,
        at_most_per_week=float(stats.chi2.ppf(0.9, 2 * (beyond + 1)) / 2 / (blocks * block_weeks)),
        held_out_weeks=blocks * block_weeks,
        held_out_blocks=blocks,
        warning="; ".join(
            _warnings(method, budget, blocks * block_weeks, is_drifting=memory > length, of_ceiling=limit / ceiling)
        ),
    )


def _memory(runs: Sequence[Floats]) -> int:
    """Windows until scores have forgotten: the first lag at which the autocorrelation of their ranks is below 1/e.

    Ranks, for one outburst would otherwise be all that is seen. The longest over the runs, each on its own.
    """
    return max((_forgets(run) for run in runs), default=1)


def _forgets(run: Floats) -> int:
    ranks = stats.rankdata(run) - (len(run) + 1) / 2
    size = 2 * len(run)
    spectrum = np.fft.rfft(ranks, size)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2, size)[: len(run)]
    below = correlation < correlation[0] / np.e
    return int(np.argmax(below)) if below.any() else len(run)


def _block_maxima(run: Floats, length: int) -> Floats:
    """The highest of each whole block, [blocks]; the rest of the run goes to the last one."""
    blocks = max(1, len(run) // length)
    return np.maximum.reduceat(run, np.arange(blocks) * length)


def _tail(maxima: Floats, allowed: float) -> tuple[Literal["tail", "exponential"], float]:
    """The score that a block passes with probability `allowed`; `maxima` descending, [blocks]."""
    peaks = int(np.clip(len(maxima) // 4, 3, _MOST_PEAKS))
    threshold = float(maxima[peaks])
    excess = maxima[:peaks] - threshold
    scale = max(float(excess.mean()), 1e-6 * float(maxima[0]))
    # What n exponential excesses tell of the next one is a Pareto law of shape 1 / n: the fewer, the heavier.
    lightest = 1 / peaks
    shape, method = lightest, "exponential"
    if peaks >= _ENOUGH_PEAKS and excess.max() > 0:
        method = "tail"
        free, _, _ = stats.genpareto.fit(excess / scale, floc=0)
        shape = float(np.clip(free, lightest, _HEAVIEST))
        if free > lightest:  # with the shape held, the scale that fits best: a capped shape asks for a larger one
            scale *= float(stats.genpareto.fit(excess / scale, f0=shape, floc=0)[2])
    beyond = float(stats.genpareto.isf(allowed * len(maxima) / peaks, shape, scale=scale))
    return ("tail" if method == "tail" else "exponential"), max(threshold + beyond, float(maxima[0]))


def _unbounded(scores: Floats, ceiling: float) -> Floats:
    """Scores below a ceiling, [n], on a scale that has none."""
    return scores if math.isinf(ceiling) else -np.log1p(-scores / ceiling)


def _bounded(score: float, ceiling: float) -> float:
    """The way back."""
    return score if math.isinf(ceiling) else -ceiling * math.expm1(-score)


def _rounded_up(limit: float) -> float:
    """To four digits: more are not known, and the last ones of a fit differ from one processor to the next.

    Always above: an alarm opens at its limit, and what was seen must stay below it, in float32 too.
    """
    unit = 10.0 ** (math.floor(math.log10(limit)) - 3)
    return float(f"{math.floor(limit / unit + 1) * unit:.6g}")


def _warnings(method: str, budget: Budget, weeks: float, *, is_drifting: bool, of_ceiling: float) -> Iterator[str]:
    if method != "conformal" and of_ceiling > _NEAR:
        yield (
            f"hardly anything reaches the alarm limit: it is {of_ceiling:.1%} of the highest score that there is;"
            " more normal data, or more alarms_per_week, bring it down"
        )
    if is_drifting:
        yield "the held-out scores drift and do not forget within the data at hand: expect more false alarms than told"
    needed = 1 / budget.alarms_per_week
    if method != "conformal" and needed > _FAR * weeks:
        tail = "a fitted tail" if method == "tail" else "an assumed exponential tail"
        yield (
            f"{_span(weeks)} of held-out normal data cannot show {budget.alarms_per_week:g} alarms a week: the limit"
            f" follows {tail} {needed / weeks:,.0f} times beyond what was seen, and {_span(needed)} would show it"
        )


def _span(weeks: float) -> str:
    """A duration in the largest unit that leaves a number above 1."""
    seconds = weeks * WEEK_S
    units = (("week", WEEK_S), ("day", 86_400.0), ("hour", 3600.0), ("minute", 60.0))
    name, unit = next(((name, unit) for name, unit in units if seconds >= unit), ("second", 1.0))
    number = f"{seconds / unit:.3g}"
    return f"{number} {name}" if number == "1" else f"{number} {name}s"
