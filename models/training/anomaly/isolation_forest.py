"""Isolation forest: windows that random splits set apart after few steps are rare.

Liu, Ting & Zhou (2008), Isolation Forest, ICDM; the trees are scikit-learn's. A window is reduced to its mean over
time. The surprise is how many times shorter its path through the trees is than one through a random search tree,
about 1 for a usual window: 2 to the power of minus its inverse is the paper's score, whose top is too narrow to set a
limit in. A channel's share is how far the surprise falls when that channel alone is put back to its median.

The forest knows no distance: far out it cannot tell twice as far, and so there is a highest score. A channel that
never moved in training is never split, and so is not watched.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field
from sklearn.ensemble import IsolationForest

from models.training.anomaly.base import (
    Advance,
    Floats,
    Scaling,
    build_shares,
    build_window_mean,
    check_runs,
    column,
    quiet,
    scaling_of,
    shares_of,
    window_means,
)
from models.training.graph import Graph
from models.training.trees import floor32

_EULER = 0.5772156649015329
_FAR = 1e6  # standard deviations: beyond every split
_STEPS = 100  # channels moved on the way to the highest score
_FAINT = 0.01  # a fall that says nothing: below it, no channel is to blame more than another


class Params(BaseModel, extra="forbid", frozen=True):
    """What can be chosen."""

    window: int = Field(10, ge=1, description="frames averaged: more hides noise, and delays the alarm")
    trees: int = Field(100, ge=1, le=1000, description="how many; more are steadier and slower")
    samples: int = Field(256, ge=2, description="training windows that each tree is grown on")


class IsolationModel(NamedTuple):
    """A fitted model. Channels C; `median` [C] is of scaled window means."""

    window: int
    scaling: Scaling
    median: Floats
    forest: IsolationForest

    @property
    def state(self) -> int:
        """None is kept."""
        return 0

    def raw(self, windows: Floats) -> tuple[Floats, Floats]:
        """How many times shorter the path is than by chance, and the share of each channel in it."""
        z = (windows - self.scaling.mean).mean(1) / self.scaling.scale
        channels = z.shape[1]
        # Row 0: the window as it is; row c + 1: with channel c put back.
        variants = np.where(_put_back(channels), self.median, z[:, None]).reshape(-1, channels)
        shorter = self._shorter(variants).reshape(len(z), channels + 1)
        return shorter[:, 0], shares_of(np.maximum(shorter[:, :1] - shorter[:, 1:], 0) + _FAINT)

    @property
    def ceiling(self) -> float:
        """The highest surprise that is known to be reached: the channel that adds most moves far out, one at a time.

        Another road may lead a little higher.
        """
        channels, highest, at = len(self.median), 0.0, self.median
        moved = np.eye(channels, dtype=np.bool_)
        for _ in range(_STEPS):
            rows = np.concatenate([np.where(moved, to, at) for to in (-_FAR, self.median, _FAR)])
            found = self._shorter(rows)
            if found.max() <= highest:
                break
            highest, at = float(found.max()), rows[found.argmax()]
        return highest

    def _shorter(self, z: Floats) -> Floats:
        """Of scaled window means [n, channels]."""
        scores = -self.forest.score_samples(z.astype(np.float32))  # the paper's
        shorter: Floats = -1 / np.log2(scores)
        return shorter

    def build(self, graph: Graph, window: str) -> tuple[str, str]:
        """The nodes of `raw`: all variants of a window go through the trees as rows, which these take one by one."""
        channels = len(self.median)
        mean = build_window_mean(graph, window, self.window, self.scaling)
        median = graph.constant(self.median[None, None])
        variants = graph.add("Where", graph.constant(_put_back(channels)[None], np.bool_), median, mean)
        rows = graph.add("Reshape", variants, graph.constant([-1, channels], np.int64))
        path = graph.add("TreeEnsembleRegressor", rows, domain="ai.onnx.ml", **_nodes(self.forest))
        shorter = graph.add("Div", graph.constant(_path_length(self.forest.max_samples_)), path)
        all_shorter = graph.add("Reshape", shorter, graph.constant([-1, channels + 1], np.int64))
        first, rest = graph.constant([0], np.int64), graph.constant(range(1, channels + 1), np.int64)
        whole = graph.add("Gather", all_shorter, first, axis=1)
        fall = graph.add("Relu", graph.add("Sub", whole, graph.add("Gather", all_shorter, rest, axis=1)))
        fall = graph.add("Add", fall, graph.constant(_FAINT))
        return whole, build_shares(graph, column(graph, fall), channels)


def fit(runs: Sequence[Floats], params: Params, *, seed: int, advance: Advance = quiet) -> IsolationModel:
    """Fit on runs [rows, channels] of machines that are well, oldest first.

    Raises:
        DataError: a value that is not finite, too few rows, or nothing that moves.
    """
    check_runs(runs, params.window)
    means = window_means(runs, params.window)
    scaling = scaling_of(means)
    z = ((means - scaling.mean) / scaling.scale).astype(np.float32)
    samples = min(params.samples, len(z))
    advance(0, 1)
    forest = IsolationForest(n_estimators=params.trees, max_samples=samples, random_state=seed).fit(z)
    advance(1, 1)
    return IsolationModel(params.window, scaling, np.median(z, axis=0).astype(np.float64), forest)


def _put_back(channels: int) -> NDArray[np.bool_]:
    """[channels + 1, channels]: which channel each variant replaces; the first none."""
    return np.eye(channels + 1, channels, -1, dtype=np.bool_)


def _path_length(samples: NDArray[np.int64] | int) -> Floats:
    """Mean path length of an unsuccessful search in a random tree of n samples: c(n) of the paper."""
    n = np.asarray(samples, np.float64)
    many = 2 * (np.log(np.maximum(n, 3) - 1) + _EULER) - 2 * (n - 1) / n
    length: Floats = np.where(n <= 1, 0.0, np.where(n == 2, 1.0, many))
    return length


def _nodes(forest: IsolationForest) -> dict[str, Any]:
    """The attributes of a TreeEnsembleRegressor that gives the mean path length: each leaf holds its own."""
    trees = [estimator.tree_ for estimator in forest.estimators_]
    ids = [np.arange(tree.node_count) for tree in trees]
    tree_ids = np.repeat(np.arange(len(trees)), [tree.node_count for tree in trees])
    node_ids = np.concatenate(ids)
    left, right = (np.concatenate([getattr(tree, f"children_{side}") for tree in trees]) for side in ("left", "right"))
    leaf = left < 0
    weights = np.concatenate([_depths(tree) + _path_length(tree.n_node_samples) for tree in trees])
    features, thresholds = (
        np.concatenate([getattr(tree, name) for tree in trees]) for name in ("feature", "threshold")
    )
    return {
        "n_targets": 1,
        "aggregate_function": "AVERAGE",
        "nodes_treeids": tree_ids.tolist(),
        "nodes_nodeids": node_ids.tolist(),
        "nodes_modes": np.where(leaf, "LEAF", "BRANCH_LEQ").tolist(),
        "nodes_featureids": np.where(leaf, 0, features).tolist(),
        "nodes_values": floor32(np.where(leaf, 0.0, thresholds)).tolist(),
        "nodes_truenodeids": np.where(leaf, 0, left).tolist(),
        "nodes_falsenodeids": np.where(leaf, 0, right).tolist(),
        "target_treeids": tree_ids[leaf].tolist(),
        "target_nodeids": node_ids[leaf].tolist(),
        "target_ids": [0] * int(leaf.sum()),
        "target_weights": weights[leaf].tolist(),
    }


def _depths(tree: Any) -> Floats:  # noqa: ANN401 - scikit-learn's Tree has no types
    """Splits from the root to each node; a parent stands before its children."""
    depths = np.zeros(tree.node_count)
    for node, (left, right) in enumerate(zip(tree.children_left, tree.children_right, strict=True)):
        if left >= 0:
            depths[[left, right]] = depths[node] + 1
    return depths
