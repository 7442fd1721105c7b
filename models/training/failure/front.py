"""From a window to features: operating regimes normalised apart, then sums and slopes over several spans.

What is left of each sensor is rounded to 1/64 of its spread. Sums of such numbers with whole weights are exact in
float32 whatever their order, so scikit-learn, PyTorch and ONNX Runtime see the same features to the last bit, and no
feature lies on one side of a tree's split here and on the other there.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.training.anomaly.base import Floats
from models.training.graph import Graph
from models.training.table import DataError

Single = NDArray[np.float32]

MAX_WINDOW = 180  # frames; a slope over more could leave the whole numbers that float32 holds
_STEPS = 64.0  # to a standard deviation
_FAR = 16.0  # standard deviations; what lies beyond counts as this
_MOST_REGIMES = 20
_CONSTANT = 1e-6  # a spread below this share of the level is no spread
_SHORTEST, _SHORTEST_SLOPE = 4, 10  # frames of a span


class Front(NamedTuple):
    """Settings E, regimes R, sensors S, filters F, window W; a window's channels are the settings, then the sensors.

    E is 0 where all units run in one regime. The mean of a regime is `near` + `rest`: one float32 would be wrong by a
    part of a small change of a large level.
    """

    centres: Single  # [R, E], in the settings' units
    near: Single  # [R, S], in the sensors' units
    rest: Single  # [R, S]
    scale: Single  # [R, S]: a step of the rounding
    filters: Single  # [F, W], whole numbers

    @property
    def window(self) -> int:
        """W."""
        return int(self.filters.shape[1])

    @property
    def width(self) -> int:
        """Features: F * S."""
        return int(len(self.filters) * self.near.shape[1])

    def features(self, windows: Floats) -> Single:
        """[n, F * S], whole numbers, of windows [n, W, E + S]."""
        settings = self.centres.shape[1]
        frames = windows.astype(np.float32)
        given, sensors = frames[..., None, :settings], frames[..., settings:]
        regime = ((given - self.centres) ** 2).sum(-1).argmin(-1)
        z = (sensors - self.near[regime] - self.rest[regime]) / self.scale[regime]
        steps = np.clip(np.round(z), -_FAR * _STEPS, _FAR * _STEPS)
        features: Single = (self.filters @ steps).reshape(len(windows), -1)
        return features

    def build(self, graph: Graph, window: str) -> str:
        """The nodes of `features`: the name of [batch, F * S]."""
        settings, sensors = self.centres.shape[1], self.near.shape[1]
        tables = [graph.constant(each) for each in (self.near, self.rest, self.scale)]
        values = window
        if settings:
            values = graph.add("Gather", window, graph.constant(range(settings, settings + sensors), np.int64), axis=2)
            given = graph.add("Gather", window, graph.constant(range(settings), np.int64), axis=2)
            apart = graph.add(
                "Sub", graph.add("Unsqueeze", given, graph.constant([2], np.int64)), graph.constant(self.centres)
            )
            squares = graph.add("Mul", apart, apart)
            distance = graph.add("ReduceSum", squares, graph.constant([-1], np.int64), keepdims=0)
            regime = graph.add("ArgMin", distance, axis=2, keepdims=0)
            tables = [graph.add("Gather", table, regime, axis=0) for table in tables]
        near, rest, scale = tables
        z = graph.add("Div", graph.add("Sub", graph.add("Sub", values, near), rest), scale)
        limits = (graph.constant(sign * _FAR * _STEPS) for sign in (-1, 1))
        steps = graph.add("Clip", graph.add("Round", z), *limits)
        table = graph.add("MatMul", graph.constant(self.filters), steps)
        return graph.add("Reshape", table, graph.constant([-1, self.width], np.int64))


def fit_front(frames: Floats, *, settings: int, window: int, regime_step: float) -> tuple[Front, tuple[int, ...]]:
    """The front, and the positions of the channels it uses. Constant sensors are left out.

    Args:
        frames: [n, channels] of all units; the first `settings` channels set the operating regime.
        settings: how many.
        window: frames.
        regime_step: settings that are equal after rounding to multiples of this are one regime.

    Raises:
        DataError: no sensor moves, or there are too many regimes.
    """
    rounded = np.round(frames[:, :settings] / regime_step)
    regimes, regime = np.unique(rounded, axis=0, return_inverse=True) if settings else (rounded[:1], np.zeros(1, int))
    regime = np.broadcast_to(regime.ravel(), len(frames))
    if len(regimes) > _MOST_REGIMES:
        msg = (
            f"{len(regimes)} operating regimes, settings rounded to multiples of {regime_step:g}; at most "
            f"{_MOST_REGIMES} are allowed: a larger regime_step makes fewer"
        )
        raise DataError(msg)
    used = settings if len(regimes) > 1 else 0
    groups = [frames[regime == number] for number in range(len(regimes))]
    mean = np.array([group[:, settings:].mean(0) for group in groups])
    spread = np.array([group[:, settings:].std(0) for group in groups])
    moves = spread > _CONSTANT * np.abs(mean)
    sensors = np.flatnonzero(moves.any(0))
    if not len(sensors):
        msg = "no sensor moves; there is nothing to learn"
        raise DataError(msg)
    mean, scale = mean[:, sensors], np.where(moves, spread, 1.0)[:, sensors] / _STEPS
    near = mean.astype(np.float32)
    parts = (np.array([group[:, :used].mean(0) for group in groups]), near, mean - near, scale, filters_of(window))
    kept = (*range(used), *(int(settings + at) for at in sensors))
    return Front(*(part.astype(np.float32) for part in parts)), kept


def filters_of(window: int) -> Floats:
    """[F, window]: sums over the last frames and slopes through them, each span half as long as the one before."""
    spans = [window]
    while spans[-1] // 2 >= _SHORTEST:
        spans.append(spans[-1] // 2)
    rows = []
    for span in spans:
        total, slope = np.zeros((2, window))
        total[-span:], slope[-span:] = 1, 2 * np.arange(span) - (span - 1)
        rows += [total, slope] if span >= _SHORTEST_SLOPE else [total]
    return np.array(rows)
