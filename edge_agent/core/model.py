"""What the pipeline asks of a model, and what it gets."""

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_agent.core.errors import ModelFailedError
from models.manifest import Manifest


class Scores(NamedTuple):
    """A model's outputs for n windows. What is not finite is no score: the model abstains."""

    fields: dict[str, NDArray[np.float64]]  # name of the output -> [n]
    contribution: NDArray[np.float64] | None  # [n, channels], the share of each channel; None: it gives none
    direction: NDArray[np.float64] | None = None  # [n, channels], which way to move each channel, -1 to 1
    state: NDArray[np.float32] | None = None  # [n, manifest.state], after each window; None: it keeps none


class Model(Protocol):
    """A model that scores windows; deterministic, and independent of how windows are batched."""

    manifest: Manifest

    def score(self, frames: NDArray[np.float32], state: NDArray[np.float32] | None = None) -> Scores:
        """Score n windows. Raises ModelFailedError: it cannot, and is not to be asked again.

        frames: float32 [n, window, manifest.width]. state: float32 [n, manifest.state], for each window that of its
        asset before it; None for a model that keeps none.
        """
        ...


class Unfit:
    """A model that cannot or may not be run: its alarms can still close, or go over to another."""

    def __init__(self, manifest: Manifest, reason: str) -> None:
        self.manifest, self._reason = manifest, reason

    def score(self, frames: NDArray[np.float32], state: NDArray[np.float32] | None = None) -> Scores:  # noqa: ARG002 - as `Model` has it
        """Raises ModelFailedError."""
        raise ModelFailedError(self._reason)
