"""A convolutional auto-encoder: time halves twice and doubles twice, through few channels.

It learns shapes wherever they lie in the window, so it needs fewer weights and less data than a dense one on
channels that swing (Masci et al. 2011, Stacked Convolutional Auto-Encoders, ICANN). While it learns, some channels are
hidden from it (Vincent et al. 2008, ICML), so that it rebuilds each from the others instead of copying it.
"""

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from models.training.anomaly.autoencoder import AutoencoderParams
from models.training.anomaly.base import Advance, AnomalyModel, Floats, quiet


class Params(AutoencoderParams):
    """What can be chosen."""

    window: int = Field(16, ge=8, multiple_of=4, description="frames per window, a multiple of 4")
    hidden: int = Field(32, ge=2, description="channels of the outer layers")
    code: int = Field(4, ge=1, description="channels of the code, which is a quarter of the window long")


def fit(runs: Sequence[Floats], params: Params, *, seed: int = 0, advance: Advance = quiet) -> AnomalyModel:
    """As `fit_reconstruction`, which says what each argument is."""
    from torch import nn  # noqa: PLC0415 - the extra may be missing

    from models.training.deep.reconstruction import fit_reconstruction  # noqa: PLC0415 - likewise

    def make(channels: int) -> Any:  # noqa: ANN401 - a torch.nn.Module
        return nn.Sequential(
            nn.Dropout1d(params.hide),
            *(nn.Conv1d(channels, params.hidden, 5, stride=2, padding=2), nn.SiLU()),
            *(nn.Conv1d(params.hidden, params.code, 5, stride=2, padding=2), nn.SiLU()),
            *(nn.ConvTranspose1d(params.code, params.hidden, 4, stride=2, padding=1), nn.SiLU()),
            nn.ConvTranspose1d(params.hidden, channels, 4, stride=2, padding=1),
        )

    return fit_reconstruction(runs, make, params, seed=seed, advance=advance)
