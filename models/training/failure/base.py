"""What the failure recipes share: units that ran to failure, members by folds of units, and the fitted model.

The label is min(life left, cap): a machine that is well shows no sign of how long it will stay so (Heimes 2008,
Recurrent Neural Networks for Remaining Useful Life Estimation, PHM). Operating regimes are normalised apart.

A recipe is one file with `Params` and `fit(units, params, *, settings, hours_per_row, seed, advance)`. Each member
learns from all units but those of its fold; the model is their mean, and what a member says of its own fold settles
intervals and figures. So no unit is wasted, and none is judged by a member that saw it. Windows of one unit overlap:
folds by unit are the only honest ones. Means and scales of sensors are of all units; labels are not.
"""

from collections.abc import Callable, Sequence
from statistics import median
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from models.training.anomaly.base import AT_ONCE, Advance, Floats, quiet
from models.training.failure.calibrate import Calibration, HeldOut, calibrate, intervals
from models.training.failure.front import MAX_WINDOW, Front, Single, filters_of, fit_front
from models.training.graph import Graph
from models.training.table import DataError


class FailureParams(BaseModel, extra="forbid", frozen=True):
    """What can be chosen in every failure recipe."""

    window: int = Field(60, ge=10, le=MAX_WINDOW, description="frames; more hide noise, and delay the first answer")
    cap_h: float | None = Field(
        None, gt=0, description="lives longer than this are learnt as this; none: 5/8 of the median life; cmapss: 125"
    )
    horizon_h: float | None = Field(
        None, gt=0, description="failure_prob is that of failing within this time; none: a quarter of cap_h; cmapss: 30"
    )
    coverage: float = Field(0.8, ge=0.5, le=0.98, description="share of true lives that the interval should hold")
    folds: int = Field(
        10, ge=2, le=50, description="members of the model, at most one a unit; each leaves out a part of the units"
    )
    regime_step: float = Field(1.0, gt=0, description="settings equal after rounding to this are one regime")

    def lengths_h(self, lives_h: Sequence[float]) -> tuple[float, float]:
        """Cap and horizon for units that lived so long: what is not given is in proportion as on turbofans."""
        cap_h = self.cap_h or float(f"{_CAP * median(lives_h):.2g}")
        return cap_h, self.horizon_h or float(f"{cap_h / 4:.2g}")


class Member(Protocol):
    """Learnt from some of the units."""

    def predict(self, features: Single) -> Floats:
        """Life left as a share of the cap, [n], of features [n, K]."""

    def build(self, graph: Graph, features: str) -> str:
        """The nodes of `predict`: the name of [batch, 1]."""


_FEWEST = 3  # units
_CAP = 5 / 8  # of the median life, as 125 cycles are on C-MAPSS's FD001
Learn = Callable[[Single, Single, int], Member]  # of features [n, K], shares of the cap [n] and a seed


class Prediction(NamedTuple):
    """float64 [n]; lives in hours."""

    rul: Floats
    low: Floats
    high: Floats
    failure_prob: Floats


class FailureModel(NamedTuple):
    """A fitted model. `kept`: positions of its channels among those of the units it was fitted on."""

    front: Front
    members: tuple[Member, ...]
    kept: tuple[int, ...]
    calibration: Calibration
    cap_h: float
    horizon_h: float
    hours_per_row: float
    held_out: dict[str, float]  # figures of units that the judging member did not see

    @property
    def window(self) -> int:
        """Frames per window."""
        return self.front.window

    def predict(self, windows: Floats) -> Prediction:
        """The reference of the graph, of windows [n, W, kept channels] in the channels' units, oldest frame first."""
        features = self.front.features(windows)
        share = np.mean([member.predict(features) for member in self.members], axis=0)
        rul = self.cap_h * np.clip(share, 0, 1)
        low, high = self.calibration.interval(rul)
        return Prediction(rul, low, high, self.calibration.failure_prob(rul))

    def predict_last(self, unit: Floats) -> Prediction:
        """At the last row of one unit [rows, all channels], each [1]; a short unit is padded as in training."""
        return self.predict(windows_at(unit[:, list(self.kept)], self.window, np.array([len(unit) - 1])))

    def build(self, graph: Graph, window: str) -> dict[str, str]:
        """Add the nodes for the input `window`; the names of rul_h, rul_low_h, rul_high_h, failure_prob and health.

        Health is 100 at the cap and 0 at the end of life.
        """
        features = self.front.build(graph, window)
        share = self.members[0].build(graph, features)
        for member in self.members[1:]:
            share = graph.add("Add", share, member.build(graph, features))
        mean = graph.add("Div", share, graph.constant(len(self.members)))
        share = graph.add("Clip", mean, graph.constant(0.0), graph.constant(1.0))
        rul = graph.add("Mul", share, graph.constant(self.cap_h))
        low, high, soon = self.calibration.build(graph, rul)
        health = graph.add("Mul", share, graph.constant(100.0))
        return {"rul_h": rul, "rul_low_h": low, "rul_high_h": high, "failure_prob": soon, "health": health}


