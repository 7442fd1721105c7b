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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.config import EdgeConfig
from edge_agent.core import clean
from edge_agent.core.align import Align, Frames
from edge_agent.core.catalogue import Catalogue
from edge_agent.core.checks import Neighbours
from edge_agent.core.denoise.chain import Chains
from edge_agent.core.entries import Configured, Data, JournalEntry, Tick, join_readings
from edge_agent.core.features import FEATURES
from edge_agent.core.readings import Readings, join
from edge_agent.core.repeats import Repeats
from edge_agent.core.results import Results
from edge_agent.core.rows import Rows
from edge_agent.core.segments import Segments, kept, segments
from edge_agent.core.watch import Model, Watch
from models.contract.quality import BAD_FROM, Quality


class Pipeline:
    """All stages and their state. `models` finds a model by the digest of its graph."""

    def __init__(self, models: Callable[[str], Model]) -> None:
        self._find_model = models
        self._config: EdgeConfig | None = None
        self._configured: Configured | None = None
        self._catalogue = Catalogue()
        self._chains = Chains()
        self._known = 0  # channels that the stages have room for
        self._align = Align()
        self._repeats = Repeats()
        self._neighbours = Neighbours()
        self._watches: dict[str, Watch] = {}  # by digest
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
        self._grow()
        # Up to the alignment the stages work channel by channel, and share one grouping.
        grouped = segments(ids)
        nothing = np.zeros(len(ids), np.int64)
        rows = Rows(readings.time_ns, readings.value, readings.value, readings.quality, nothing).at(grouped.order)
        grouped, rows, place = self._leave_out_repeats(grouped, rows)
        rows = self._clean(grouped, rows)
        arrived = _inverse(place)
        ids, rows = grouped.series[grouped.rank][arrived], rows.at(arrived)
        late, frames = self._align.step(catalogue.grid, ids, catalogue.asset_of[ids], rows.time_ns, rows.denoised)
        self.counts["late"] += int(late.sum())
        quality = np.where(late & (rows.quality == Quality.GOOD), np.uint8(Quality.UNCERTAIN_LATE), rows.quality)
        results.add_readings(catalogue.channels, ids, rows.time_ns + rows.shift_ns, rows.value, rows.denoised, quality)
        self._score(frames, results)

    def _leave_out_repeats(self, grouped: Segments, rows: Rows) -> tuple[Segments, Rows, NDArray[np.intp]]:
        """What is left, in grouped order, and the place of each in the order of arrival."""
        is_repeated, conflicts = self._repeats.step(grouped, rows.time_ns, rows.value)
        if conflicts.any():
            quality = np.where(conflicts > 0, np.uint8(Quality.UNCERTAIN_CONFLICT), rows.quality)
            rows = rows._replace(quality=quality, shift_ns=conflicts)
        place = grouped.order
        if not is_repeated.any():
            return grouped, rows, place
        self.counts["repeated"] += int(is_repeated.sum())
        fresh = ~is_repeated
        place = (np.cumsum(fresh[_inverse(place)]) - 1)[place[fresh]]
        return kept(grouped, fresh), rows.at(fresh), place

    def _clean(self, grouped: Segments, rows: Rows) -> Rows:
        """Checks and filters, in grouped order."""
        catalogue = self._catalogue
        channel = grouped.series[grouped.rank]
        time_ns, value = rows.time_ns, rows.value
        quality = clean.check_range(value, rows.quality, catalogue.low[channel], catalogue.high[channel])
        quality = self._check(channel, time_ns, value, quality)
        usable = quality < BAD_FROM
        self.counts["bad_range"] += len(usable) - int(usable.sum())
        if usable.all():
            denoised, is_spike = self._chains.step(grouped, time_ns, value)
        else:
            denoised, is_spike = np.full(len(value), np.nan), np.zeros(len(value), bool)
            sound = self._chains.step(kept(grouped, usable), time_ns[usable], value[usable])
            denoised[usable], is_spike[usable] = sound
        self.counts["spikes"] += int(is_spike.sum())
        quality = np.where(is_spike, np.uint8(Quality.UNCERTAIN_SPIKE), quality)
        return rows._replace(denoised=denoised, quality=quality)

    def _grow(self) -> None:
        """Make room for channels that are new."""
        catalogue = self._catalogue
        channels = len(catalogue.channels)
        if channels > self._known:
            self._known = channels
            self._repeats.grow(channels)
            self._neighbours.grow(channels)
            self._chains.settle(catalogue.chains)
            self._align.grow(channels, len(catalogue.assets))

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

    def _score(self, frames: Frames, results: Results) -> None:
        if len(frames.asset):
            for watch in self._watches.values():
                self.counts["unscored"] += watch.step(frames, self._catalogue, results)

    def _configure(self, entry: Configured) -> None:
        """Take over a configuration. State survives where it still means the same."""
        before = self._catalogue.grid.period_ns
        self._config, self._configured = EdgeConfig.model_validate_json(entry.config), entry
        self._catalogue.settle(self._config)
        self._chains.settle(self._catalogue.chains)
        period = self._catalogue.grid.period_ns
        if len(before) and (before != period[: len(before)]).any():
            # Cells of another grid have other numbers: the open ones cannot be carried over.
            self._align = Align(self._align.listened_ns)
            self._align.grow(len(self._catalogue.channels), len(self._catalogue.assets))
            self._watches = {}
        wanted = {entry.digests[str(path)] for rule in self._config.assets for path in rule.models}
        kept = {digest: watch for digest, watch in self._watches.items() if digest in wanted}
        self._watches = {d: kept.get(d) or Watch(d, self._find_model(d)) for d in sorted(wanted)}
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
                "chains": self._chains.snapshot(),
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
        self._chains.settle(self._catalogue.chains)
        self._chains.restore(state["chains"])
        for saved in state["watches"]:
            self._watches[saved["digest"]].restore(saved)


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


def _inverse(order: NDArray[np.intp]) -> NDArray[np.intp]:
    """Where each position went: the permutation that undoes `order`."""
    out = np.empty_like(order)
    out[order] = np.arange(len(order))
    return out
