"""Principal components: Hotelling's T² inside the model plane, Q (SPE) off it.

Jackson & Mudholkar (1979), Control Procedures for Residuals Associated With Principal Component Analysis,
Technometrics 21(3). A channel's part is what vanishes of the distance in all directions, kept or not, when that
channel alone is moved to where it is least (`blame_of`): channels that go together do not share the blame of one.

A window is reduced to its mean over time: this smooths noise and delays a step by up to a window. The
papers' limits suppose independent Gaussian rows; machines give neither, so each statistic is measured by an
upper quantile of its own in training, and the larger of both is the surprise: 1 is the edge of what was seen.

Machines warm up, settle and wear in, and a training that is short against that shows only the beginning. With `follow`
the level of normal moves with each channel, but no faster than a steady drift could go that training holds: a straight
line through n windows rises by sqrt(12) / n of its own standard deviation at each. A step stays a surprise for long, a
slope as slow as that is none; so a fault that lasts is forgotten after the rows that a drift of its size would take.
The levels are the model's state, in standard deviations off the mean of training, where they begin; with them goes a
mark of that training, for a model that was trained anew is handed the state of the one before it.
"""

import math
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel, Field

from models.training.anomaly.base import (
    Advance,
    Floats,
    Scaling,
    blame_of,
    blamed,
    build_blamed,
    build_window_mean,
    check_runs,
    column,
    quiet,
    row,
    scaling_of,
    total,
    window_means,
)
from models.training.graph import Graph

_SMALLEST_VARIANCE = 1e-6  # of a standardised direction; below it there is only rounding
_NARROWEST = 1e-2  # variance of a direction, where channels are blamed: narrower, float32 would blame them for rounding
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
    follow: float = Field(
        0.0,
        ge=0,
        le=1,
        description="0: normal stays put; 1: it follows drift as fast as training can hold; 0.3 is a start",
    )


class PcaModel(NamedTuple):
    """A fitted model. Channels C, kept components K."""

    window: int
    scaling: Scaling
    components: Floats  # [C, K], orthonormal columns
    variances: Floats  # [K]
    t2_unit: float
    q_unit: float
    blame: Floats  # [C, C]: applied to a row of z, the root of each channel's part
    pace: float  # standard deviations by which a level moves from one window to the next, at most

    @property
    def state(self) -> int:
        """The level of each channel and the mark, where levels are followed."""
        return len(self.scaling.mean) + 1 if self.pace else 0

    def statistics(self, windows: Floats) -> tuple[Floats, Floats]:
        """T² and Q off the mean of training, each [batch], of windows [batch, window, channels]."""
        plane, residual = self._parts(self._means(windows))
        return (plane**2).sum(1), (residual**2).sum(1)

    def raw(self, windows: Floats) -> tuple[Floats, Floats]:
        """The larger of T² and Q in their units, a squared distance; and the share of each channel.

        With `pace` the windows are consecutive ones of a machine never seen before.
        """
        z = self._means(windows)
        z = z - self.levels(z) if self.pace else z
        plane, residual = self._parts(z)
        plane, residual = plane**2 / self.t2_unit, residual**2 / self.q_unit
        return np.maximum(plane.sum(1), residual.sum(1)), blamed(z, self.blame)

    def build(self, graph: Graph, window: str) -> tuple[str, str]:
        """The nodes of `raw`."""
        channels = len(self.scaling.mean)
        z = column(graph, build_window_mean(graph, window, self.window, self.scaling))
        z = self._build_follow(graph, z) if self.pace else z
        squares = []
        for matrix, unit in zip(self._matrices(), (self.t2_unit, self.q_unit), strict=True):
            part = graph.add("MatMul", graph.constant(matrix.T), z)
            squares.append(graph.add("Div", graph.add("Mul", part, part), graph.constant(unit)))
        t2, q = (total(graph, square, channels) for square in squares)
        return row(graph, graph.add("Max", t2, q)), build_blamed(graph, z, self.blame)

    def _build_follow(self, graph: Graph, z: str) -> str:
        """The nodes that take the levels off z, [batch, C, 1], and name `state_next`."""
        end, axis = len(self.scaling.mean), graph.constant([1], np.int64)
        first, last, after = (graph.constant([at], np.int64) for at in (0, end, end + 1))
        mark, own = graph.add("Slice", "state", last, after, axis), graph.constant(self.mark)
        is_own = graph.add("Equal", mark, own)
        levels = graph.add("Slice", "state", first, last, axis)
        level = column(graph, graph.add("Where", is_own, levels, graph.constant(0.0)))
        off = graph.add("Sub", z, level)
        step = graph.add("Clip", off, graph.constant(-self.pace), graph.constant(self.pace))
        moved = row(graph, graph.add("Add", level, step))
        graph.add("Concat", moved, graph.add("Where", is_own, mark, own), axis=1, to="state_next")
        return off

    @property
    def mark(self) -> float:
        """A whole number above 0 that float32 holds, of what a level is counted from and in."""
        return float(zlib.crc32(np.concatenate(self.scaling).tobytes()) % 2**23 + 1)

    def _means(self, windows: Floats) -> Floats:
        """The scaled mean of each window, [batch, C]."""
        z: Floats = (windows - self.scaling.mean).mean(1) / self.scaling.scale
        return z

    def levels(self, z: Floats) -> Floats:
        """The level that each of consecutive rows of z [n, C] is held against: moved by the rows before it alone."""
        levels = np.zeros_like(z)
        for at in range(1, len(z)):
            levels[at] = levels[at - 1] + np.clip(z[at - 1] - levels[at - 1], -self.pace, self.pace)
        return levels

    def _parts(self, z: Floats) -> tuple[Floats, Floats]:
        """What each channel adds to T² and to Q, before squaring, [batch, C] each."""
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
    own = singular**2 / (len(z) - 1)
    enough = int(np.searchsorted(np.cumsum(own) / own.sum(), params.explained - 1e-12)) + 1
    variances = (1 - params.shrinkage) * own + params.shrinkage
    kept = min(enough, int((variances > _SMALLEST_VARIANCE).sum()))
    pace = params.follow * math.sqrt(12) / len(z)
    weights = np.maximum(np.concatenate([variances[:kept], own[kept:]]), _NARROWEST) ** -0.5
    widest = _NARROWEST**-0.5  # also of directions that too few rows leave out
    whiten = (rows.T * (weights - widest)) @ rows + widest * np.eye(channels)
    blame = blame_of(whiten) @ whiten
    model = PcaModel(params.window, scaling, rows[:kept].T, variances[:kept], 1.0, 1.0, blame, pace)
    t2, q = model.statistics(means[:, None])
    return model._replace(
        t2_unit=float(np.quantile(t2, 1 - params.beyond)),
        q_unit=max(float(np.quantile(q, 1 - params.beyond)), _SMALLEST_Q * channels),
    )
