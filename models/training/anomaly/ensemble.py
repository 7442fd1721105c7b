"""Several models whose surprises are put together: each is measured by what it says of normal data it never saw.

A member's surprise becomes 0 at its median over held-out normal windows and 1 at their 99th percentile; the
ensemble's is the weighted mean. So a member that is often surprised counts for less, whatever its own scale is. A
channel's share is the mean of the members' shares, weighed by how surprised each of them is.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, Field, model_validator

from models.contract.config_errors import check
from models.training.anomaly.base import (
    TINY,
    Advance,
    AnomalyModel,
    Floats,
    check_runs,
    quiet,
    raw_of,
    split_by_time,
)
from models.training.graph import Graph
from models.training.table import DataError

_EDGE = 0.99  # quantile of held-out surprises that counts as 1
_FAINT = 0.01  # below this surprise, members count alike for the shares
_FEWEST = 30  # held-out windows: with fewer their 99th percentile is only the largest of a handful

Method = Literal["pca", "isolation-forest", "forecast", "dense-autoencoder", "conv-autoencoder"]


def _module(method: Method) -> Any:  # noqa: ANN401 - modules that keep to the protocol of `base`
    return import_module(f"models.training.anomaly.{method.replace('-', '_')}")


class Member(BaseModel, extra="forbid", frozen=True):
    """One model of the ensemble."""

    method: Method
    weight: float = Field(1.0, gt=0, description="how much it counts")
    params: dict[str, Any] = Field({}, description="as in the method's own recipe; what is left out has its default")

    @model_validator(mode="after")
    def _known(self) -> "Member":
        check(self.params, _module(self.method).Params, f"params of {self.method}")
        if self.params.get("follow"):
            msg = f"params of {self.method}: follow: the members of an ensemble remember nothing; 0 is needed"
            raise ValueError(msg)
        return self


class Params(BaseModel, extra="forbid", frozen=True):
    """What can be chosen."""

    members: tuple[Member, ...] = Field(
        (Member(method="pca"), Member(method="forecast"), Member(method="isolation-forest")),
        min_length=1,
        description="the models that are put together",
    )
    held_out: float = Field(0.3, gt=0, lt=1, description="last share of each run that the members are measured on")


class Part(NamedTuple):
    """A member as it was fitted: `typical` and `edge` are its surprise at the median and at the 99th percentile."""

    model: AnomalyModel
    weight: float  # of all members, these add to 1
    typical: float
    edge: float

    def surprise(self, raw: Floats) -> Floats:
        """0 at `typical` and below, 1 at `edge`."""
        above: Floats = np.maximum(raw - self.typical, 0) / (self.edge - self.typical)
        return above


class EnsembleModel(NamedTuple):
    """A fitted model; a member with a shorter window sees the last frames."""

    window: int
    parts: tuple[Part, ...]

    @property
    def state(self) -> int:
        """None is kept."""
        return 0

    def raw(self, windows: Floats) -> tuple[Floats, Floats]:
        """The weighted mean of the members' surprises, and of their shares."""
        surprise, shares = np.zeros(len(windows)), np.zeros((len(windows), windows.shape[2]))
        for part in self.parts:
            raw, share = part.model.raw(windows[:, self.window - part.model.window :])
            weighted = part.weight * part.surprise(raw)
            surprise += weighted
            shares += (weighted + _FAINT * part.weight)[:, None] * share
        return surprise, shares / (surprise + _FAINT)[:, None]

    def build(self, graph: Graph, window: str) -> tuple[str, str]:
        """The nodes of `raw`."""
        surprises, shares = [], []
        for part in self.parts:
            start = graph.constant([self.window - part.model.window], np.int64)
            end, axis = graph.constant([self.window], np.int64), graph.constant([1], np.int64)
            raw, share = part.model.build(graph, graph.add("Slice", window, start, end, axis))
            above = graph.add("Relu", graph.add("Sub", raw, graph.constant(part.typical)))
            weighted = graph.add("Mul", above, graph.constant(part.weight / (part.edge - part.typical)))
            surprises.append(weighted)
            counted = graph.add("Add", weighted, graph.constant(_FAINT * part.weight))
            shares.append(graph.add("Mul", counted, share))
        surprise = graph.add("Sum", *surprises)
        return surprise, graph.add("Div", graph.add("Sum", *shares), graph.add("Add", surprise, graph.constant(_FAINT)))


def fit(runs: Sequence[Floats], params: Params, *, seed: int, advance: Advance = quiet) -> EnsembleModel:
    """Fit the members on the earlier rows of each run [rows, channels] and measure them on the last ones.

    Raises:
        DataError: a member cannot be fitted, or too few windows are held out; the text names the member.
    """
    check_runs(runs, 1)
    fitted, held_out = split_by_time(runs, params.held_out)
    weights = sum(member.weight for member in params.members)
    parts = []
    for number, member in enumerate(params.members):
        advance(number, len(params.members))
        module = _module(member.method)
        try:
            model = module.fit(fitted, module.Params(**member.params), seed=seed, advance=quiet)
        except DataError as error:
            msg = f"member {member.method}: {error}"
            raise DataError(msg) from error
        raw = np.concatenate([raw_of(model, run)[0] for run in held_out])
        if len(raw) < _FEWEST:
            msg = f"member {member.method}: {len(raw)} held-out windows; at least {_FEWEST} are needed to measure it"
            raise DataError(msg)
        typical, edge = (float(value) for value in np.quantile(raw, (0.5, _EDGE)))
        parts.append(Part(model, member.weight / weights, typical, max(edge, typical * (1 + 1e-3) + TINY)))
    advance(len(params.members), len(params.members))
    return EnsembleModel(max(part.model.window for part in parts), tuple(parts))
