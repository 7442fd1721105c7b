"""One model and what it needs to remember of each asset: windows, its own state, health, alarms."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.config import Inference
from edge_agent.core.align import Frames
from edge_agent.core.catalogue import Catalogue
from edge_agent.core.decide import Decide
from edge_agent.core.health import Health
from edge_agent.core.model import Model
from edge_agent.core.results import Results
from edge_agent.core.scoring import score
from edge_agent.core.segments import grown
from edge_agent.core.waiting import Waiting
from edge_agent.core.window import Windowing

Ids = NDArray[np.intp]
Flags = NDArray[np.bool_]


class Watch:
    """A model, for all assets that it watches. `counts` takes the windows that are not scored, by reason.

    A model that remembers (manifest.state) has zeros for an asset that is new. A gap in an asset's frames leaves them
    as they are, and so does a window without a score.
    """

    def __init__(self, digest: str, model: Model, counts: Counter[str]) -> None:
        self.digest, self.model, self._counts = digest, model, counts
        manifest = self.manifest = model.manifest
        self.failure = ""  # why it is out of service; empty = it serves
        self.settings = Inference()  # see configure
        self.is_watched: Flags = np.empty(0, bool)  # [assets]
        self._watches: Callable[[str], bool] = lambda _asset: False
        self._position = {channel.name: i for i, channel in enumerate(manifest.channels)}
        self._inputs = np.empty((0, len(manifest.channels)), np.intp)  # [assets, width], channel numbers, -1 = none
        self._known = 0  # channels
        is_masked = manifest.missing == "mask"
        self.windowing = Windowing(manifest.window, manifest.stride, len(manifest.channels), masked=is_masked)
        self._waiting = Waiting(manifest.window, manifest.width)
        self.state: NDArray[np.float32] = np.zeros((0, manifest.state), np.float32)
        self.health = Health(manifest.health_windows)
        self.decide = Decide(manifest)

    def configure(self, watches: Callable[[str], bool], settings: Inference, catalogue: Catalogue) -> None:
        """Which assets to watch may have changed."""
        self._watches, self.settings = watches, settings
        self._inputs, self.is_watched, self._known = self._inputs[:0], self.is_watched[:0], 0
        self.grow(catalogue)

    def step(self, frames: Frames, catalogue: Catalogue, results: Results) -> None:
        """Take the windows that end with these frames. They wait for `flush`, unless they are very many."""
        self.grow(catalogue)
        for part in self.windowing.parts(frames):
            self._waiting.add(self.windowing.step(part, self._inputs, self.is_watched))
            if self._waiting.is_full:
                self.flush(catalogue, results)

    def flush(self, catalogue: Catalogue, results: Results) -> None:
        """Score what waits. A model that fails is out of service from its first window without an answer on."""
        windows = self._waiting.take(catalogue.assets if self.settings.max_wait_s else None)
        if not len(windows.asset):
            return
        whole = len(windows.frames)
        self._counts["unscored"] += windows.unscored
        if self.failure:
            windows = windows._replace(is_whole=np.zeros(len(windows.asset), bool), frames=windows.frames[:0])
        found = score(self.model, windows, self.state, self.settings.max_batch)
        self.failure = self.failure or found.failure
        fields, asset = found.scores.fields, windows.asset
        rows = np.flatnonzero(found.is_scored)
        self._counts["unscored_not_finite"] += found.not_finite
        self._counts["unscored_out_of_service"] += whole - len(rows) - found.not_finite
        if len(rows):
            scored = {name: column[rows] for name, column in fields.items()}
            if "health" in scored:
                scored["health"] = self.health.step(asset[rows], scored["health"])
            name, version = self.manifest.name, self.manifest.version
            results.add_scores(catalogue.assets, asset[rows], name, version, windows.time_ns[rows], scored)
        results.add_alarms(self.decide.step(catalogue.assets, asset, windows.time_ns, found.scores))

    def withdraw(self, reason: str, catalogue: Catalogue, results: Results) -> None:
        """Out of service: what waits and what comes is not scored."""
        self.failure = self.failure or reason
        self.flush(catalogue, results)

    def take_over(self, other: "Watch", assets: Ids) -> None:
        """Go on where another watch stopped with these assets, as far as it is about the same.

        Windows where the inputs are the same; alarms and health where the name is; what the model itself remembers
        where name and size are.
        """
        if _inputs(self) == _inputs(other):
            self.windowing.take_over(other.windowing, assets)
        if self.manifest.name == other.manifest.name:
            self.decide.take_over(other.decide, assets)
            self.health.take_over(other.health, assets)
            if self.manifest.state == other.manifest.state:
                self.state[assets] = other.state[assets]

    def leave(self, assets: Ids, catalogue: Catalogue, now_ns: int, results: Results) -> None:
        """These assets are watched no more: what is still open closes, for nobody else ever would."""
        results.add_alarms(self.decide.close(catalogue.assets, assets, now_ns))
        self.health.forget(assets)
        self.state[assets] = 0

    def forget_windows(self) -> None:
        """Frames of another grid follow. All else stays."""
        self.windowing.forget()

    def grow(self, catalogue: Catalogue) -> None:
        """Take notice of channels that are new."""
        if self._known == len(catalogue.channels):
            return
        assets = len(catalogue.assets)
        self._inputs = grown(self._inputs, assets, -1)
        # From the asset's first frame on, whenever the inputs appear.
        more = [self._watches(asset) for asset in catalogue.assets[len(self.is_watched) :]]
        self.is_watched = np.append(self.is_watched, np.array(more, bool))
        for number in range(self._known, len(catalogue.channels)):
            asset = catalogue.asset_of[number]
            channel = catalogue.channels[number][1]
            if channel in self._position and self.is_watched[asset]:
                self._inputs[asset, self._position[channel]] = number
        self._known = len(catalogue.channels)
        self.state = grown(self.state, assets, 0)
        for stage in (self.windowing, self.health, self.decide):
            stage.grow(assets)

    def snapshot(self) -> dict[str, Any]:
        """Everything remembered."""
        return {
            "digest": self.digest,
            "failure": self.failure,
            "frames": self.windowing.frames,
            "cells": self.windowing.cells,
            "waiting": self._waiting.snapshot(),
            "state": self.state,
            "health": self.health.snapshot(),
            "decide": self.decide.snapshot(),
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """The reverse."""
        self.failure = saved["failure"]
        self.windowing.frames, self.windowing.cells = saved["frames"], saved["cells"]
        self._waiting.restore(saved["waiting"])
        self.state = saved["state"]
        self.health.restore(saved["health"])
        self.decide.restore(saved["decide"])
        self._known = 0  # there may be fewer assets in it than now


def _inputs(watch: Watch) -> tuple[object, ...]:
    """What two models must have in common to share windows."""
    manifest = watch.manifest
    names = tuple(channel.name for channel in manifest.channels)
    return names, manifest.sample_period_s, manifest.window, manifest.stride, manifest.missing
