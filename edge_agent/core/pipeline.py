"""The pipeline: a pure function of the journal.

    entry ─▶ waveforms ─▶ repeats ─▶ checks ─▶ denoise ─▶ align ─▶ derive ─▶ window ─▶ infer ─▶ decide ─▶ results
             become       leaves     mark      filters    grid     fusion,   frames     models   alarms
             features     out what             a channel  frames,  formulas, may wait   (handed
                          was there                       lateness features             in)

Invariants
1. The same entries give the same results, bit for bit, however the readings between two ticks were cut into
   entries, how many entries are taken at once, and whether or not a snapshot was restored between two of them.
   A model that fails is the one exception (`take_failures`).
2. No reading disappears: each one is in the results with its quality, once, unless its channel's `report` says that
   the readings around it tell enough.
3. Configuration and models come from the journal (`Configured`), never from a file.
4. With `inference.max_wait_s` windows wait for others of their model until the journal's time, that of its entries,
   leaves the stretch of `max_wait_s` in which they came; what waited is one batch in the order of names and times, in
   parts of `max_batch`. So a replay forms the same batches. Only more than `waiting.MOST` values go before their time.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from copy import deepcopy
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.config import EdgeConfig
from edge_agent.core.align import Align, Frames
from edge_agent.core.catalogue import Catalogue
from edge_agent.core.checks.marks import mark
from edge_agent.core.cleaning import Cleaning
from edge_agent.core.derive.stage import Derive
from edge_agent.core.entries import Configured, Data, JournalEntry, Tick, Withdrawn, join_readings
from edge_agent.core.model import Model
from edge_agent.core.readings import join
from edge_agent.core.reporting import Reporting
from edge_agent.core.results import Results
from edge_agent.core.rows import Rows
from edge_agent.core.segments import segments
from edge_agent.core.service import Service
from edge_agent.core.waveforms import Waveforms
from models.contract.quality import Quality, label

_VERSION = 3  # of snapshots: to be raised when a stage's state means something else than before


class Pipeline:
    """All stages and their state. `models` finds a model by the digest of its bundle; None: it is not to be had."""

    def __init__(self, models: Callable[[str], Model | None]) -> None:
        self._config: EdgeConfig | None = None
        self._configured: Configured | None = None
        self._catalogue = Catalogue()
        self._waveforms = Waveforms()
        self._cleaning = Cleaning()
        self._align = Align()
        self._derive = Derive()
        self._reporting = Reporting()
        self.counts: Counter[str] = Counter()  # since the last start: marks, repeated, unscored
        self._service = Service(models, self._catalogue, self.counts)
        self._known = 0  # channels that the stages have room for
        self._wait_ns, self._now_ns, self._stretch = 0, 0, 0  # see `_group`

    @property
    def config(self) -> EdgeConfig | None:
        """The last configuration that was taken over."""
        return self._config

    @property
    def is_configured(self) -> bool:
        """Whether a `Configured` entry has been seen."""
        return self._config is not None

    @property
    def serving(self) -> frozenset[str]:
        """Digests of the models that it works with."""
        return self._service.digests

    @property
    def listened_ns(self) -> int:
        """The listening clock at the last tick."""
        return self._align.listened_ns

    def run(self, entries: Sequence[JournalEntry], results: Results) -> None:
        """Take entries; what comes of them is added to `results`. Data between two others is taken as one."""
        for (is_data, stretch), group in groupby(entries, self._group):
            if stretch != self._stretch:
                self._stretch = stretch
                self._service.flush(results)
            if is_data:
                self._take([entry for entry in group if isinstance(entry, Data)], results)
                continue
            for entry in group:
                if isinstance(entry, Configured):
                    self._configure(entry, results)
                elif isinstance(entry, Tick):
                    self._tick(entry, results)
                elif isinstance(entry, Withdrawn):
                    self._service.withdraw(entry, results)

    def take_failures(self) -> dict[str, str]:
        """Models that have failed since the last call: digest -> why. Their windows are not scored any more.

        The caller tells the journal (`Withdrawn`), from which on it is so in a replay as well.
        """
        return self._service.take_failures()

    def _group(self, entry: JournalEntry) -> tuple[bool, int]:
        """What is taken as one: data, within a stretch of the journal's time if windows may wait."""
        self._now_ns = max(self._now_ns, entry.arrival_ns)
        return isinstance(entry, Data), self._now_ns // self._wait_ns if self._wait_ns else 0

    def _take(self, entries: Sequence[Data], results: Results) -> None:
        if self._config is None:
            msg = "the journal begins without a configuration"
            raise ValueError(msg)
        catalogue = self._catalogue
        if any(entry.waveforms for entry in entries) or self._waveforms.notes_speeds:
            readings = join(self._waveforms.readings(entries))
        else:
            readings = join_readings(entries)
        ids = catalogue.number(readings.channels, self._config)[readings.index]
        self._grow(results)
        # Up to the alignment the stages work channel by channel, and share one grouping.
        grouped = segments(ids)
        cleaned = self._cleaning.step(
            catalogue, grouped, Rows.of(readings.time_ns, readings.value, readings.quality).at(grouped.order)
        )
        arrived = _inverse(cleaned.grouped.order)
        ids, rows = cleaned.grouped.series[cleaned.grouped.rank][arrived], cleaned.rows.at(arrived)
        late, frames = self._align.step(
            catalogue.grid, ids, catalogue.asset_of[ids], rows.time_ns, rows.denoised, cleaned.is_aside[arrived]
        )
        if late.any():
            mark(rows.quality, late, Quality.UNCERTAIN_LATE)
        self._count(cleaned.repeated, rows.quality)
        self._reporting.step(catalogue.channels, cleaned, ids, rows, results)
        self._finish(frames, results)

    def _tick(self, entry: Tick, results: Results) -> None:
        """What has fallen silent: open frames close, channels that say nothing any more are marked."""
        catalogue = self._catalogue
        frames = self._align.tick(catalogue.grid, entry.listened_ns)
        clock_ns = 0 if entry.is_clock_unsure else entry.arrival_ns
        ids, rows = self._cleaning.tick(catalogue, clock_ns, self._align.listened_ns)
        self._count(0, rows.quality)
        self._reporting.flush(catalogue.channels, self._align.silent(catalogue.grid)[catalogue.asset_of], results)
        self._reporting.tell(catalogue.channels, ids, rows, results)
        self._finish(frames, results)

    def end(self, results: Results) -> None:
        """No more will come: open frames close and what is kept back is reported, but nobody has fallen silent."""
        catalogue = self._catalogue
        idle_ns = int(catalogue.grid.idle_ns.max(initial=0))
        frames = self._align.tick(catalogue.grid, self._align.listened_ns + idle_ns + 1)
        self._reporting.flush(catalogue.channels, np.ones(len(catalogue.channels), bool), results)
        self._finish(frames, results)
        self._service.flush(results)

    def _finish(self, frames: Frames, results: Results) -> None:
        """From frames on the grid to scores and alarms."""
        if not len(frames.asset):
            return
        frames, virtual = self._derive.step(frames)
        if len(virtual.channel):
            good = np.full(len(virtual.channel), Quality.GOOD, np.uint8)
            results.add_readings(
                self._catalogue.channels, virtual.channel, virtual.time_ns, virtual.value, virtual.value, good
            )
        self._service.step(frames, results)
        if not self._wait_ns:
            self._service.flush(results)

    def _count(self, repeated: int, quality: NDArray[np.uint8]) -> None:
        self.counts["repeated"] += repeated
        if quality.any():
            for code, count in enumerate(np.bincount(quality).tolist()):
                if code != Quality.GOOD and count:
                    self.counts[label(code)] += count

    def _grow(self, results: Results) -> None:
        """Make room for channels that are new."""
        catalogue = self._catalogue
        channels, assets = len(catalogue.channels), len(catalogue.assets)
        if channels > self._known:
            self._known = channels
            self._cleaning.grow(catalogue)
            self._align.grow(channels, assets)
            self._derive.grow(catalogue)
            self._reporting.settle(catalogue, results)

    def _configure(self, entry: Configured, results: Results) -> None:
        """Take over a configuration. State survives where it still means the same."""
        self._service.flush(results)
        before = self._catalogue.grid.period_ns
        self._config, self._configured = EdgeConfig.model_validate_json(entry.config), entry
        catalogue = self._catalogue
        self._align.thin(catalogue.grid)
        catalogue.settle(self._config)
        period = catalogue.grid.period_ns
        if len(before) and (before != period[: len(before)]).any():
            # Cells of another grid have other numbers: the open ones cannot be carried over.
            self._align = Align(self._align.listened_ns)
            self._derive = Derive()
            self._service.forget_windows()
        self._service.configure(self._config, entry, results)
        self._wait_ns, self._stretch = round(self._config.inference.max_wait_s * 1e9), 0
        self._known = 0
        self._waveforms.settle(self._config)
        self._derive.settle(self._config, catalogue)
        self._grow(results)

    def snapshot(self) -> dict[str, Any]:
        """The whole state as a tree of plain values and arrays: its own copy, that another thread may write out."""
        entry = self._configured
        return deepcopy(
            {
                "version": _VERSION,
                "configured": None if entry is None else [entry.arrival_ns, entry.config, entry.digests],
                "now": [self._now_ns, self._stretch],
                "channels": self._catalogue.channels,
                "waveforms": self._waveforms.snapshot(),
                "cleaning": self._cleaning.snapshot(),
                "align": vars(self._align),
                "derive": self._derive.snapshot(),
                "reporting": self._reporting.snapshot(),
                "service": self._service.snapshot(),
            }
        )

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a snapshot. Raises ValueError when it is of another version: then the journal has to tell."""
        if state.get("version") != _VERSION:
            msg = f"a snapshot of version {state.get('version')}; this is {_VERSION}"
            raise ValueError(msg)
        if state["configured"] is None:
            return
        arrival_ns, config, digests = state["configured"]
        self._catalogue.restore([(asset, channel) for asset, channel in state["channels"]])
        self._configure(Configured(arrival_ns=arrival_ns, config=config, digests=digests), Results())
        self._waveforms.restore(state["waveforms"])
        self._cleaning.restore(state["cleaning"])
        vars(self._align).update(state["align"])
        self._derive.restore(state["derive"])
        self._reporting.restore(state["reporting"])
        self._service.restore(state["service"])
        self._now_ns, self._stretch = state["now"]


def _inverse(order: NDArray[np.intp]) -> NDArray[np.intp]:
    """Where each position went: the permutation that undoes `order`."""
    out = np.empty_like(order)
    out[order] = np.arange(len(order))
    return out
