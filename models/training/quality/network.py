"""Quality from a small network on a frame: smooth, so that a direction is a slope, where a tree has stairs."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from pydantic import Field

from models.training.anomaly.base import Advance, Floats, quiet, scaling_of
from models.training.graph import Graph
from models.training.quality.advice import Frames
from models.training.quality.base import BEST, QualityModel, QualityParams, fit_quality

_HELD_OUT = 0.2  # the last share of what is learnt from chooses the epoch


class Params(QualityParams):
    """What can be chosen."""

    hidden: int = Field(64, ge=2, description="width of the two hidden layers")
    epochs: int = Field(100, ge=1, description="at most; it stops when the held-out error no longer falls")


class NetworkPredictor(NamedTuple):
    """A fitted network; the sigmoid of its output is the share of quality that is missing."""

    mean: Frames  # [C]
    scale: Frames  # [C]
    network: Any  # torch.nn.Module, [n, C] standardised to [n, 1]

    def predict(self, frames: Frames) -> Floats:
        """What is missing in quality, [n] in 0..100, of frames [n, C]."""
        from models.training.deep.fit import predict  # noqa: PLC0415 - the extra may be missing

        found = predict(self.network, (frames - self.mean) / self.scale)[:, 0].astype(np.float64)
        missing: Floats = BEST / (1 + np.exp(-found))
        return missing

    def build(self, graph: Graph, frames: str) -> str:
        """The nodes of `predict`."""
        from models.training.deep.export import to_graph  # noqa: PLC0415 - the extra may be missing

        z = graph.add("Sub", frames, graph.constant(self.mean))
        z = graph.add("Div", z, graph.constant(self.scale))
        share = graph.add("Sigmoid", to_graph(self.network, graph, z))
        return graph.add("Mul", share, graph.constant(BEST))


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
    import torch  # noqa: PLC0415 - the extra may be missing
    from torch import nn  # noqa: PLC0415 - likewise

    from models.training.deep.fit import Plan, train  # noqa: PLC0415 - likewise

    def learn(x: Frames, missing: Floats, told: Advance) -> NetworkPredictor:
        mean, scale = (each.astype(np.float32) for each in scaling_of(x.astype(np.float64)))
        given = torch.from_numpy((x - mean) / scale)
        share = torch.from_numpy((missing / BEST).astype(np.float32))[:, None]
        first_held = round(len(x) * (1 - _HELD_OUT))

        def make() -> nn.Module:
            return nn.Sequential(
                *(nn.Linear(x.shape[1], params.hidden), nn.SiLU()),
                *(nn.Linear(params.hidden, params.hidden), nn.SiLU()),
                nn.Linear(params.hidden, 1),
            )

        network = train(
            make,
            lambda numbers: (given[numbers], share[numbers]),
            nn.functional.binary_cross_entropy_with_logits,
            examples=np.arange(first_held),
            held_out=np.arange(first_held, len(x)),
            plan=Plan(epochs=params.epochs, learning_rate=3e-3),
            seed=seed,
            advance=told,
        )
        return NetworkPredictor(mean, scale, network)

    return fit_quality(frames, target, params, learn, advance=advance, lengths=lengths)
