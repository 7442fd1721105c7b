"""One model and what it needs to remember: its windows, its alarm states, and where its inputs are."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_agent.config import EdgeConfig
from edge_agent.core.align import Frames
from edge_agent.core.catalogue import Catalogue
from edge_agent.core.decide import Decide, Scores
from edge_agent.core.results import Results
from edge_agent.core.segments import grown
from edge_agent.core.window import Windowing
from models.bundle import Manifest


class Model(Protocol):
    """A model that scores windows; deterministic, and independent of how windows are batched."""

    manifest: Manifest

    def score(self, frames: NDArray[np.float32]) -> Scores:
        """frames: float32 [n, window, manifest.width] -> outputs [n]."""
        ...


class Watch:
    """A model, for all assets that it watches."""

    def __init__(self, digest: str, model: Model) -> None:
        self.digest, self._model = digest, model
        manifest = model.manifest
        self._position = {channel.name: i for i, channel in enumerate(manifest.channels)}
        is_masked = manifest.missing == "mask"
        self._windowing = Windowing(manifest.window, manifest.stride, len(manifest.channels), masked=is_masked)
        self._decide = Decide(manifest)
        self._inputs = np.empty((0, len(manifest.channels)), np.intp)  # [assets, width], channel numbers, -1 = none
        self._watched: Callable[[str], bool] = lambda _asset: False
        # Whether it watches each asset, [assets]: from its first frame on, whenever the inputs appear.
        self._is_watched: NDArray[np.bool_] = np.empty(0, bool)
        self._known = 0

    def configure(self, config: EdgeConfig, digests: dict[str, str]) -> None:
        """Which assets to watch may have changed."""

        def watched(asset: str) -> bool:
            rule = config.asset_rule(asset)
            return rule is not None and any(digests[str(path)] == self.digest for path in rule.models)

        self._watched = watched
        self._inputs, self._is_watched, self._known = self._inputs[:0], self._is_watched[:0], 0

    def step(self, frames: Frames, catalogue: Catalogue, results: Results) -> int:
        """Score the windows that end with these frames; returns how many could not be, for values were missing."""
        self._grow(catalogue)
        manifest, unscored = self._model.manifest, 0
        for part in self._windowing.parts(frames):
            windows = self._windowing.step(part, self._inputs, self._is_watched)
            unscored += windows.unscored
            if len(windows.asset):
                scores = self._model.score(windows.frames)
                assets = [catalogue.assets[i] for i in windows.asset]
                results.add_scores(assets, manifest.name, manifest.version, windows.time_ns, scores)
                results.add_alarms(self._decide.step(assets, windows.time_ns, scores))
        return unscored

    def _grow(self, catalogue: Catalogue) -> None:
        """Take notice of channels that are new."""
        if self._known == len(catalogue.channels):
            return
        self._inputs = grown(self._inputs, len(catalogue.assets), -1)
        more = [self._watched(asset) for asset in catalogue.assets[len(self._is_watched) :]]
        self._is_watched = np.append(self._is_watched, np.array(more, bool))
        for number in range(self._known, len(catalogue.channels)):
            asset = catalogue.asset_of[number]
            channel = catalogue.channels[number][1]
            if channel in self._position and self._is_watched[asset]:
                self._inputs[asset, self._position[channel]] = number
        self._known = len(catalogue.channels)
        self._windowing.grow(len(catalogue.assets))

    def snapshot(self) -> dict[str, Any]:
        """Frames, cells and alarm states."""
        states = {asset: list(state) for asset, state in self._decide.states.items()}
        return {
            "digest": self.digest,
            "frames": self._windowing.frames,
            "cells": self._windowing.cells,
            "states": states,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """The reverse."""
        self._windowing.frames, self._windowing.cells = saved["frames"], saved["cells"]
        self._decide.states = {asset: (opened, streak) for asset, (opened, streak) in saved["states"].items()}
