"""Remaining life by small networks (PyTorch, extra `train-deep`), one a fold of units; their mean is the answer.

A first layer of fixed filters over time, sums and slopes over spans that halve (`front`), then two dense layers.
`models.training.deep.remaining_life` says how they learn.
"""

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from models.training.anomaly.base import Advance, Floats, quiet
from models.training.failure.base import FailureModel, FailureParams, Member, fit_failure
from models.training.failure.front import Single


class Params(FailureParams):
    """What can be chosen."""

    hidden: int = Field(64, ge=1, description="units of each of the two dense layers")
    steps: int = Field(2000, ge=5, description="of learning, of each member")
    batch: int = Field(256, ge=1, description="windows a step")
    learning_rate: float = Field(3e-3, gt=0, description="at its highest")
    weight_decay: float = Field(0.01, ge=0, description="pull of the weights to 0")
    dropout: float = Field(0.1, ge=0, lt=1, description="share of dense units left out of a step")


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
    from torch import nn  # noqa: PLC0415 - the extra may be missing

    from models.training.deep.remaining_life import Plan, dense, train_member  # noqa: PLC0415 - likewise

    plan = Plan(params.steps, params.batch, params.learning_rate, params.weight_decay)

    def learn(x: Single, y: Single, seed: int) -> Member:
        def make() -> Any:  # noqa: ANN401 - a torch.nn.Module
            return nn.Sequential(*dense(x.shape[1], params.hidden, params.dropout))

        return train_member(make, x, y, plan, seed)

    return fit_failure(units, params, learn, settings=settings, hours_per_row=hours_per_row, seed=seed, advance=advance)
