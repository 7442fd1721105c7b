"""Remaining life by small convolutional networks (PyTorch, extra `train-deep`), one a fold of units.

The rows of the window, each regime normalised apart, go through two convolutions over time on means of some rows;
beside them pass the sums and slopes of `front`. What both say goes through two dense layers.
`models.training.deep.remaining_life` says how they learn.

On turbofans the convolutions alone fit noise, and beside sums and slopes they add nothing that shows on held-out units
(docs/models.md has the figures): they are for machines whose wear shows as a shape within the window.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from models.training.anomaly.base import Advance, Floats, quiet
from models.training.failure import network
from models.training.failure.base import FailureModel, Member, fit_failure
from models.training.failure.front import MAX_WINDOW, Single, filters_of


class Params(network.Params):
    """What can be chosen."""

    window: int = Field(60, ge=30, le=MAX_WINDOW, description="frames; more hide noise, and delay the first answer")
    pool: int = Field(5, ge=1, le=6, description="rows whose mean is one step of the convolutions")
    channels: int = Field(16, ge=1, description="of each of the two convolutions, three steps long")


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

    from models.training.deep.layers import Beside, Turn  # noqa: PLC0415 - likewise
    from models.training.deep.remaining_life import Plan, dense, train_member  # noqa: PLC0415 - likewise

    plan = Plan(params.steps, params.batch, params.learning_rate, params.weight_decay)
    window, beside = params.window, len(filters_of(params.window))
    convolved = params.channels * ((window // params.pool - 2 - 3) // 2 + 1)

    def learn(x: Single, y: Single, seed: int) -> Member:
        sensors = x.shape[1] // (window + beside)

        def make() -> Any:  # noqa: ANN401 - a torch.nn.Module
            return nn.Sequential(
                Beside(
                    window * sensors,
                    *(nn.Unflatten(1, (window, sensors)), Turn(), nn.AvgPool1d(params.pool)),
                    *(nn.Conv1d(sensors, params.channels, 3), nn.SiLU()),
                    *(nn.Conv1d(params.channels, params.channels, 3, stride=2), nn.SiLU(), nn.Flatten()),
                ),
                *dense(convolved + beside * sensors, params.hidden, params.dropout),
            )

        return train_member(make, x, y, plan, seed)

    return fit_failure(
        units,
        params,
        learn,
        filters=_rows_and_filters,
        settings=settings,
        hours_per_row=hours_per_row,
        seed=seed,
        advance=advance,
    )


def _rows_and_filters(window: int) -> Floats:
    """[window + F, window]: each row as it is, oldest first, then sums and slopes."""
    return np.concatenate([np.eye(window), filters_of(window)])
