"""Forecasting residuals: each channel is predicted from all channels a few frames back, by ridge regression.

Hoerl & Kennard (1970), Ridge Regression, Technometrics 12(1); a vector autoregression with a penalty. What the
forecast misses is averaged over the window and weighed by its covariance (a squared Mahalanobis distance over the
number of channels: about 1 where all is as in training). Such a model watches how a machine moves rather than where
it stands: slow drift counts for less, a broken relation in time for more, and a fault that lasts shows most at its
begin and its end.

A channel that is off also spoils the forecasts of those that follow it. So a channel's part is what vanishes of the
distance when the channel is moved, by one amount over the window, to where the distance is least (`blame_of`).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel, Field, model_validator

from models.training.anomaly.base import (
    Advance,
    Floats,
    Scaling,
    blame_of,
    blamed,
    build_blamed,
    build_centred,
    check_runs,
    column,
    quiet,
    row,
    scaling_of,
    sliding,
    total,
)
from models.training.graph import Graph

_SMALLEST_VARIANCE = 1e-3  # of a residual: 3 % of a channel's standard deviation is never a surprise


class Params(BaseModel, extra="forbid", frozen=True):
    """What can be chosen."""

    lags: int = Field(5, ge=1, description="frames that a forecast looks back on")
    window: int = Field(15, ge=2, description="frames: the lags, and those whose residuals are averaged")
    ridge: float = Field(0.01, gt=0, description="penalty on the weights, as a share of the number of rows")

    @model_validator(mode="after")
    def _room(self) -> "Params":
        if self.window <= self.lags:
            msg = f"window {self.window} must be larger than lags {self.lags}: what is left is averaged"
            raise ValueError(msg)
        return self


class ForecastModel(NamedTuple):
    """A fitted model. `weights` [C, window * C] turn a scaled window, frame after frame, into weighed residuals."""

    window: int
    scaling: Scaling
    weights: Floats
    blame: Floats  # [C, C]: row c is the direction, of length 1, in which weighed residuals go when channel c is off

    @property
    def state(self) -> int:
        """None is kept."""
        return 0

    def raw(self, windows: Floats) -> tuple[Floats, Floats]:
        """The mean square of the weighed residuals, and the share of each channel's part."""
        z = (windows - self.scaling.mean) / self.scaling.scale
        residual = z.reshape(len(z), -1) @ self.weights.T
        return (residual**2).mean(1), blamed(residual, self.blame)

    def build(self, graph: Graph, window: str) -> tuple[str, str]:
        """The nodes of `raw`."""
        channels = len(self.scaling.mean)
        centred = build_centred(graph, window, self.scaling.mean)
        z = column(graph, graph.add("Div", centred, graph.constant(self.scaling.scale)))
        residual = graph.add("MatMul", graph.constant(self.weights), z)
        squares = graph.add("Mul", residual, residual)
        mean = graph.add("Mul", total(graph, squares, channels), graph.constant(1 / channels))
        return row(graph, mean), build_blamed(graph, residual, self.blame)


def fit(runs: Sequence[Floats], params: Params, *, seed: int = 0, advance: Advance = quiet) -> ForecastModel:
    """Fit on runs [rows, channels] of machines that are well, oldest first; there is no randomness in it.

    Raises:
        DataError: a value that is not finite, too few rows, or nothing that moves.
    """
    del seed, advance  # the protocol's; nothing here is drawn, and nothing takes long
    lags, window = params.lags, params.window
    channels = check_runs(runs, window, least=10)
    used = [run for run in runs if len(run) >= window]
    scaling = scaling_of(np.concatenate(used))
    scaled = [(run - scaling.mean) / scaling.scale for run in used]
    past = np.concatenate([sliding(run[:-1], lags).reshape(-1, lags * channels) for run in scaled])
    now = np.concatenate([run[lags:] for run in scaled])
    penalty = params.ridge * len(past) * np.eye(lags * channels)
    forecast = np.linalg.solve(past.T @ past + penalty, past.T @ now).T  # [C, lags * C]
    averaged = window - lags
    residual = np.zeros((channels, window, channels))
    for at in range(averaged):
        residual[:, at : at + lags] -= forecast.reshape(channels, lags, channels) / averaged
        residual[:, at + lags] += np.eye(channels) / averaged
    flat = residual.reshape(channels, -1)
    errors = np.concatenate([sliding(run, window).reshape(-1, window * channels) @ flat.T for run in scaled])
    variances, directions = np.linalg.eigh(errors.T @ errors / len(errors))
    whiten = (directions / np.sqrt(np.maximum(variances, _SMALLEST_VARIANCE))) @ directions.T
    weights = whiten @ flat
    off = weights.reshape(channels, window, channels).sum(1).T  # row c: what an offset of channel c alone does
    return ForecastModel(window, scaling, weights, blame_of(off))