def fit_failure(
    units: Sequence[Floats],
    params: FailureParams,
    learn: Learn,
    *,
    filters: Callable[[int], Floats] = filters_of,
    settings: int = 0,
    hours_per_row: float = 1.0,
    seed: int = 0,
    advance: Advance = quiet,
) -> FailureModel:
    """Fit on units that ran to failure.

    Args:
        units: float64 [rows, channels] each, oldest first, whose last row is the last before failure. The first
            `settings` channels set the operating regime; all others are sensors, an age or counter of cycles too
            where there is one. Sensors that are constant in every regime are left out.
        params: settings of the recipe.
        learn: fits a member.
        filters: [F, window], whole numbers, of a number of frames; `Front` says what they are.
        settings: how many channels are operating settings.
        hours_per_row: from one row to the next.
        seed: of the folds and of each member.
        advance: told how many members are fitted, of how many.

    Raises:
        DataError: too few units, a value that is not finite, no sensor that moves, too many regimes, or no unit
            that outlives the horizon.
    """
    _check(units, settings)
    cap_h, horizon_h = params.lengths_h([len(unit) * hours_per_row for unit in units])
    if (longest := (max(map(len, units)) - 1) * hours_per_row) <= horizon_h:
        msg = (
            f"no unit ran longer than {longest:.3g} h: nothing tells failing within {horizon_h:g} h from well; "
            "longer units, or a shorter horizon_h, are needed"
        )
        raise DataError(msg)
    front, kept = fit_front(
        np.concatenate(units), settings=settings, window=params.window, regime_step=params.regime_step
    )
    front = front._replace(filters=filters(params.window).astype(np.float32))
    features = [_features(front, unit[:, list(kept)]) for unit in units]
    lives = [np.arange(len(unit))[::-1] * hours_per_row for unit in units]
    shares = [np.minimum(life / cap_h, 1).astype(np.float32) for life in lives]
    folds = min(params.folds, len(units))
    fold = np.random.default_rng(seed).permutation(len(units)) % folds
    members: list[Member] = []
    said = [np.empty(0)] * len(units)
    for number in range(folds):
        advance(number, folds)
        known, held = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        x, y = (np.concatenate([each[at] for at in known]) for each in (features, shares))
        members.append(learn(x, y, seed * params.folds + number))
        for at in held:
            said[at] = cap_h * np.clip(members[-1].predict(features[at]), 0, 1)
    advance(folds, folds)
    weights = [np.full(len(unit), 1 / len(unit)) for unit in units]
    held_out = HeldOut(*(np.concatenate(each) for each in (said, lives, weights)))
    calibration = calibrate(held_out, coverage=params.coverage, horizon=horizon_h)
    of_row = np.repeat(fold, [len(unit) for unit in units])
    figures = _figures(held_out, of_row, params.coverage, cap_h)
    return FailureModel(front, tuple(members), kept, calibration, cap_h, horizon_h, hours_per_row, figures)


def windows_at(unit: Floats, window: int, ends: NDArray[np.int64]) -> Floats:
    """The windows that end at these rows of a unit, [n, window, channels], oldest frame first.

    Where rows are missing before the first one, those there are go back and forth: never rows after the window's end.
    """
    end = ends[:, None]
    before = np.arange(window)[::-1]  # rows before the end, were there so many
    phase = before % np.maximum(2 * end, 1)  # on a way of `end` rows back and `end` rows forth
    windows: Floats = unit[end - np.minimum(phase, 2 * end - phase)]
    return windows


def _features(front: Front, unit: Floats) -> Single:
    """Of every row of a unit, some at a time."""
    parts = 1 + len(unit) * front.window * unit.shape[1] // AT_ONCE
    ends = np.array_split(np.arange(len(unit)), parts)
    return np.concatenate([front.features(windows_at(unit, front.window, each)) for each in ends])


def _check(units: Sequence[Floats], settings: int) -> None:
    if len(units) < _FEWEST:
        msg = f"{len(units)} machines to learn from; at least {_FEWEST} that ran until they failed are needed"
        raise DataError(msg)
    for number, unit in enumerate(units):
        wrong = unit.ndim != 2 or not len(unit) or unit.shape[1] <= settings or unit.shape[1] != units[0].shape[1]
        if wrong or not np.isfinite(unit).all():
            msg = f"unit {number} {unit.shape}: finite rows of {settings} settings and a sensor are needed"
            raise DataError(msg)


def _figures(held_out: HeldOut, folds: NDArray[np.int64], coverage: float, cap_h: float) -> dict[str, float]:
    """Errors in hours, each unit counting the same, and what they would be if the mean life were always said.

    The share of lives, not capped, that intervals hold: those of a fold by intervals that know the other folds alone.
    """
    rul, life, weight = held_out
    capped, total = np.minimum(life, cap_h), weight.sum()
    held = np.empty(len(life), np.bool_)
    for number in np.unique(folds):
        judged = folds == number
        known = intervals(HeldOut(*(each[~judged] for each in held_out)), coverage)
        low, high = known.of(rul[judged])
        held[judged] = (low <= life[judged]) & (life[judged] <= high)
    mean = (weight * capped).sum() / total
    return {
        "held_out_rmse_h": float(np.sqrt((weight * (rul - capped) ** 2).sum() / total)),
        "held_out_rmse_of_mean_h": float(np.sqrt((weight * (mean - capped) ** 2).sum() / total)),
        "held_out_coverage": float((weight * held).sum() / total),
    }
