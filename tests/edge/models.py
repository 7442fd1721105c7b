"""Models in plain Python for tests of the pipeline: each window by itself, so that batching cannot matter."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.core.errors import ModelFailedError
from edge_agent.core.model import Scores
from models.manifest import Manifest

Frames = NDArray[np.float32]


def manifest(name: str, channels: tuple[str, ...], window: int, **more: Any) -> Manifest:
    """Of a model that gives one anomaly score, with an alarm from 5 on and back at 0."""
    content = {
        "name": name,
        "version": "1",
        "kind": "anomaly",
        "channels": [{"name": channel} for channel in channels],
        "sample_period_s": 1.0,
        "window": window,
        "outputs": ["anomaly_score"],
        "threshold": {"output": "anomaly_score", "open_at": 5.0, "close_at": 0.0},
        "trained_on": "nothing",
    }
    return Manifest.model_validate(content | more)


def mean(frame: Frames) -> float:
    return math.fsum(frame.ravel().tolist()) / frame.size


class Mean:
    """The score is the mean of the window. `batches` are those that it was given."""

    def __init__(self, name: str, window: int, channels: tuple[str, ...], **more: Any) -> None:
        self.manifest = manifest(name, channels, window, **more)
        self.batches: list[bytes] = []

    def score(self, frames: Frames, state: Frames | None = None) -> Scores:
        assert state is None
        self.batches.append(frames.tobytes())
        score = np.array([mean(frame) for frame in frames])
        return Scores(dict.fromkeys(self.manifest.outputs, score), None)


class Chain(Mean):
    """A model that remembers: its score is its state, which is half of the one before and the mean of the window."""

    def __init__(self, name: str, window: int, channels: tuple[str, ...], **more: Any) -> None:
        super().__init__(name, window, channels, **({"state": 1} | more))

    def score(self, frames: Frames, state: Frames | None = None) -> Scores:
        assert state is not None
        assert state.dtype == np.float32
        self.batches.append(frames.tobytes())
        mean_of_each = np.array([[mean(frame)] for frame in frames], np.float32)
        now = (state[:, :1] / 2 + mean_of_each).astype(np.float32)
        return Scores({"anomaly_score": now[:, 0].astype(float)}, None, None, now.repeat(self.manifest.state, axis=1))


class Failing(Mean):
    """Works for so many batches, then no more, until `left` is set anew."""

    def __init__(self, name: str, window: int, channels: tuple[str, ...], left: int) -> None:
        super().__init__(name, window, channels)
        self.left = left

    def score(self, frames: Frames, state: Frames | None = None) -> Scores:
        if self.left == 0:
            msg = "the device is gone: restart the agent"
            raise ModelFailedError(msg)
        self.left -= 1
        return super().score(frames, state)


class NeverNegative(Mean):
    """Has no answer where the mean is below 0."""

    def score(self, frames: Frames, state: Frames | None = None) -> Scores:
        found = super().score(frames, state)
        return Scores({name: np.where(score < 0, np.inf, score) for name, score in found.fields.items()}, None)
