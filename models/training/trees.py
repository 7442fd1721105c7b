"""Boosted trees of scikit-learn as one node of an ONNX graph.

The trees are written node by node: skl2onnx 1.20 hands ONNX 1.23 booleans where it wants integers, and
rounds thresholds to the nearest float32, which sends a feature that equals one down the wrong branch.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.training.graph import Graph

Trees = Any  # HistGradientBoostingRegressor, or HistGradientBoostingClassifier of two classes


def write_trees(model: Trees, graph: Graph, features: str) -> str:
    """The sum of all trees and the base, [n, 1], of float32 features [n, F].

    It is the prediction of a regressor with squared error, and the log-odds of a classifier's second class.
    """
    trees = [tree.nodes for (tree,) in model._predictors]  # noqa: SLF001 - scikit-learn shows its nodes nowhere else
    base = float(np.ravel(model._baseline_prediction)[0])  # noqa: SLF001 - likewise
    nodes = np.concatenate(trees)
    tree_ids = np.repeat(np.arange(len(trees)), [len(tree) for tree in trees])
    node_ids = np.concatenate([np.arange(len(tree)) for tree in trees])
    leaf = nodes["is_leaf"].astype(bool)
    attributes = {
        "base_values": [base],
        "nodes_treeids": tree_ids.tolist(),
        "nodes_nodeids": node_ids.tolist(),
        "nodes_modes": np.where(leaf, "LEAF", "BRANCH_LEQ").tolist(),
        "nodes_featureids": np.where(leaf, 0, nodes["feature_idx"]).tolist(),
        "nodes_values": floor32(np.where(leaf, 0.0, nodes["num_threshold"])).tolist(),
        "nodes_truenodeids": np.where(leaf, 0, nodes["left"]).tolist(),
        "nodes_falsenodeids": np.where(leaf, 0, nodes["right"]).tolist(),
        "target_treeids": tree_ids[leaf].tolist(),
        "target_nodeids": node_ids[leaf].tolist(),
        "target_ids": [0] * int(leaf.sum()),
        "target_weights": nodes["value"][leaf].tolist(),
    }
    return graph.add("TreeEnsembleRegressor", features, domain="ai.onnx.ml", n_targets=1, **attributes)


def floor32(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """The largest float32 not above each value: x <= value is then the same question for every float32 x."""
    near = values.astype(np.float32)
    return np.where(near > values, np.nextafter(near, np.float32(-np.inf)), near)
