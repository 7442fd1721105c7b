"""Remaining life by boosted trees, some a fold of units; their mean is the answer.

Ke et al. (2017), LightGBM, NeurIPS, as scikit-learn has it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from pydantic import Field
from sklearn.ensemble import HistGradientBoostingRegressor

from models.training.anomaly.base import Advance, Floats, quiet
from models.training.failure.base import FailureModel, FailureParams, Member, fit_failure
from models.training.failure.front import Single
from models.training.graph import Graph
from models.training.trees import write_trees


class Params(FailureParams):
    """What can be chosen."""

    folds: int = Field(
        5, ge=2, le=50, description="members of the model, at most one a unit; each leaves out a part of the units"
    )
    trees: int = Field(300, ge=1, description="how many, of each member")
    leaves: int = Field(8, ge=2, description="of each tree, at most")
    least: int = Field(100, ge=1, description="windows in a leaf, at least")
    learning_rate: float = Field(0.03, gt=0, le=1, description="of what a tree says that counts")
    features: float = Field(0.2, gt=0, le=1, description="share of the features that each split may use")


class TreesMember(NamedTuple):
    """Fitted trees."""

    trees: HistGradientBoostingRegressor

    def predict(self, features: Single) -> Floats:
        """Share of the cap, [n]."""
        share: Floats = self.trees.predict(features)
        return share

    def build(self, graph: Graph, features: str) -> str:
        """The nodes of `predict`: the name of [batch, 1]."""
        return write_trees(self.trees, graph, features)


def fit(
    units: Sequence[Floats],
    params: Params,
    *,
    settings: int = 0,
    hours_per_row: float = 1.0,
    seed: int = 0,
    advance: Advance = quiet,
) -> FailureModel:
    """As `fit_failure`, which says what each argument is."""

    def learn(x: Single, y: Single, seed: int) -> Member:
        trees = HistGradientBoostingRegressor(
            max_iter=params.trees,
            learning_rate=params.learning_rate,
            max_leaf_nodes=params.leaves,
            min_samples_leaf=params.least,
            max_features=params.features,
            early_stopping=False,
            random_state=seed,
        )
        return TreesMember(trees.fit(x, y.astype(np.float64)))

    return fit_failure(units, params, learn, settings=settings, hours_per_row=hours_per_row, seed=seed, advance=advance)
