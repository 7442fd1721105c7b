"""Journals for tests of the whole signal path: every stage configured, and streams that do what sensors do.

A journal is a list of `Group`s: a tick or a configuration, and the messages that came after it. How these are cut into
entries, how many entries the pipeline takes at once and where it is restored from a snapshot is the test's choice.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_agent.config import EdgeConfig
from edge_agent.core import state
from edge_agent.core.entries import Configured, Data, JournalEntry, Tick
from edge_agent.core.model import Scores
from edge_agent.core.pipeline import Pipeline
from edge_agent.core.readings import ChannelKey, Decoded, ReadingsBuilder, Value, Waveform
from edge_agent.core.results import Results
from models.bundle import Manifest
from models.contract.batch import Batch, decode_batch, encode_batch, floats, indices, ints
from models.contract.quality import Quality

MS = 1_000_000
SECOND = 1000 * MS
T0 = 1_760_000_000 * SECOND

_HAMPEL = {"filter": "hampel", "window": 5}
_LOWPASS = {"filter": "butterworth", "cutoff_hz": 1.0, "rate_hz": 10.0, "max_gap_s": 2.0}
_FLOW = [_LOWPASS, {"filter": "notch", "frequency_hz": 2.0, "rate_hz": 10.0}]
_POLYNOMIAL = {"filter": "savitzky-golay", "window": 5, "rate_hz": 4.0, "max_gap_s": 3.0}
_TREND = {"filter": "kalman", "model": "trend", "measurement_std": 0.5, "process_std": 0.1, "max_gap_s": 4.0}
_LEVEL = {"filter": "kalman", "measurement_std": 0.5, "process_std": 0.1}
_SMOOTH = {"filter": "exponential", "time_constant_s": 2.0}

CHANNELS: list[dict[str, Any]] = [
    {
        "match": "*/temp",
        "range": [-50.0, 150.0],
        "operating_range": [0.0, 25.0],
        "max_rate_per_s": 20.0,
        "flat_s": 2.0,
        "flat_band": 0.25,
        "no_data_factor": 3.0,
        "quantum_factor": 4.0,
        "max_skew_s": 2.0,
        "denoise": [_HAMPEL, _SMOOTH],
        "report": {"filter": "deadband", "band": 1.0, "max_interval_s": 60.0},
    },
    {"match": "*/t1", "denoise": [_HAMPEL], "max_skew_s": 3.0, "no_data_factor": 2.0},
    {"match": "*/t2", "denoise": [_LEVEL], "range": [-100.0, 100.0], "align": "linear", "max_gap_s": 2.0},
    {"match": "*/t3", "max_skew_s": 0.0, "align": "last"},
    {"match": "*/flow", "denoise": _FLOW, "align": "mean", "quantum_factor": 2.0},
    {"match": "*/press", "denoise": [_POLYNOMIAL], "align": "linear", "max_gap_s": 3.0, "max_rate_per_s": 50.0},
    {
        "match": "*/load",
        "denoise": [_TREND],
        "align": "max",
        "no_data_factor": 4.0,
        "report": {"filter": "swinging-door", "band": 0.5, "max_interval_s": 30.0},
    },
    {"match": "*/rpm", "denoise": [{"filter": "median", "window": 3}], "align": "min", "flat_s": 5.0},
    {
        "match": "*/vib",
        "kind": "waveform",
        "waveform": {
            "features": ["rms", "peak", "crest", "kurtosis", "bands", "peaks", "centroid_hz", "velocity_rms", "bpfo"],
            "denoise": [{"filter": "wavelet", "wavelet": "haar"}],
            "bands_hz": {"low": [10.0, 200.0]},
            "unit": "g",
            "bearing": {"balls": 9, "ball_diameter_mm": 7.9, "pitch_diameter_mm": 39.0, "envelope_hz": [50.0, 200.0]},
            "speed_channel": "rpm",
        },
    },
    {"match": "*/vib.rms", "denoise": [_SMOOTH], "operating_range": [0.0, 1.0], "align": "last"},
    {"match": "*/*", "denoise": [{"filter": "hampel", "window": 3}]},
]
NAMES = ("temp", "t1", "t2", "t3", "flow", "press", "load", "rpm", "vib")  # of what is sent

_MACHINE: dict[str, Any] = {
    "match": "m*",
    "hold_s": 3.0,
    "lateness_s": 1.0,
    "idle_s": 4.0,
    "redundant": [{"of": ["t1", "t2", "t3"], "max_difference": 3.0, "fused": "t"}],
    "derived": [
        {"channel": "power", "expression": "flow * press / max(load, 0.1)"},
        {"channel": "difference", "expression": "temp - t"},
    ],
    "features": [
        {"of": "*", "window_s": 5.0, "every_s": 2.0, "give": ["mean", "slope"]},
        {"of": "temp", "window_s": 4.0, "every_s": 1.0, "give": ["std", "trend", "kurtosis"]},
    ],
    "regimes": [{"name": "high", "when": "temp > 20 or load > 15"}, {"name": "hot", "when": "t > 10"}],
    "regime_dwell_s": 2.0,
    "models": ["abstain", "mask"],
}
_QUICK: dict[str, Any] = {
    "match": "n*",
    "period_s": 0.25,
    "lateness_s": 0.0,
    "redundant": [{"of": ["t1", "t2"], "max_difference": 1.0, "fused": "t", "sigmas": [0.5, 1.0]}],
    "models": ["mask"],
}


def config(channels: Sequence[dict[str, Any]] = CHANNELS, *, machine: dict[str, Any] | None = None) -> EdgeConfig:
    """The whole file; machine: settings in place of those of the assets m*."""
    return EdgeConfig.model_validate(
        {
            "site": "s",
            "gateway": "g",
            "state_dir": "state",
            "topics": [{"template": "{asset}/{channel}"}],
            "channels": channels,
            "assets": [_MACHINE | (machine or {}), _QUICK],
        }
    )


def configured(found: EdgeConfig) -> Configured:
    """As the journal has it."""
    return Configured(arrival_ns=T0, config=found.model_dump_json(), digests={"abstain": "d1", "mask": "d2"})


_OTHER: list[dict[str, Any]] = [
    {"match": "*/temp", "denoise": [_LEVEL, _SMOOTH], "align": "mean", "no_data_factor": 2.0},
    {"match": "*/load", "report": {"filter": "deadband", "band": 0.5}, "align": "linear"},
    {"match": "*/flow", "denoise": [_SMOOTH], "align": "max", "report": {"filter": "swinging-door", "band": 1.0}},
]
# The first is where each journal begins.
CONFIGURATIONS = [
    configured(config()),
    configured(config([*_OTHER, *CHANNELS], machine={"hold_s": 1.0, "models": ["mask"], "features": []})),
    configured(config(machine={"period_s": 0.5})),
]


class Mean:
    """A model whose score is the mean of its window: each row by itself, so that batching cannot matter."""

    def __init__(self, name: str, window: int, channels: tuple[str, ...], missing: str) -> None:
        self.manifest = Manifest.model_validate(
            {
                "name": name,
                "version": "1",
                "kind": "anomaly",
                "channels": [{"name": channel} for channel in channels],
                "sample_period_s": 1.0,
                "window": window,
                "missing": missing,
                "outputs": ["anomaly_score"],
                "threshold": {"output": "anomaly_score", "open_at": 6.0, "close_at": 5.0, "open_after": 2},
                "trained_on": "nothing",
            }
        )

    def score(self, frames: NDArray[np.float32], _state: NDArray[np.float32] | None = None) -> Scores:
        score = [math.fsum(frame.ravel().tolist()) / frame.size for frame in frames]
        return Scores({"anomaly_score": np.array(score)}, None)


MODELS = {
    "d1": Mean("abstain", 3, ("temp", "t", "temp.slope_5s"), "abstain"),
    "d2": Mean("mask", 4, ("t1", "power", "load", "vib.rms", "regime"), "mask"),
}

Item = tuple[int, Value | Waveform]  # when it arrived, and what


class Group(NamedTuple):
    """What follows a tick or a configuration."""

    begin: Tick | Configured
    items: list[Item]


Series = dict[tuple[str, ...], list[tuple[object, ...]]]


class Rows(NamedTuple):
    """All results, of each series in their order. Floats as hex: bit for bit."""

    readings: Series
    scores: Series
    alarms: Series


def rows_of(batch: Batch) -> Rows:
    """The rows of a batch."""
    out = Rows(defaultdict(list), defaultdict(list), defaultdict(list))
    r, s = batch.readings, batch.inferences
    columns = ints(r.time_ns).tolist(), floats(r.value).tolist(), floats(r.denoised).tolist(), r.quality
    for i, time_ns, value, denoised, quality in zip(indices(r.index).tolist(), *columns, strict=True):
        out.readings[r.series[i]].append((time_ns, value.hex(), denoised.hex(), quality))
    fields = [(name, floats(column).tolist()) for name, column in s.fields.items()]
    for row, (i, time_ns) in enumerate(zip(indices(s.index).tolist(), ints(s.time_ns).tolist(), strict=True)):
        out.scores[s.series[i]].append((time_ns, *((name, column[row].hex()) for name, column in fields)))
    for a in batch.alarms:
        out.alarms[a.asset, a.code].append((a.time_ns, a.is_open, a.severity, a.id, a.message))
    return out


def data(items: Iterable[Item]) -> Data:
    """One entry."""
    builder = ReadingsBuilder()
    arrival_ns = 0
    for position, (arrived_ns, item) in enumerate(items):
        arrival_ns = arrived_ns
        decoded = Decoded([], [item], True) if isinstance(item, Waveform) else Decoded([item], [], False)
        builder.add(decoded, arrived_ns, position)
    return Data.of(arrival_ns, *builder.build())


def entries_of(
    groups: Iterable[Group], cut: Callable[[int], Iterable[int]], begin: Configured = CONFIGURATIONS[0]
) -> list[JournalEntry]:
    """cut: of a number of messages, where to cut them."""
    entries: list[JournalEntry] = [begin]
    for event, items in groups:
        entries.append(event)
        bounds = sorted({0, len(items), *(at for at in cut(len(items)) if at < len(items))})
        entries += [data(items[a:b]) for a, b in pairwise(bounds)]
    return entries


class Run(NamedTuple):
    """What came of a journal."""

    rows: Rows
    counts: Counter[str]


def run(entries: Sequence[JournalEntry], bounds: Iterable[int] = (), restarts: Iterable[int] = ()) -> Run:
    """bounds: where the pipeline is handed what it has not got yet; restarts: those of them with a new pipeline."""
    pipeline, results, counts = Pipeline(MODELS.__getitem__), Results(), Counter[str]()
    restarts = set(restarts)
    for a, b in pairwise(sorted({0, *(at for at in bounds if at < len(entries)), *restarts, len(entries)})):
        if a in restarts:
            saved = state.dump(pipeline.snapshot())
            counts += pipeline.counts
            pipeline = Pipeline(MODELS.__getitem__)
            pipeline.restore(state.load(saved))
        pipeline.run(entries[a:b], results)
    return Run(rows_of(decode_batch(encode_batch(results.batch("s", "g", "e", 1)))), counts + pipeline.counts)


_NOISE = np.random.default_rng(4).normal(size=499).round(3).tolist()
_SHAPES: dict[str, Callable[[int, float], float]] = {
    "noise": lambda _i, noise: 10.0 + noise,
    "stuck": lambda _i, _noise: 10.0,
    "ramp": lambda i, noise: i / 4 + noise,
    "coarse": lambda _i, noise: 8.0 * round(noise),
    "high": lambda _i, noise: 24.0 + 3 * noise,
    "wild": lambda _i, noise: 90.0 * noise,
}
_EVENTS: dict[str, Callable[[Value], Value]] = {
    "late": lambda item: item._replace(time_ns=(item.time_ns or 0) - 20 * SECOND),
    "back": lambda item: item._replace(time_ns=(item.time_ns or 0) - 700 * MS),
    "bad": lambda item: item._replace(quality=Quality.BAD_SOURCE),
    "unsure": lambda item: item._replace(quality=Quality.UNCERTAIN_SOURCE),
    "untimed": lambda item: item._replace(time_ns=None),
    "spike": lambda item: item._replace(value=item.value + 40),
    "huge": lambda item: item._replace(value=1e300),
}
_AMONG = ("repeat", "conflict", "marker", "swap", *_EVENTS)


class _Plant:
    """Makes groups, phase by phase."""

    def __init__(self) -> None:
        self.groups: list[Group] = []
        self.clock_ns = self.listened_ns = T0
        self.skew_ns: Counter[str] = Counter()
        self.made = 0

    def phase(self, draw: st.DrawFn) -> None:
        assets = draw(st.lists(st.sampled_from(["m1", "m2", "n1", "x"]), min_size=1, max_size=2, unique=True))
        names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=5, unique=True))
        shape = _SHAPES[draw(st.sampled_from(sorted(_SHAPES)))]
        tick_ms = draw(st.sampled_from([1000, 1000, 300, 3000]))
        count, step_ms = draw(st.integers(0, 4)), draw(st.sampled_from([250, 100, 500, 1000]))
        self.skew_ns[assets[0]] += draw(st.sampled_from([0, 0, 0, 4000, -4000, 300_000, -300_000])) * MS
        self.clock_ns += draw(st.sampled_from([0, 0, 0, 0, 10_000, -7000])) * MS
        self.listened_ns += draw(st.sampled_from([0, 0, 6000])) * MS
        if draw(st.integers(0, 3)) == 0:
            self.groups.append(Group(draw(st.sampled_from(CONFIGURATIONS)), []))
        first = len(self.groups)
        for _ in range(draw(st.integers(1, 20))):
            self._tick(tick_ms)
            sent = [(asset, name, nth) for nth in range(count) for asset in assets for name in names]
            self.groups[-1].items.extend(
                (0, self._item((asset, name), self.clock_ns + self.skew_ns[asset] + nth * step_ms * MS, shape))
                for asset, name, nth in sent
            )
        for event, at, place in draw(
            st.lists(
                st.tuples(st.sampled_from(_AMONG), st.integers(first, len(self.groups) - 1), st.integers(0, 40)),
                max_size=6,
            )
        ):
            self._happen(event, self.groups[at].items, place)

    def _tick(self, tick_ms: int) -> None:
        self.clock_ns += tick_ms * MS
        self.listened_ns += tick_ms * MS
        self.groups.append(Group(Tick(arrival_ns=self.clock_ns, listened_ns=self.listened_ns), []))

    def _item(self, key: ChannelKey, time_ns: int, shape: Callable[[int, float], float]) -> Value | Waveform:
        self.made += 1
        noise = _NOISE[self.made % len(_NOISE)]
        if key[1] == "vib":
            samples = np.sin(np.arange(128) * (1 + abs(noise))).astype("<f4")
            return Waveform(channel=key, time_ns=time_ns, dt_ns=2 * MS, samples=samples.tobytes())
        value = shape(self.made, noise)
        return Value(key, time_ns, value * 50 if key[1] == "rpm" else value)

    def _happen(self, event: str, items: list[Item], place: int) -> None:
        """Something out of the ordinary to one of the messages."""
        if not items:
            return
        at = place % len(items)
        item = items[at][1]
        if event == "swap":
            items.insert(place * 7 % len(items), items.pop(at))
        elif event == "repeat" or isinstance(item, Waveform):
            items.append((0, item))
        elif item.time_ns is None or math.isnan(item.value):
            pass
        elif event == "conflict":
            items.append((0, item._replace(value=item.value + 1)))
        elif event == "marker":
            items.insert(at, (0, item._replace(value=math.nan, quality=Quality.UNCERTAIN_STALE)))
        else:
            items[at] = 0, _EVENTS[event](item)

    def finished(self) -> list[Group]:
        """With silence at the end, so that all is closed; messages arrive one after the other."""
        for _ in range(3):
            self._tick(5000)
        out = []
        arrived_ns = T0
        for begin, items in self.groups:
            arrived_ns = max(arrived_ns, begin.arrival_ns)
            arrivals = [arrived_ns + 500 + 1000 * i for i in range(len(items))]
            out.append(Group(begin, [(at, item) for at, (_, item) in zip(arrivals, items, strict=True)]))
            arrived_ns += 1000 * len(items)
        return out


@st.composite
def journals(draw: st.DrawFn) -> list[Group]:
    """Several assets and channels, some of which come late; all kinds of trouble; changes of configuration."""
    plant = _Plant()
    for _ in range(draw(st.integers(1, 3))):
        plant.phase(draw)
    return plant.finished()
