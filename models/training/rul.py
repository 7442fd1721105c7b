"""Remaining useful life from runs to failure: boosted trees on linear functionals of a window.

The label is min(cycles left, 125): a machine that is well shows no sign of how long it will stay so
(Heimes 2008, Recurrent Neural Networks for Remaining Useful Life Estimation, PHM). Trees: Ke et al. 2017 (LightGBM),
as scikit-learn has them. Operating regimes are normalised apart, as most work on C-MAPSS FD002 and FD004 does.

Held-out figures come from folds by unit: windows of one unit overlap, and a random split would leak.
Means and scales of the sensors are taken over all units, held-out ones too; labels are not.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from models.training.pca import Floats, sliding
from models.training.table import DataError

CAP_CYCLES = 125.0
HORIZON_CYCLES = 30.0
_FOLDS = 5
_MOST_REGIMES = 20
_CONSTANT = 1e-6  # a spread below this share of the level is no spread


class Front(NamedTuple):
    """What turns a window into features. Settings E, regimes R, sensors S, functionals F, window W.

    A window's channels are the settings, then the sensors. E is 0 where all units run in one regime.
    """

    centres: Floats  # [R, E]
    mean: Floats  # [R, S]
    scale: Floats  # [R, S]
    functionals: Floats  # [F, W]

    @property
    def settings(self) -> int:
        """E."""
        return int(self.centres.shape[1])

    def features(self, windows: Floats) -> NDArray[np.float32]:
        """[batch, F * S] of windows [batch, W, E + S]; float32, as the graph has it, so that trees split alike."""
        settings, sensors = windows[..., : self.settings], windows[..., self.settings :]
        distance = ((settings[..., None, :] - self.centres) ** 2).sum(-1)
        regime = distance.argmin(-1)
        z = (sensors - self.mean[regime]) / self.scale[regime]
        features: Floats = (self.functionals @ z).reshape(len(windows), -1)
        return features.astype(np.float32)


class RulModel(NamedTuple):
    """A fitted model. `kept`: positions of its channels in the frames it was fitted on."""

    front: Front
    trees: HistGradientBoostingRegressor
    kept: tuple[int, ...]
    failure_slope: float  # failure_prob = 1 / (1 + exp(-(intercept + slope * rul)))
    failure_intercept: float
    held_out_rmse: float  # cycles, labels capped

    @property
    def window(self) -> int:
        """Frames per window."""
        return int(self.front.functionals.shape[1])

    def rul(self, windows: Floats) -> Floats:
        """Cycles left, [batch], in [0, 125], of windows [batch, W, kept channels]."""
        cycles: Floats = self.trees.predict(self.front.features(windows))
        return np.clip(cycles, 0, CAP_CYCLES)

    def failure_prob(self, rul: Floats) -> Floats:
        """Probability of failure within 30 cycles, given the predicted cycles left; fitted on held-out units."""
        return 1 / (1 + np.exp(-(self.failure_intercept + self.failure_slope * rul)))


def fit_rul(
    units: Sequence[Floats],
    *,
    settings: int = 0,
    window: int = 30,
    seed: int = 0,
    advance: Callable[[int, int], None] = lambda _done, _total: None,
) -> RulModel:
    """Fit on units that ran to failure.

    Args:
        units: one array [cycles, channels] a unit, oldest first, whose last row is the last before failure.
            The first `settings` channels are operating settings; each distinct row of them, rounded to whole
            units, is a regime. Sensors that are constant in every regime are left out.
        settings: how many.
        window: frames per window; a shorter unit is padded by repeating its first row.
        seed: of the trees.
        advance: told how many fits are done, of how many.

    Raises:
        DataError: too few units, a value that is not finite, no sensor that moves, or too many regimes.
    """
    if len(units) < _FOLDS:
        msg = f"{len(units)} units; at least {_FOLDS} are needed to hold some out"
        raise DataError(msg)
    for number, unit in enumerate(units):
        if unit.ndim != 2 or not len(unit) or unit.shape[1] <= settings or not np.isfinite(unit).all():
            msg = f"unit {number} {unit.shape}: finite rows of {settings} settings and a sensor are needed"
            raise DataError(msg)
    front, kept = _fit_front(np.concatenate(units), settings, window)
    windows = [windows_of(unit[:, kept], window) for unit in units]
    x = np.concatenate([front.features(each) for each in windows])
    y = np.concatenate([np.minimum(np.arange(len(each))[::-1], CAP_CYCLES) for each in windows])
    group = np.repeat(np.arange(len(units)), [len(each) for each in windows])
    held_out = np.empty_like(y)
    for fold, (train, test) in enumerate(GroupKFold(_FOLDS).split(x, y, group)):
        advance(fold, _FOLDS + 1)
        held_out[test] = np.clip(_trees(seed).fit(x[train], y[train]).predict(x[test]), 0, CAP_CYCLES)
    soon = y <= HORIZON_CYCLES
    if soon.all():
        msg = f"no unit ran longer than {HORIZON_CYCLES:.0f} cycles: nothing tells failing from well"
        raise DataError(msg)
    advance(_FOLDS, _FOLDS + 1)
    logistic = LogisticRegression().fit(held_out[:, None], soon)
    return RulModel(
        front,
        _trees(seed).fit(x, y),
        kept,
        float(logistic.coef_[0, 0]),
        float(logistic.intercept_[0]),
        float(np.sqrt(((held_out - y) ** 2).mean())),
    )


def windows_of(unit: Floats, window: int) -> Floats:
    """Every window of a unit, [n, window, channels], oldest first; a short unit is padded with its first row."""
    short = max(0, window - len(unit))
    return sliding(np.concatenate([np.repeat(unit[:1], short, axis=0), unit]), window)


def _trees(seed: int) -> HistGradientBoostingRegressor:
    return HistGradientBoostingRegressor(
        max_iter=300,
        learning_rate=0.03,
        max_leaf_nodes=8,
        min_samples_leaf=100,
        max_features=0.2,
        early_stopping=False,
        random_state=seed,
    )


def _fit_front(frames: Floats, settings: int, window: int) -> tuple[Front, tuple[int, ...]]:
    """The front, and the positions of the channels it uses."""
    rounded = np.round(frames[:, :settings])
    regimes, regime = np.unique(rounded, axis=0, return_inverse=True) if settings else (rounded[:1], 0)
    regime = np.broadcast_to(regime, len(frames))
    if len(regimes) > _MOST_REGIMES:
        msg = f"{len(regimes)} operating regimes after rounding the settings; at most {_MOST_REGIMES} are allowed"
        raise DataError(msg)
    used = settings if len(regimes) > 1 else 0
    groups = [frames[regime == number] for number in range(len(regimes))]
    centres = np.array([group[:, :used].mean(0) for group in groups])
    mean = np.array([group[:, settings:].mean(0) for group in groups])
    spread = np.array([group[:, settings:].std(0) for group in groups])
    moves = spread > _CONSTANT * np.abs(mean)
    sensors = np.flatnonzero(moves.any(0))
    if not len(sensors):
        msg = "no sensor moves; there is nothing to learn"
        raise DataError(msg)
    scale = np.where(moves, spread, 1.0)
    front = Front(centres, mean[:, sensors], scale[:, sensors], _functionals(window))
    return front, (*range(used), *(int(settings + at) for at in sensors))


def _functionals(window: int) -> Floats:
    """[4, window]: mean of the last 5 and the last 10 frames, mean of all, least-squares slope times the window."""
    rows = np.zeros((4, window))
    for row, length in zip(rows, (5, 10, window), strict=False):
        row[-length:] = 1 / min(length, window)
    time = np.arange(window) - (window - 1) / 2
    rows[3] = time * window / max(float(time @ time), 1.0)
    return rows
