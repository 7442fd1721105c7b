"""The pipeline: a pure function of the journal.

    entry ─▶ features ─▶ repeats ─▶ clean ─▶ denoise ─▶ align ─▶ window ─▶ infer ─▶ decide ─▶ results
             waveforms   leaves     range,   Hampel     grid     frames     model    alarms
             become      out what   rate and marks and  marks late          (handed
             readings    was there  flat     replaces   readings            in)

Invariants
1. The same entries give the same results, bit for bit, however the readings between two ticks were cut into
   entries, how many entries are taken at once, and whether or not a snapshot was restored between two of them.
2. No reading disappears: each one is in the results with its quality, once.
3. Configuration and models come from the journal (`Configured`), never from a file.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from copy import deepcopy
from itertools import groupby
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_agent.config import EdgeConfig
from edge_agent.core import clean
from edge_agent.core.align import Align, Frames
from edge_agent.core.catalogue import Catalogue
from edge_agent.core.checks import Neighbours
from edge_agent.core.decide import Decide, Scores
from edge_agent.core.denoise.hampel import Hampel
from edge_agent.core.entries import Configured, Data, JournalEntry, Tick, join_readings
from edge_agent.core.features import FEATURES
from edge_agent.core.readings import Readings, join
from edge_agent.core.repeats import Repeats
from edge_agent.core.results import Results
from edge_agent.core.segments import grown
from edge_agent.core.window import Windowing
from models.bundle import Manifest
from models.contract.quality import BAD_FROM, Quality


class Model(Protocol):
    """A model that scores windows; deterministic, and independent of how windows are batched."""

    manifest: Manifest

    def score(self, frames: NDArray[np.float32]) -> Scores:
        """frames: float32 [n, window, channels] -> outputs [n]."""
        ...


class Pipeline:
    """All stages and their state. `models` finds a model by the digest of its graph."""

    def __init__(self, models: Callable[[str], Model]) -> None:
        self._find_model = models
        self._config: EdgeConfig | None = None
        self._configured: Configured | None = None
        self._catalogue = Catalogue()
        self._hampel: dict[int, Hampel] = {}  # by window
        self._align = Align()
        self._repeats = Repeats()
        self._neighbours = Neighbours()
        self._watches: dict[str, _Watch] = {}  # by digest
        self.counts: Counter[str] = Counter()  # since the last start: repeated, late, spikes, bad_range, unscored

    @property
    def config(self) -> EdgeConfig | None:
        """The last configuration that was taken over."""
        return self._config

    @property
    def is_configured(self) -> bool:
        """Whether a `Configured` entry has been seen."""
        return self._config is not None

    def run(self, entries: Sequence[JournalEntry], results: Results) -> None:
        """Take entries; what comes of them is added to `results`. Data between two others is taken as one."""
        for is_data, group in groupby(entries, lambda entry: isinstance(entry, Data)):
            if is_data:
                self._take([entry for entry in group if isinstance(entry, Data)], results)
                continue
            for entry in group:
                if isinstance(entry, Configured):
                    self._configure(entry)
                elif isinstance(entry, Tick):
                    self._score(self._align.tick(self._catalogue.grid, entry.listened_ns), results)

    def _take(self, entries: Sequence[Data], results: Results) -> None:
        if self._config is None:
            msg = "the journal begins without a configuration"
            raise ValueError(msg)
        catalogue = self._catalogue
        if any(entry.waveforms for entry in entries):
            readings = join([with_features(entry) for entry in entries])
        else:
            readings = join_readings(entries)
        ids = catalogue.number(readings.channels, self._config)[readings.index]
        time_ns, value, quality = readings.time_ns, readings.value, readings.quality
        self._repeats.grow(len(catalogue.channels))
        is_repeated, conflicts = self._repeats.step(ids, time_ns, value)
        if is_repeated.any() or conflicts.any():
            self.counts["repeated"] += int(is_repeated.sum())
            quality = np.where(conflicts > 0, np.uint8(Quality.UNCERTAIN_CONFLICT), quality)
            fresh = ~is_repeated
            ids, conflicts = ids[fresh], conflicts[fresh]
            time_ns, value, quality = time_ns[fresh], value[fresh], quality[fresh]
        self._align.grow(len(catalogue.channels), len(catalogue.assets))
        quality = clean.check_range(value, quality, catalogue.low[ids], catalogue.high[ids])
        quality = self._check(ids, time_ns, value, quality)
        denoised, quality = self._denoise(ids, clean.usable(value, quality), quality)
        late, frames = self._align.step(catalogue.grid, ids, catalogue.asset_of[ids], time_ns, denoised)
        quality = np.where(late & (quality == Quality.GOOD), np.uint8(Quality.UNCERTAIN_LATE), quality)
        self.counts["late"] += int(late.sum())
        self.counts["bad_range"] += int(np.sum(quality == Quality.BAD_RANGE))
        results.add_readings(catalogue.channels, ids, time_ns + conflicts, value, denoised, quality)
        self._score(frames, results)

    @property
    def listened_ns(self) -> int:
        """The listening clock at the last tick."""
        return self._align.listened_ns

    def _check(
        self, ids: NDArray[np.intp], time_ns: NDArray[np.int64], value: NDArray[np.float64], quality: NDArray[np.uint8]
    ) -> NDArray[np.uint8]:
        """Marks what the readings before it speak against; what is marked already keeps its mark."""
        catalogue, neighbours = self._catalogue, self._neighbours
        neighbours.grow(len(catalogue.channels))
        limited = np.isfinite(catalogue.max_rate_per_s[ids]) | (catalogue.flat_ns[ids] < np.iinfo(np.int64).max)
        at = np.flatnonzero(limited & (quality < BAD_FROM))
        if not len(at):
            return quality
        channels = ids[at]
        too_fast, flat = neighbours.step(
            channels, time_ns[at], value[at], catalogue.max_rate_per_s[channels], catalogue.flat_ns[channels]
        )
        marked, good = quality.copy(), quality[at] == Quality.GOOD
        marked[at[too_fast & good]] = Quality.UNCERTAIN_RATE
        marked[at[flat & good & ~too_fast]] = Quality.UNCERTAIN_FLAT
        self.counts["rate"] += int(too_fast.sum())
        self.counts["flat"] += int(flat.sum())
        return marked

    def _denoise(
        self, ids: NDArray[np.intp], value: NDArray[np.float64], quality: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
        widths = self._catalogue.hampel_window[ids]
        denoised, marked = value.copy(), quality.copy()
        for width in np.unique(widths[widths > 0]).tolist():
            hampel = self._hampel.setdefault(width, Hampel(width))
            hampel.grow(len(self._catalogue.channels))
            mine = widths == width
            denoised[mine], spike = hampel.step(ids[mine], value[mine], self._catalogue.hampel_sigmas[ids[mine]])
            at = np.flatnonzero(mine)[spike]
            marked[at] = Quality.UNCERTAIN_SPIKE
            self.counts["spikes"] += len(at)
        return denoised, marked

    def _score(self, frames: Frames, results: Results) -> None:
        if not len(frames.asset):
            return
        for watch in self._watches.values():
            watch.grow(self._catalogue)
            windows = watch.windowing.step(frames, watch.inputs)
            self.counts["unscored"] += windows.unscored
            if len(windows.asset):
                manifest = watch.model.manifest
                scores = watch.model.score(windows.frames)
                assets = [self._catalogue.assets[i] for i in windows.asset]
                results.add_scores(assets, manifest.name, manifest.version, windows.time_ns, scores)
                results.add_alarms(watch.decide.step(assets, windows.time_ns, scores))

    def _configure(self, entry: Configured) -> None:
        """Take over a configuration. State survives where it still means the same."""
        before = self._catalogue.grid.period_ns
        self._config, self._configured = EdgeConfig.model_validate_json(entry.config), entry
        self._catalogue.settle(self._config)
        period = self._catalogue.grid.period_ns
        if len(before) and (before != period[: len(before)]).any():
            # Cells of another grid have other numbers: the open ones cannot be carried over.
            self._align = Align(self._align.listened_ns)
            self._align.grow(len(self._catalogue.channels), len(self._catalogue.assets))
            self._watches = {}
        wanted = {entry.digests[str(path)] for rule in self._config.assets for path in rule.models}
        kept = {digest: watch for digest, watch in self._watches.items() if digest in wanted}
        self._watches = {d: kept.get(d) or _Watch(d, self._find_model(d)) for d in sorted(wanted)}
        for watch in self._watches.values():
            watch.configure(self._config, entry.digests)

    def snapshot(self) -> dict[str, Any]:
        """The whole state as a tree of plain values and arrays: its own copy, that another thread may write out."""
        entry = self._configured
        return deepcopy(
            {
                "configured": None if entry is None else [entry.arrival_ns, entry.config, entry.digests],
                "channels": self._catalogue.channels,
                "repeats": vars(self._repeats),
                "neighbours": vars(self._neighbours),
                "align": vars(self._align),
                "hampel": [[width, hampel.history] for width, hampel in self._hampel.items()],
                "watches": [watch.snapshot() for watch in self._watches.values()],
            }
        )

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a snapshot."""
        if state["configured"] is None:
            return
        arrival_ns, config, digests = state["configured"]
        self._catalogue.restore([(asset, channel) for asset, channel in state["channels"]])
        self._configure(Configured(arrival_ns=arrival_ns, config=config, digests=digests))
        vars(self._repeats).update(state["repeats"])
        vars(self._neighbours).update(state["neighbours"])
        vars(self._align).update(state["align"])
        for width, history in state["hampel"]:
            self._hampel[width] = Hampel(width)
            self._hampel[width].history = history
        for saved in state["watches"]:
            self._watches[saved["digest"]].restore(saved)


