"""A dense auto-encoder: a window through a narrow code and back (Hinton & Salakhutdinov 2006, Science 313).

It learns which values go together, at any distance in time within the window. While it learns, some channels are
hidden from it (Vincent et al. 2008, ICML), so that it rebuilds each from the others instead of copying it.
"""

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from models.training.anomaly.autoencoder import AutoencoderParams
from models.training.anomaly.base import Advance, AnomalyModel, Floats, quiet


class Params(AutoencoderParams):
    """What can be chosen."""

    hidden: int = Field(64, ge=2, description="width of the layers before and after the code")
    code: int = Field(8, ge=1, description="numbers that a window is reduced to")


def fit(runs: Sequence[Floats], params: Params, *, seed: int = 0, advance: Advance = quiet) -> AnomalyModel:
    """As `fit_reconstruction`, which says what each argument is."""
    from torch import nn  # noqa: PLC0415 - the extra may be missing

    from models.training.deep.reconstruction import fit_reconstruction  # noqa: PLC0415 - likewise

    def make(channels: int) -> Any:  # noqa: ANN401 - a torch.nn.Module
        size = channels * params.window
        return nn.Sequential(
            nn.Dropout1d(params.hide),
            nn.Flatten(),
            *(nn.Linear(size, params.hidden), nn.SiLU()),
            *(nn.Linear(params.hidden, params.code), nn.SiLU()),
            *(nn.Linear(params.code, params.hidden), nn.SiLU()),
            nn.Linear(params.hidden, size),
            nn.Unflatten(1, (channels, params.window)),
        )

    return fit_reconstruction(runs, make, params, seed=seed, advance=advance)
