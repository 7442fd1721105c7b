"""What the networks that predict remaining life share: a trained one, and the training loop.

AdamW, a rate that rises and falls once (Smith & Topin 2018, Super-Convergence), squared error, no held-out part: the
units that a member left out judge it, and may not stop it.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from models.training.anomaly.base import Floats
from models.training.deep.export import to_graph
from models.training.deep.fit import alone, predict
from models.training.deep.layers import Layer
from models.training.graph import Graph

Single = NDArray[np.float32]
_AT_ONCE = 4096  # rows in double precision, or through a network


class Plan(NamedTuple):
    """How long and how fast to train."""

    steps: int
    batch: int
    learning_rate: float  # at its highest
    weight_decay: float


class NetworkMember(NamedTuple):
    """A trained network on standardised features; K features."""

    mean: Single  # [K]
    scale: Single  # [K]
    network: Layer  # [n, K] to [n, 1]

    def predict(self, features: Single) -> Floats:
        """Share of the cap, [n]."""
        parts = [features[start : start + _AT_ONCE] for start in range(0, len(features), _AT_ONCE)]
        found = [predict(self.network, (part - self.mean) / self.scale) for part in parts]
        share: Floats = np.concatenate(found)[:, 0].astype(np.float64)
        return share

    def build(self, graph: Graph, features: str) -> str:
        """The nodes of `predict`: the name of [batch, 1]."""
        z = graph.add("Sub", features, graph.constant(self.mean))
        return to_graph([self.network], graph, graph.add("Div", z, graph.constant(self.scale)))


def dense(width: int, hidden: int, dropout: float) -> list[Layer]:
    """Two dense layers and the answer, [n, width] to [n, 1]."""
    layers: list[Layer] = []
    for given in (width, hidden):
        layers += [nn.Linear(given, hidden), nn.SiLU(), nn.Dropout(dropout)]
    return [*layers, nn.Linear(hidden, 1)]


def train_member(make: Callable[[], Layer], x: Single, y: Single, plan: Plan, seed: int) -> NetworkMember:
    """The same seed gives the same network on the same machine.

    Args:
        make: makes the network, [n, K] to [n, 1]; called once, seeded.
        x: features [n, K].
        y: shares of the cap, [n].
        plan: how long and how fast.
        seed: of weights, order and dropout.
    """
    mean, scale = _moments(x)
    target = torch.from_numpy(y)[:, None]
    batches = _batches(len(x), plan.batch, seed)
    with alone(seed):
        network = make()
        optimiser = torch.optim.AdamW(network.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, plan.learning_rate, total_steps=plan.steps)
        for rows in islice(batches, plan.steps):
            optimiser.zero_grad()
            given = torch.from_numpy((x[rows] - mean) / scale)
            nn.functional.mse_loss(network(given), target[rows]).backward()
            optimiser.step()
            schedule.step()
    return NetworkMember(mean, scale, network.eval())


def _moments(x: Single) -> tuple[Single, Single]:
    """Mean and spread, [K], without a second copy of all rows; 1 for the spread of what never moves."""
    mean = x.mean(0, dtype=np.float64)
    parts = (x[start : start + _AT_ONCE] for start in range(0, len(x), _AT_ONCE))
    spread = np.sqrt(sum(((part - mean) ** 2).sum(0) for part in parts) / len(x))
    return mean.astype(np.float32), np.where(spread > 0, spread, 1.0).astype(np.float32)


def _batches(rows: int, size: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Endless: numbers of rows, each once before any comes again."""
    rng = np.random.default_rng(seed)
    while True:
        yield from np.array_split(rng.permutation(rows), -(-rows // size))