class _Watch:
    """One model and what it needs to remember."""

    def __init__(self, digest: str, model: Model) -> None:
        self.digest, self.model = digest, model
        manifest = model.manifest
        self._position = {channel.name: i for i, channel in enumerate(manifest.channels)}
        self.windowing = Windowing(manifest.window, manifest.stride, len(manifest.channels))
        self.decide = Decide(manifest)
        self.inputs = np.empty((0, len(manifest.channels)), np.intp)  # [assets, width], channel numbers, -1 = none
        self._watched: Callable[[str], bool] = lambda _asset: False
        self._known = 0

    def configure(self, config: EdgeConfig, digests: dict[str, str]) -> None:
        """Which assets to watch may have changed."""

        def watched(asset: str) -> bool:
            rule = config.asset_rule(asset)
            return rule is not None and any(digests[str(path)] == self.digest for path in rule.models)

        self._watched = watched
        self.inputs, self._known = self.inputs[:0], 0

    def grow(self, catalogue: Catalogue) -> None:
        """Take notice of channels that are new."""
        if self._known == len(catalogue.channels):
            return
        self.inputs = grown(self.inputs, len(catalogue.assets), -1)
        for number in range(self._known, len(catalogue.channels)):
            asset, channel = catalogue.channels[number]
            if channel in self._position and self._watched(asset):
                self.inputs[catalogue.asset_of[number], self._position[channel]] = number
        self._known = len(catalogue.channels)
        self.windowing.grow(len(catalogue.assets))

    def snapshot(self) -> dict[str, Any]:
        """Frames, cells and alarm states."""
        states = {asset: list(state) for asset, state in self.decide.states.items()}
        return {
            "digest": self.digest,
            "frames": self.windowing.frames,
            "cells": self.windowing.cells,
            "states": states,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """The reverse."""
        self.windowing.frames, self.windowing.cells = saved["frames"], saved["cells"]
        self.decide.states = {asset: (opened, streak) for asset, (opened, streak) in saved["states"].items()}


def with_features(entry: Data) -> Readings:
    """The entry's readings, with the features of its waveforms put in where the waveforms stood."""
    readings = entry.readings()
    if not entry.waveforms:
        return readings
    channels, numbers = list(readings.channels), {key: i for i, key in enumerate(readings.channels)}
    index, time_ns, value, position = [], [], [], []
    for waveform in entry.waveforms:
        samples = np.frombuffer(waveform.samples, "<f4").astype(np.float64)[None]
        asset, channel = waveform.channel
        for name, feature in FEATURES.items():
            key = (asset, f"{channel}.{name}")
            if key not in numbers:
                numbers[key] = len(channels)
                channels.append(key)
            index.append(numbers[key])
            time_ns.append(waveform.time_ns)
            value.append(float(feature(samples)[0]))
            position.append(waveform.position)
    return Readings(
        channels,
        np.insert(readings.index, position, index),
        np.insert(readings.time_ns, position, time_ns),
        np.insert(readings.value, position, value),
        np.insert(readings.quality, position, Quality.GOOD),
    )
