"""A fitted model of remaining useful life as an ONNX graph and as a bundle.

The trees are written node by node: skl2onnx 1.20 hands ONNX 1.23 booleans where it wants integers, and
rounds thresholds to the nearest float32, which sends a feature that equals one down the wrong branch.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor

from models.bundle import Channel, Manifest, Threshold, write_bundle
from models.training.graph import Graph, to_bytes
from models.training.pca import Floats
from models.training.rul import CAP_CYCLES, Front, RulModel

CYCLE_S = 3600.0  # one cycle counts as one hour, so that `rul_h` is in hours


def to_onnx(model: RulModel) -> bytes:
    """`window` float32 [batch, W, channels] to rul_h, health (100 * rul / 125) and failure_prob, each [batch, 1].

    Numbers follow `RulModel.rul` and `failure_prob`, but where float32 puts a feature on the other side of a split.
    """
    graph = Graph()
    features = _features(graph, model.front)
    cycles = graph.add("TreeEnsembleRegressor", features, domain="ai.onnx.ml", n_targets=1, **_trees(model.trees))
    rul = graph.add("Clip", cycles, graph.constant(0.0), graph.constant(CAP_CYCLES), to="rul_h")
    graph.add("Mul", rul, graph.constant(100 / CAP_CYCLES), to="health")
    slope = graph.add("Mul", rul, graph.constant(model.failure_slope))
    graph.add("Sigmoid", graph.add("Add", slope, graph.constant(model.failure_intercept)), to="failure_prob")
    single = ("batch", 1)
    given = ("window", ("batch", model.window, len(model.kept)))
    return to_bytes(graph.model("rul", given, dict.fromkeys(("rul_h", "health", "failure_prob"), single)))


def write_rul_bundle(
    path: Path, model: RulModel, channels: Sequence[Channel], *, name: str, version: str, trained_on: str
) -> Manifest:
    """Write the bundle for the kept `channels`; alarms open when fewer than 30 hours are left for three windows."""
    manifest = Manifest(
        name=name,
        version=version,
        kind="failure",
        channels=tuple(channels),
        sample_period_s=CYCLE_S,
        window=model.window,
        stride=1,
        digest="",
        outputs=("rul_h", "health", "failure_prob"),
        threshold=Threshold(
            output="rul_h", above=False, open_at=30, close_at=40, open_after=3, close_after=5, severity=0.8
        ),
        trained_on=trained_on,
        evaluation={"held_out_rmse_h": model.held_out_rmse},
    )
    return write_bundle(path, manifest, to_onnx(model))


def _features(graph: Graph, front: Front) -> str:
    """The nodes of `Front.features`."""
    sensors = front.mean.shape[1]
    mean, scale = graph.constant(front.mean), graph.constant(front.scale)
    values = "window"
    if front.settings:
        channels = front.settings + sensors
        values = graph.add("Gather", "window", graph.constant(range(front.settings, channels), np.int64), axis=2)
        settings = graph.add("Gather", "window", graph.constant(range(front.settings), np.int64), axis=2)
        beside = graph.add("Unsqueeze", settings, graph.constant([2], np.int64))
        apart = graph.add("Sub", beside, graph.constant(front.centres))
        squares = graph.add("Mul", apart, apart)
        distance = graph.add("ReduceSum", squares, graph.constant([-1], np.int64), keepdims=0)
        regime = graph.add("ArgMin", distance, axis=2, keepdims=0)
        mean, scale = graph.add("Gather", mean, regime, axis=0), graph.add("Gather", scale, regime, axis=0)
    z = graph.add("Div", graph.add("Sub", values, mean), scale)
    table = graph.add("MatMul", graph.constant(front.functionals), z)
    return graph.add("Reshape", table, graph.constant([-1, len(front.functionals) * sensors], np.int64))


def _trees(model: HistGradientBoostingRegressor) -> dict[str, Any]:
    """The attributes of a TreeEnsembleRegressor: every node of every tree, a tree after another."""
    trees = [tree.nodes for (tree,) in model._predictors]  # noqa: SLF001 - scikit-learn shows its nodes nowhere else
    base = float(np.ravel(model._baseline_prediction)[0])  # noqa: SLF001 - likewise
    nodes = np.concatenate(trees)
    tree_ids = np.repeat(np.arange(len(trees)), [len(tree) for tree in trees])
    node_ids = np.concatenate([np.arange(len(tree)) for tree in trees])
    leaf = nodes["is_leaf"].astype(bool)
    return {
        "base_values": [base],
        "nodes_treeids": tree_ids.tolist(),
        "nodes_nodeids": node_ids.tolist(),
        "nodes_modes": np.where(leaf, "LEAF", "BRANCH_LEQ").tolist(),
        "nodes_featureids": np.where(leaf, 0, nodes["feature_idx"]).tolist(),
        "nodes_values": _floor32(np.where(leaf, 0.0, nodes["num_threshold"])).tolist(),
        "nodes_truenodeids": np.where(leaf, 0, nodes["left"]).tolist(),
        "nodes_falsenodeids": np.where(leaf, 0, nodes["right"]).tolist(),
        "target_treeids": tree_ids[leaf].tolist(),
        "target_nodeids": node_ids[leaf].tolist(),
        "target_ids": [0] * int(leaf.sum()),
        "target_weights": nodes["value"][leaf].tolist(),
    }


def _floor32(values: Floats) -> NDArray[np.float32]:
    """The largest float32 not above each value: x <= value is then the same question for every float32 x."""
    near = values.astype(np.float32)
    return np.where(near > values, np.nextafter(near, np.float32(-np.inf)), near)
