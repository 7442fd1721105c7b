"""Principal components: Hotelling's T² inside the model plane, Q (SPE) off it.

Jackson & Mudholkar (1979), Control Procedures for Residuals Associated With Principal Component Analysis,
Technometrics 21(3). Contributions: the complete decomposition of Alcala & Qin (2009), Automatica 45(7),
which is never negative and sums to the statistic.

A window is reduced to its mean over time: this smooths noise and delays a step by up to a window. The
papers' limits suppose independent Gaussian rows; machines give neither, so each statistic is measured by an
upper quantile of its own in training, and the larger of both is the surprise: 1 is the edge of what was seen.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel, Field

from models.training.anomaly.base import (
    Advance,
    Floats,
    Scaling,
    build_shares,
    build_window_mean,
    check_runs,
    column,
    quiet,
    row,
    scaling_of,
    shares_of,
    total,
    window_means,
)
from models.training.graph import Graph

_SMALLEST_VARIANCE = 1e-6  # of a standardised direction; below it there is only rounding
_SMALLEST_Q = 1e-3  # per channel: a residual of 3 % of a standard deviation is never a surprise


class Params(BaseModel, extra="forbid", frozen=True):
    """What can be chosen."""

    window: int = Field(10, ge=1, description="frames averaged: more hides noise, and delays the alarm")
    explained: float = Field(
        1.0, gt=0, le=1, description="the fewest components that explain this share of variance; 1: all, and no Q"
    )
    shrinkage: float = Field(
        0.0, ge=0, le=1, description="0: directions count as rows tell; 1: channels count alone, for few rows or drift"
    )
    beyond: float = Field(0.001, ge=0, lt=1, description="share of training windows whose T² or Q is above its unit")


class PcaModel(NamedTuple):
    """A fitted model. Channels C, kept components K."""

    window: int
    scaling: Scaling
    components: Floats  # [C, K], orthonormal columns
    variances: Floats  # [K]
    t2_unit: float
    q_unit: float

    @property
    def state(self) -> int:
        """None is kept."""
        return 0

    def statistics(self, windows: Floats) -> tuple[Floats, Floats]:
        """T² and Q, each [batch], of windows [batch, window, channels]."""
        plane, residual = self._parts(windows)
        return (plane**2).sum(1), (residual**2).sum(1)

    def raw(self, windows: Floats) -> tuple[Floats, Floats]:
        """The larger of T² and Q in their units, a squared distance; and the share of each channel in both."""
        plane, residual = self._parts(windows)
        plane, residual = plane**2 / self.t2_unit, residual**2 / self.q_unit
        return np.maximum(plane.sum(1), residual.sum(1)), shares_of(plane + residual)

    def build(self, graph: Graph, window: str) -> tuple[str, str]:
        """The nodes of `raw`."""
        channels = len(self.scaling.mean)
        z = column(graph, build_window_mean(graph, window, self.window, self.scaling))
        squares = []
        for matrix, unit in zip(self._matrices(), (self.t2_unit, self.q_unit), strict=True):
            part = graph.add("MatMul", graph.constant(matrix.T), z)
            squares.append(graph.add("Div", graph.add("Mul", part, part), graph.constant(unit)))
        t2, q = (total(graph, square, channels) for square in squares)
        return row(graph, graph.add("Max", t2, q)), build_shares(graph, graph.add("Add", *squares), channels)

    def _parts(self, windows: Floats) -> tuple[Floats, Floats]:
        """What each channel adds to T² and to Q, before squaring, [batch, C] each."""
        z = (windows - self.scaling.mean).mean(1) / self.scaling.scale
        t = z @ self.components
        return (t / np.sqrt(self.variances)) @ self.components.T, z - t @ self.components.T

    def _matrices(self) -> tuple[Floats, Floats]:
        """The same as matrices [C, C], applied to a row of z."""
        whiten = (self.components / np.sqrt(self.variances)) @ self.components.T
        return whiten, np.eye(len(self.components)) - self.components @ self.components.T


def fit(runs: Sequence[Floats], params: Params, *, seed: int = 0, advance: Advance = quiet) -> PcaModel:
    """Fit on runs [rows, channels] of machines that are well, oldest first; there is no randomness in it.

    Raises:
        DataError: a value that is not finite, too few rows, or nothing that moves.
    """
    del seed, advance  # the protocol's; nothing here is drawn, and nothing takes long
    channels = check_runs(runs, params.window)
    means = window_means(runs, params.window)
    scaling = scaling_of(means)
    z = (means - scaling.mean) / scaling.scale
    _, singular, rows = np.linalg.svd(z, full_matrices=False)
    variances = singular**2 / (len(z) - 1)
    enough = int(np.searchsorted(np.cumsum(variances) / variances.sum(), params.explained - 1e-12)) + 1
    variances = (1 - params.shrinkage) * variances + params.shrinkage
    kept = min(enough, int((variances > _SMALLEST_VARIANCE).sum()))
    model = PcaModel(params.window, scaling, rows[:kept].T, variances[:kept], 1.0, 1.0)
    t2, q = model.statistics(means[:, None])
    return model._replace(
        t2_unit=float(np.quantile(t2, 1 - params.beyond)),
        q_unit=max(float(np.quantile(q, 1 - params.beyond)), _SMALLEST_Q * channels),
    )
