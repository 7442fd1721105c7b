"""From a predicted life to an interval and to the probability of failing soon, by units that were held out.

Cross-conformal (Vovk 2015): each held-out prediction is by members that did not see its unit, and what lives turned
out to be, less what was predicted, tells how wide the interval has to be. Errors grow with the life that is left, so
their quantiles are taken among similar predictions and joined by straight lines. Lives here are not capped.

A unit counts as much as any other, and is asked at every moment of its life alike. Intervals fitted so held their share
of lives on turbofans whenever they were asked, in the last two thirds of a life, in its last half, or near its end;
those fitted on late moments alone failed young units.
"""

from typing import NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression

from models.training.anomaly.base import Floats, column, row
from models.training.graph import Graph

_GROUPS = 10  # of similar predictions


class HeldOut(NamedTuple):
    """Predictions of units that the predicting member never saw; a row a window, [n]."""

    rul: Floats  # predicted
    life: Floats  # what it turned out to be, not capped
    weight: Floats  # above 0; each unit's rows add to 1


class Intervals(NamedTuple):
    """How far from a predicted life the true one may be. K knots; all in hours."""

    knots: Floats  # [K], ascending predictions
    low: Floats  # [K]: to be added to a prediction there
    high: Floats  # [K]

    def of(self, rul: Floats) -> tuple[Floats, Floats]:
        """Low and high, [n], of predictions [n]: low <= rul <= high, and no life is below 0."""
        low, high = (rul + np.interp(rul, self.knots, offset) for offset in (self.low, self.high))
        return np.maximum(low, 0), high


class Calibration(NamedTuple):
    """What a predicted life means; in hours."""

    intervals: Intervals
    slope: float  # failure_prob = 1 / (1 + exp(-(intercept + slope * rul)))
    intercept: float

    def interval(self, rul: Floats) -> tuple[Floats, Floats]:
        """As `Intervals.of`."""
        return self.intervals.of(rul)

    def failure_prob(self, rul: Floats) -> Floats:
        """Of failing within the horizon, [n], of predictions [n]."""
        return 1 / (1 + np.exp(-(self.intercept + self.slope * rul)))

    def build(self, graph: Graph, rul: str) -> tuple[str, str, str]:
        """The nodes: names of low, high and failure_prob, [batch, 1] each."""
        knots, *offsets = self.intervals
        widths = np.diff(knots)
        past = graph.add("Sub", rul, graph.constant(knots[:-1]))
        within = graph.add("Min", graph.add("Max", past, graph.constant(0.0)), graph.constant(widths))
        ends = []
        for offset in offsets:
            rise = graph.add("MatMul", graph.constant((np.diff(offset) / widths)[None]), column(graph, within))
            ends.append(graph.add("Add", graph.add("Add", row(graph, rise), graph.constant(offset[0])), rul))
        low = graph.add("Max", ends[0], graph.constant(0.0))
        odds = graph.add("Add", graph.add("Mul", rul, graph.constant(self.slope)), graph.constant(self.intercept))
        return low, ends[1], graph.add("Sigmoid", odds)


def calibrate(held_out: HeldOut, *, coverage: float, horizon: float) -> Calibration:
    """Fit on held-out predictions.

    Args:
        held_out: both lives that end within the horizon and longer ones must be among them.
        coverage: share of lives that the interval should hold.
        horizon: hours.
    """
    rul, life, weight = held_out
    model = LogisticRegression().fit(rul[:, None], life <= horizon, sample_weight=weight * len(rul) / weight.sum())
    return Calibration(intervals(held_out, coverage), float(model.coef_[0, 0]), float(model.intercept_[0]))


def intervals(held_out: HeldOut, coverage: float) -> Intervals:
    """Fit on held-out predictions; `coverage`: share of lives that the interval should hold."""
    rul, life, weight = held_out
    order = np.argsort(rul, kind="stable")
    share = np.cumsum(weight[order]) / weight.sum()
    groups = np.split(order, np.searchsorted(share, np.arange(1, _GROUPS) / _GROUPS))
    tail = (1 - coverage) / 2
    points = []
    for group in groups:
        if not len(group):  # a single row may outweigh a tenth
            continue
        error = life[group] - rul[group]
        low, high = (_quantile(error, weight[group], level) for level in (tail, 1 - tail))
        points.append((_quantile(rul[group], weight[group], 0.5), min(low, 0.0), max(high, 0.0)))
    knots, low, high = np.array(points).T
    distinct = np.concatenate([[True], np.diff(knots) > 0])
    return Intervals(knots[distinct], low[distinct], high[distinct])


def _quantile(values: Floats, weights: Floats, level: float) -> float:
    order = np.argsort(values, kind="stable")
    share = np.cumsum(weights[order])
    at = np.searchsorted(share, level * share[-1])
    return float(values[order[min(at, len(order) - 1)]])
