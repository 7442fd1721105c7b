"""What an auto-encoder cannot rebuild: the surprise of a window, and each channel's share of it.

Residuals of one channel follow those of another, so distances are Mahalanobis': of the residual's mean over the
window (a level that has moved) and of what is left around it (a shape that is new), each whitened by its covariance on
normal windows that were held out from learning. Shares: the complete decomposition of Alcala & Qin (2009).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from models.training.anomaly.autoencoder import AutoencoderParams
from models.training.anomaly.base import (
    Advance,
    Floats,
    Scaling,
    build_shares,
    check_runs,
    row,
    scaling_of,
    shares_of,
    split_by_time,
    total,
)
from models.training.deep.export import to_graph
from models.training.deep.fit import Plan, predict, train
from models.training.deep.layers import Layer
from models.training.deep.windows import gather
from models.training.graph import Graph

_SMALLEST_VARIANCE = 1e-3  # of a residual: 3 % of a channel's spread is never a surprise
_FEWEST = 3  # windows on either side of the split
_MOST_HELD_OUT = 10_000  # windows that are looked at after each epoch


class Reconstruction(NamedTuple):
    """A fitted auto-encoder, an `AnomalyModel`. W frames, C channels; means and scales in the channels' units."""

    window: int
    network: Layer  # [batch, C, W] to the same shape, in standardised units
    scaling: Scaling  # of C channels
    level: Floats  # [C, C]: whitens the mean of a window's residual
    shape: Floats  # [C, C]: whitens a frame of the residual around that mean

    @property
    def state(self) -> int:
        """None is kept."""
        return 0

    def raw(self, windows: Floats) -> tuple[Floats, Floats]:
        """Squared distance a channel, near 2 for a normal window, [n], and shares, [n, C], of windows [n, W, C]."""
        level, around = _residuals(self.network, self.scaling, windows)
        squares = (level @ self.level) ** 2 + ((around @ self.shape) ** 2).mean(1)
        return squares.mean(1), shares_of(squares)

    def build(self, graph: Graph, window: str) -> tuple[str, str]:
        """The nodes of `raw`: names of [batch, 1] and [batch, C]."""
        channels = len(self.scaling.mean)
        centred = graph.add("Sub", window, graph.constant(self.scaling.mean))
        z = graph.add("Div", centred, graph.constant(self.scaling.scale))
        given = graph.add("Transpose", z, perm=[0, 2, 1])
        residual = graph.add("Sub", given, to_graph([self.network], graph, given))
        level = graph.add("ReduceMean", residual, axes=[2], keepdims=1)
        around = graph.add("Sub", residual, level)
        squares = []
        for matrix, part in ((self.level, level), (self.shape, around)):
            white = graph.add("MatMul", graph.constant(matrix), part)
            squares.append(graph.add("ReduceMean", graph.add("Mul", white, white), axes=[2], keepdims=1))
        both = graph.add("Add", *squares)  # [batch, C, 1]
        mean = graph.add("Div", total(graph, both, channels), graph.constant(channels))
        return row(graph, mean), build_shares(graph, both, channels)


def fit_reconstruction(
    runs: Sequence[Floats],
    make: Callable[[int], Layer],
    params: AutoencoderParams,
    *,
    seed: int,
    advance: Advance,
) -> Reconstruction:
    """Train an auto-encoder on machines that are well.

    The last share of each run chooses the epoch and gives the spread of the residuals.

    Args:
        runs: [rows, channels] each, finite, oldest row first; windows never span two of them.
        make: the network, [batch, C, W] to the same shape, for a number of channels.
        params: settings.
        seed: of weights and order.
        advance: told how many epochs are done, of how many.

    Raises:
        DataError: a value that is not finite, nothing that moves, or too few windows on either side of the split.
    """
    check_runs(runs, params.window)
    parts = split_by_time(runs, params.held_out)
    for part in parts:
        check_runs(part, params.window, least=_FEWEST)
    learnt, held = (gather(part, params.window) for part in parts)
    held = held.thin(_MOST_HELD_OUT)
    scaling = scaling_of(learnt.frames.astype(np.float64))
    both = learnt._replace(
        frames=np.concatenate([learnt.frames, held.frames]),
        starts=np.concatenate([learnt.starts, held.starts + len(learnt.frames)]),
    )

    def draw(numbers: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        given = torch.from_numpy(_standardise(both.take(numbers), scaling))
        return given, given

    network = train(
        lambda: make(len(scaling.mean)),
        draw,
        torch.nn.functional.mse_loss,
        examples=np.arange(len(learnt.starts)),
        held_out=np.arange(len(learnt.starts), len(both.starts)),
        plan=Plan(epochs=params.epochs),
        seed=seed,
        advance=advance,
    )
    left = [_residuals(network, scaling, windows) for windows in held.parts()]
    return Reconstruction(
        params.window, network, scaling, _whitener(level for level, _ in left), _whitener(around for _, around in left)
    )


def _standardise(windows: Floats | NDArray[np.float32], scaling: Scaling) -> NDArray[np.float32]:
    """[n, C, W] as the graph has it, in float32, of windows [n, W, C]."""
    mean, scale = (each.astype(np.float32) for each in scaling)
    return np.ascontiguousarray(((windows.astype(np.float32) - mean) / scale).transpose(0, 2, 1))


def _residuals(network: Layer, scaling: Scaling, windows: Floats | NDArray[np.float32]) -> tuple[Floats, Floats]:
    """What is not rebuilt: its mean over time, [n, C], and the rest around that, [n, W, C]."""
    z = _standardise(windows, scaling)
    residual = (z - predict(network, z)).astype(np.float64).transpose(0, 2, 1)
    level = residual.mean(1)
    return level, residual - level[:, None]


def _whitener(residuals: Iterable[Floats]) -> Floats:
    """The symmetric inverse root of the second moments about 0 of arrays [..., C]; [C, C], floored."""
    rows = np.concatenate([part.reshape(-1, part.shape[-1]) for part in residuals])
    variances, axes = np.linalg.eigh(rows.T @ rows / len(rows))
    whitener: Floats = (axes / np.sqrt(np.maximum(variances, 0) + _SMALLEST_VARIANCE)) @ axes.T
    return whitener
