"""Quality from boosted trees (Ke et al. 2017, LightGBM, NeurIPS; as scikit-learn has them).

Physics works with products and differences: power is torque times speed, what cools is a difference of temperatures.
A tree cuts one feature at a time and finds neither, so each pair of channels adds both to the features.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from models.training.anomaly.base import Advance, Floats, quiet, scaling_of
from models.training.graph import Graph
from models.training.quality.advice import Frames
from models.training.quality.base import BEST, QualityModel, QualityParams, fit_quality
from models.training.trees import Trees, write_trees

_MOST_PAIRED = 16  # channels; with more, pairs are so many that they cost more than they tell


class Params(QualityParams):
    """What can be chosen."""

    trees: int = Field(300, ge=1, description="how many")
    leaves: int = Field(8, ge=2, description="of each tree, at most")
    least: int = Field(5, ge=1, description="products in a leaf, at least")
    learning_rate: float = Field(0.05, gt=0, le=1, description="of what a tree says that counts")


class TreePredictor(NamedTuple):
    """Fitted trees on channels and pairs of them."""

    mean: Frames  # [C]
    scale: Frames  # [C]
    trees: Trees
    is_probability: bool

    def predict(self, frames: Frames) -> Floats:
        """What is missing in quality, [n] in 0..100, of frames [n, C]."""
        features = self.features(frames)
        if self.is_probability:
            bad: Floats = BEST * self.trees.predict_proba(features)[:, 1]
            return bad
        missing: Floats = np.clip(self.trees.predict(features), 0, BEST)
        return missing

    def build(self, graph: Graph, frames: str) -> str:
        """The nodes of `predict`."""
        one, other = (graph.constant(at, np.int64) for at in _pairs(len(self.mean)))
        z = graph.add("Sub", frames, graph.constant(self.mean))
        z = graph.add("Div", z, graph.constant(self.scale))
        features = [frames]
        for operator, values in (("Mul", frames), ("Sub", z)):
            sides = [graph.add("Gather", values, at, axis=1) for at in (one, other)]
            features.append(graph.add(operator, *sides))
        found = write_trees(self.trees, graph, graph.add("Concat", *features, axis=1))
        if self.is_probability:
            return graph.add("Mul", graph.add("Sigmoid", found), graph.constant(BEST))
        return graph.add("Clip", found, graph.constant(0.0), graph.constant(BEST))

    def features(self, frames: Frames) -> Frames:
        """[n, C + 2 * pairs]: channels, products in their units, differences in standard deviations."""
        one, other = _pairs(frames.shape[1])
        z = (frames - self.mean) / self.scale
        return np.concatenate([frames, frames[:, one] * frames[:, other], z[:, one] - z[:, other]], axis=1)


def fit(
    frames: Floats,
    target: Floats,
    params: Params,
    *,
    seed: int = 0,
    advance: Advance = quiet,
    lengths: Sequence[int] | None = None,
) -> QualityModel:
    """As `fit_quality`, which says what each argument is."""
    make = HistGradientBoostingClassifier if params.is_sorted else HistGradientBoostingRegressor

    def learn(x: Frames, missing: Floats, told: Advance) -> TreePredictor:
        told(0, 1)
        trees = make(
            max_iter=params.trees,
            learning_rate=params.learning_rate,
            max_leaf_nodes=params.leaves,
            min_samples_leaf=params.least,
            l2_regularization=1.0,
            early_stopping=False,
            random_state=seed,
        )
        mean, scale = (each.astype(np.float32) for each in scaling_of(x.astype(np.float64)))
        found = TreePredictor(mean, scale, trees, params.is_sorted)
        trees.fit(found.features(x), missing > BEST / 2 if found.is_probability else missing)
        return found

    return fit_quality(frames, target, params, learn, advance=advance, lengths=lengths)


def _pairs(channels: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    one, other = np.triu_indices(channels if channels <= _MOST_PAIRED else 0, 1)
    return one, other
