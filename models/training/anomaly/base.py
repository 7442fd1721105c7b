"""What every anomaly recipe keeps to, and what several of them share.

A recipe is one file with `Params` and `fit(runs, params, seed=, advance=) -> AnomalyModel`. It sees only machines that
are well and learns how surprising a window is; where the alarm limit lies is settled afterwards, on other data
(`calibrate`), and both go into one graph (`export`).

Rules: windows never span two runs. A window's numbers never depend on its neighbours in a batch: in the graph each
window is a column of its own, [K, N] by [N, 1], never a row of a larger matrix, for ONNX Runtime adds up the rows of
a matrix in an order that depends on how many there are.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from models.training.graph import Graph
from models.training.table import DataError

Floats = NDArray[np.float64]
Advance = Callable[[int, int], None]  # how much is done, of how much

TINY = 1e-9  # added to what channels contribute: shares stay defined for a window without any surprise
AT_ONCE = 2**22  # values of windows that are laid out together
_CONSTANT = 1e-6  # a spread below this share of the level is no spread


def quiet(_done: int, _total: int) -> None:
    """An `advance` that shows nothing."""


class AnomalyModel(Protocol):
    """A fitted model. With `state` above 0 the graph also takes `state` and gives `state_next`, both [batch, state]."""

    @property
    def window(self) -> int:
        """Frames per window."""

    @property
    def state(self) -> int:
        """Numbers that the model remembers of an asset from one window to the next; 0 for most."""

    def raw(self, windows: Floats) -> tuple[Floats, Floats]:
        """The reference of the graph.

        Args:
            windows: [n, window, channels] in the channels' units, oldest frame first.

        Returns:
            How surprising each window is, [n], 0 or more, and the share of each channel, [n, channels], whose rows
            add to 1.
        """

    def build(self, graph: Graph, window: str) -> tuple[str, str]:
        """Add the nodes of `raw` for the input `window`; the names of [batch, 1] and [batch, channels]."""


class Scaling(NamedTuple):
    """Per channel, in its units, [C]: what z = (value - mean) / scale takes."""

    mean: Floats
    scale: Floats


def scaling_of(values: Floats) -> Scaling:
    """From values [n, C]. A channel that never moves is scaled by 1 % of its level (by 1 at level 0).

    So it is surprising as soon as it begins to move. Raises DataError where no channel moves.
    """
    mean, spread = values.mean(0), values.std(0, ddof=1)
    moves = spread > _CONSTANT * np.abs(mean)
    if not moves.any():
        msg = "runs: no channel moves; there is nothing to learn"
        raise DataError(msg)
    level = np.where(mean == 0, 1.0, 0.01 * np.abs(mean))
    return Scaling(mean, np.where(moves, spread, level))


def check_runs(runs: Sequence[Floats], window: int, *, least: int = 3) -> int:
    """The number of channels, once the runs are known to be fit for fitting.

    Raises:
        DataError: no runs, unlike widths, a value that is not finite, or fewer than `least` windows in all.
    """
    widths = {run.shape[1] if run.ndim == 2 else 0 for run in runs}
    if len(widths) != 1 or 0 in widths:
        msg = f"runs {[run.shape for run in runs]}: each [rows, channels], with the same channels, is needed"
        raise DataError(msg)
    for number, run in enumerate(runs):
        if not np.isfinite(run).all():
            row, channel = np.argwhere(~np.isfinite(run))[0]
            msg = f"run {number}: row {row}, channel {channel} is {run[row, channel]}; finite numbers are needed"
            raise DataError(msg)
    there = sum(max(0, len(run) - window + 1) for run in runs)
    if there < least:
        rows = [len(run) for run in runs]
        msg = (
            f"runs of {rows[:5]} rows hold {there} windows of {window} frames; at least {least} are needed:"
            " give more rows, or a shorter window"
        )
        raise DataError(msg)
    return widths.pop()


def sliding(frames: Floats, window: int) -> Floats:
    """Every window of the frames, [n - window + 1, window, channels], oldest frame first; a view."""
    return np.lib.stride_tricks.sliding_window_view(frames, window, axis=0).transpose(0, 2, 1)


def windows_of(runs: Sequence[Floats], window: int) -> Iterator[Floats]:
    """The windows of each run that has any, [n, window, channels]; views."""
    return (sliding(run, window) for run in runs if len(run) >= window)


def window_means(runs: Sequence[Floats], window: int) -> Floats:
    """The mean of each window of every run, [n, channels]."""
    return np.concatenate([windows.mean(1) for windows in windows_of(runs, window)])


def raw_of(model: AnomalyModel, run: Floats) -> tuple[Floats, Floats]:
    """`model.raw` of every window of a run, in parts that fit in memory; of a model with state in one."""
    if len(run) < model.window:
        return np.empty(0), np.empty((0, run.shape[1]))
    windows = sliding(run, model.window)
    size = len(windows) if model.state else max(1, AT_ONCE // (model.window * run.shape[1]))
    parts = [model.raw(windows[at : at + size]) for at in range(0, len(windows), size)]
    return np.concatenate([raw for raw, _ in parts]), np.concatenate([shares for _, shares in parts])


def split_by_time(runs: Sequence[Floats], held_out: float) -> tuple[list[Floats], list[Floats]]:
    """The earlier rows of each run, and its last share `held_out` of them.

    A run is cut, never shuffled: windows overlap, and one on both sides would be known before it is judged.
    """
    cuts = [(run, round(len(run) * (1 - held_out))) for run in runs]
    return [run[:cut] for run, cut in cuts], [run[cut:] for run, cut in cuts]


def shares_of(parts: Floats) -> Floats:
    """Non-negative parts [n, channels] as shares that add to 1."""
    safe = parts + TINY
    shares: Floats = safe / safe.sum(1, keepdims=True)
    return shares


def blame_of(off: Floats) -> Floats:
    """Rows of length 1, [C, K]: the directions that weighed residuals take by `off`, each with one channel off alone.

    A channel's part is the square of the residuals along its own: what vanishes of their length when that channel is
    moved to where it is least. This is the reconstruction of Alcala & Qin (2009), Automatica 45(7): a channel that is
    off alone has the largest part.
    """
    blame: Floats = off / (np.linalg.norm(off, axis=1, keepdims=True) + TINY)
    return blame


def blamed(residual: Floats, blame: Floats) -> Floats:
    """The share of each channel, [n, C], in residuals [n, K]."""
    return shares_of((residual @ blame.T) ** 2)


def column(graph: Graph, values: str) -> str:
    """[batch, …] as one column a window, [batch, N, 1]."""
    return graph.add("Reshape", values, graph.constant([0, -1, 1], np.int64))


def row(graph: Graph, values: str) -> str:
    """One column a window, [batch, N, 1], as [batch, N]."""
    return graph.add("Reshape", values, graph.constant([0, -1], np.int64))


def total(graph: Graph, values: str, channels: int) -> str:
    """The sum of one column a window: [batch, channels, 1] to [batch, 1, 1]."""
    return graph.add("MatMul", graph.constant(np.ones((1, channels))), values)


def build_shares(graph: Graph, parts: str, channels: int) -> str:
    """The nodes of `shares_of`, from [batch, channels, 1] to [batch, channels]."""
    safe = graph.add("Add", parts, graph.constant(TINY))
    return row(graph, graph.add("Div", safe, total(graph, safe, channels)))


def build_blamed(graph: Graph, residual: str, blame: Floats) -> str:
    """The nodes of `blamed`, from [batch, K, 1] to [batch, C]."""
    part = graph.add("MatMul", graph.constant(blame), residual)
    return build_shares(graph, graph.add("Mul", part, part), len(blame))


def build_centred(graph: Graph, values: str, mean: Floats) -> str:
    """Values minus a mean of training, before anything is added up: float32 keeps the small changes of a large level.

    In two steps, for a mean rounded to float32 would itself be wrong by a part of such a change.
    """
    near = mean.astype(np.float32)
    nearly = graph.add("Sub", values, graph.constant(near))
    return graph.add("Sub", nearly, graph.constant(mean - near))


def build_window_mean(graph: Graph, values: str, window: int, scaling: Scaling) -> str:
    """The scaled mean over time, [batch, window, channels] to [batch, 1, channels]."""
    centred = build_centred(graph, values, scaling.mean)
    mean = graph.add("MatMul", graph.constant(np.full((1, window), 1 / window)), centred)
    return graph.add("Div", mean, graph.constant(scaling.scale))
