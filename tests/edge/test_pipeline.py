"""The pipeline as a function of the journal: how the journal was cut, and restarts, change nothing."""

from collections import Counter
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kurtosis

from edge_agent.config import EdgeConfig
from edge_agent.core import state
from edge_agent.core.entries import Configured, Data, JournalEntry, Tick
from edge_agent.core.model import Model
from edge_agent.core.pipeline import Pipeline
from edge_agent.core.readings import Decoded, ReadingsBuilder, Value, Waveform
from edge_agent.core.results import Results
from edge_agent.core.waveforms import Waveforms
from models.contract.batch import Batch, decode_batch, encode_batch, floats, indices, ints
from models.contract.quality import Quality
from tests.edge.models import Mean

MS = 1_000_000
SECOND = 1000 * MS
T0 = 1_760_000_000 * SECOND

CONFIG = EdgeConfig.model_validate(
    {
        "site": "s",
        "gateway": "g",
        "state_dir": "state",
        "topics": [{"template": "{asset}/{channel}"}],
        "channels": [
            {"match": "*/t", "range": [-50.0, 50.0], "denoise": [{"filter": "hampel", "window": 5, "sigmas": 3.0}]},
            {"match": "*/v.rms", "range": [0.0, 1000.0]},
            {"match": "*/v", "kind": "waveform"},
            {"match": "*/s", "max_rate_per_s": 2.0, "flat_s": 1.0},
            {"match": "*/*", "denoise": [{"filter": "hampel", "window": 3, "sigmas": 3.0}]},
        ],
        "assets": [
            {"match": "a*", "period_s": 1.0, "hold_s": 3.0, "lateness_s": 1.0, "idle_s": 2.0, "models": ["mean"]},
            {"match": "b*", "period_s": 0.5, "lateness_s": 0.0, "models": ["mean", "wide"]},
        ],
    }
)
CONFIGURED = Configured(arrival_ns=T0, config=CONFIG.model_dump_json(), digests={"mean": "d1", "wide": "d2"})


MODELS: dict[str, Model] = {"d1": Mean("mean", 2, ("t", "p")), "d2": Mean("wide", 3, ("p",))}


class Rows(NamedTuple):
    """All results, free of the order in which series were numbered. Floats as hex: bit for bit."""

    readings: Counter[tuple[object, ...]]
    scores: Counter[tuple[object, ...]]
    alarms: Counter[tuple[object, ...]]


def rows_of(batch: Batch) -> Rows:
    r, s = batch.readings, batch.inferences
    columns = (ints(r.time_ns).tolist(), floats(r.value), floats(r.denoised), r.quality)
    readings: Counter[tuple[object, ...]] = Counter(
        (r.series[i], t, float(v).hex(), float(d).hex(), q)
        for i, t, v, d, q in zip(indices(r.index).tolist(), *columns, strict=True)
    )
    fields = {name: floats(column) for name, column in s.fields.items()}
    scores: Counter[tuple[object, ...]] = Counter(
        (s.series[i], t, *(f"{name}={float(column[row]).hex()}" for name, column in fields.items()))
        for row, (i, t) in enumerate(zip(indices(s.index).tolist(), ints(s.time_ns).tolist(), strict=True))
    )
    alarms: Counter[tuple[object, ...]] = Counter(
        (a.asset, a.code, a.time_ns, a.is_open, a.severity, a.id, a.message) for a in batch.alarms
    )
    return Rows(readings, scores, alarms)


def run(entries: list[JournalEntry], restarts: frozenset[int] = frozenset(), *, at_once: int = 1) -> Rows:
    """Through one pipeline, or through a fresh one from a snapshot before the entries `restarts`."""
    pipeline, results = Pipeline(MODELS.__getitem__), Results()
    everything = [CONFIGURED, *entries]
    for number in range(0, len(everything), at_once):
        if restarts.intersection(range(number, number + at_once)):
            saved = state.dump(pipeline.snapshot())
            pipeline = Pipeline(MODELS.__getitem__)
            pipeline.restore(state.load(saved))
        pipeline.run(everything[number : number + at_once], results)
    return rows_of(decode_batch(encode_batch(results.batch("s", "g", "e", 1))))


Item = Value | Waveform


class Arrival(NamedTuple):
    arrival_ns: int
    items: list[Item]


def data(arrival_ns: int, items: list[Item]) -> Data:
    builder = ReadingsBuilder()
    for position, item in enumerate(items):
        decoded = Decoded([], [item], True) if isinstance(item, Waveform) else Decoded([item], [], False)
        builder.add(decoded, arrival_ns, position)
    return Data.of(arrival_ns, *builder.build())


def entries_of(arrivals: list[Arrival], cuts: list[int]) -> list[JournalEntry]:
    entries: list[JournalEntry] = []
    for arrival_ns, items in arrivals:
        entries.append(Tick(arrival_ns=arrival_ns, listened_ns=arrival_ns))
        bounds = [0, *sorted({c for c in cuts if 0 < c < len(items)}), len(items)]
        entries += [data(arrival_ns, items[a:b]) for a, b in pairwise(bounds) if b > a]
    return entries


@st.composite
def journals(draw: st.DrawFn) -> list[Arrival]:
    arrivals, arrival, now = [], T0, T0
    for _ in range(draw(st.integers(1, 5))):
        arrival += draw(st.sampled_from([0, 500, 1500, 3000, 8000])) * MS
        items: list[Item] = []
        for _ in range(draw(st.integers(0, 14))):
            now += draw(st.sampled_from([0, 100, 250, 500, 1000])) * MS
            at = now - draw(st.sampled_from([0, 0, 0, 0, 700, 3000])) * MS
            asset = draw(st.sampled_from(["a1", "a2", "b1", "c1"]))
            channel = draw(st.sampled_from(["t", "p", "p", "v", "s"]))
            if channel == "v":
                samples = np.array(draw(st.lists(st.integers(-3, 3), min_size=1, max_size=5)), "<f4").tobytes()
                items.append(Waveform(channel=(asset, "v"), time_ns=at, dt_ns=MS, samples=samples))
            else:
                value = draw(st.integers(-3, 12) | st.sampled_from([51, -51, 1000]))
                timed = draw(st.sampled_from([True, True, True, False]))
                items.append(Value((asset, channel), at if timed else None, value / 4 if abs(value) < 13 else value))
        arrivals.append(Arrival(arrival, items))
    return arrivals


@given(journals(), st.lists(st.integers(0, 14), max_size=14), st.frozensets(st.integers(1, 40)), st.integers(1, 30))
@settings(deadline=None, max_examples=40)
def test_neither_cutting_the_entries_nor_taking_many_at_once_nor_snapshots_change_any_result(
    arrivals: list[Arrival], cuts: list[int], restarts: frozenset[int], at_once: int
) -> None:
    whole = run(entries_of(arrivals, []))
    assert run(entries_of(arrivals, cuts)) == whole
    assert run(entries_of(arrivals, []), restarts) == whole
    assert run(entries_of(arrivals, cuts), restarts) == whole
    assert run(entries_of(arrivals, cuts), at_once=at_once) == whole
    assert run(entries_of(arrivals, cuts), restarts, at_once=at_once) == whole


@given(journals())
@settings(deadline=None, max_examples=25)
def test_every_reading_and_every_feature_appears_exactly_once_with_its_value_unchanged(arrivals: list[Arrival]) -> None:
    arrivals = without_restatements(arrivals)
    expected: Counter[tuple[object, ...]] = Counter()
    for arrival_ns, items in arrivals:
        for item in items:
            if isinstance(item, Waveform):
                asset, channel = item.channel
                expected.update(((asset, f"{channel}.{name}"), item.time_ns) for name in ("rms", "crest", "kurtosis"))
            else:
                at = arrival_ns if item.time_ns is None else item.time_ns
                expected[item.channel, at, float(item.value).hex()] += 1
    found: Counter[tuple[object, ...]] = Counter()
    for row, count in run(entries_of(arrivals, [])).readings.items():
        is_feature = "." in str(row[0])
        found[row[:2] if is_feature else row[:3]] += count
    assert found == expected


def without_restatements(arrivals: list[Arrival]) -> list[Arrival]:
    """Each channel states each time once."""
    seen: set[tuple[object, ...]] = set()
    kept = []
    for arrival_ns, items in arrivals:
        fresh = []
        for item in items:
            key = (item.channel, arrival_ns if item.time_ns is None else item.time_ns)
            if key not in seen:
                seen.add(key)
                fresh.append(item)
        kept.append(Arrival(arrival_ns, fresh))
    return kept


def test_a_reading_stated_again_writes_no_second_row_and_another_value_for_its_time_gets_a_row_of_its_own() -> None:
    items = [Value(("a1", c), T0 + i * SECOND, float(i)) for i in range(20) for c in ("t", "p")]
    other = Value(("a1", "t"), T0 + 18 * SECOND, 17.0)
    plain: list[Item] = [*items]
    found, undisturbed = run([data(T0, [*plain, other, plain[36], plain[30]])]), run([data(T0, plain)])
    assert found.scores == undisturbed.scores
    (row,) = (found.readings - undisturbed.readings).elements()
    assert row == (("a1", "t"), T0 + 18 * SECOND + 1, (17.0).hex(), (17.0).hex(), Quality.UNCERTAIN_CONFLICT)


def steady(count: int, value: float = 1.0) -> list[Item]:
    return [Value(("a1", c), T0 + i * SECOND, value) for i in range(count) for c in ("t", "p")]


def test_a_long_steady_stream_is_scored_once_a_second_and_a_shift_opens_and_closes_an_alarm() -> None:
    items = steady(60)
    for i in range(20, 40):
        for side in (0, 1):
            items[2 * i + side] = Value(("a1", "tp"[side]), T0 + i * SECOND, 40.0)
    for i in range(40, 60):
        for side in (0, 1):
            items[2 * i + side] = Value(("a1", "tp"[side]), T0 + i * SECOND, -1.0)
    whole = run([data(T0, items)])
    assert len(whole.scores) == 60 - 1 - 2  # the first has no past; the last two are still open
    assert [is_open for *_, is_open in sorted((row[2], row[3]) for row in whole.alarms)] == [True, False]
    assert len({row[5] for row in whole.alarms}) == 1
    assert run([data(T0, [item]) for item in items], frozenset({30, 77, 78})) == whole


def test_values_out_of_range_are_stored_and_marked_and_used_by_nothing() -> None:
    clean = [item for item in steady(20) if not (isinstance(item, Value) and item.channel == ("a1", "t"))]
    bad: list[Item] = [Value(("a1", "t"), T0 + i * SECOND, 50.5) for i in range(20)]
    found = run([data(T0, clean + bad)])
    rows = [row for row in found.readings.elements() if row[0] == ("a1", "t")]
    assert len(rows) == 20
    assert {(row[2], row[3], row[4]) for row in rows} == {((50.5).hex(), "nan", Quality.BAD_RANGE)}
    assert not found.scores


def test_a_bad_value_among_good_ones_changes_no_score() -> None:
    items = steady(20)
    extra: list[Item] = [*items[:21], Value(("a1", "t"), T0 + 10 * SECOND, -9e9), *items[21:]]
    assert run([data(T0, extra)]).scores == run([data(T0, items)]).scores


def test_a_value_at_the_limit_is_in_range_and_a_late_one_is_marked() -> None:
    late: list[Item] = [*steady(20, 50.0), Value(("a1", "t"), T0, 50.0)]
    rows = run([data(T0, late)]).readings
    marks = Counter(row[4] for row in rows.elements())
    assert marks == {Quality.GOOD: 40, Quality.UNCERTAIN_LATE: 1}


def test_a_spike_keeps_its_value_and_gets_the_median_beside_it() -> None:
    items = steady(20)
    items[20] = Value(("a1", "t"), T0 + 10 * SECOND, 49.0)
    rows = [row for row in run([data(T0, items)]).readings if row[4] == Quality.UNCERTAIN_SPIKE]
    assert rows == [(("a1", "t"), T0 + 10 * SECOND, (49.0).hex(), (1.0).hex(), Quality.UNCERTAIN_SPIKE)]


def test_a_value_that_moves_too_fast_or_not_at_all_is_marked_and_kept() -> None:
    items: list[Item] = [Value(("a1", "s"), T0 + i * SECOND, v) for i, v in enumerate([0.0, 1.0, 9.0, 9.0, 9.0, 8.0])]
    rows = sorted(run([data(T0, items)]).readings.elements(), key=lambda row: int(str(row[1])))
    assert [float.fromhex(str(row[2])) for row in rows] == [0.0, 1.0, 9.0, 9.0, 9.0, 8.0]
    expected = [Quality.GOOD, Quality.GOOD, Quality.UNCERTAIN_RATE, Quality.GOOD, Quality.UNCERTAIN_FLAT, Quality.GOOD]
    assert [row[4] for row in rows] == expected


def test_an_asset_without_a_rule_is_stored_and_not_scored() -> None:
    items: list[Item] = [Value(("c1", c), T0 + i * SECOND, 1.0) for i in range(20) for c in ("t", "p")]
    found = run([data(T0, items)])
    assert found.readings.total() == 40
    assert not found.scores


def test_features_stand_at_the_time_of_the_waveform_and_where_it_stood_among_the_readings() -> None:
    samples = np.array([1.0, 5.0, -2.0, 0.0], "<f4")
    wave = Waveform(channel=("a1", "v"), time_ns=T0 + 7, dt_ns=MS, samples=samples.tobytes())
    first, second = Value(("a1", "t"), T0, 1.0), Value(("a1", "p"), T0, 2.0)
    (readings,) = Waveforms().readings([data(T0, [first, wave, second])])
    names = [readings.channels[i][1] for i in readings.index]
    assert names == ["t", "v.rms", "v.crest", "v.kurtosis", "p"]
    assert readings.time_ns.tolist() == [T0, T0 + 7, T0 + 7, T0 + 7, T0]
    rms = float(np.std(samples.astype(float)))
    expected = [rms, 4.0 / rms, float(kurtosis(samples.astype(float), fisher=False))]
    np.testing.assert_allclose(readings.value[1:4], expected, rtol=1e-12)


def test_a_constant_waveform_has_features_of_nought() -> None:
    wave = Waveform(channel=("a1", "v"), time_ns=T0, dt_ns=MS, samples=np.full(8, 3.0, "<f4").tobytes())
    (readings,) = Waveforms().readings([data(T0, [wave])])
    assert readings.value.tolist() == [0.0, 0.0, 0.0]


def test_a_journal_that_begins_without_a_configuration_is_refused() -> None:
    with pytest.raises(ValueError, match="without a configuration"):
        Pipeline(MODELS.__getitem__).run([data(T0, steady(1))], Results())


def test_a_snapshot_of_a_fresh_pipeline_restores_a_fresh_one() -> None:
    pipeline = Pipeline(MODELS.__getitem__)
    pipeline.restore(state.load(state.dump(Pipeline(MODELS.__getitem__).snapshot())))
    assert not pipeline.is_configured


@pytest.mark.parametrize("at", [1, 20, 39])
def test_the_same_configuration_again_changes_no_result(at: int) -> None:
    entries: list[JournalEntry] = [data(T0, [item]) for item in steady(20)]
    assert run([*entries[:at], CONFIGURED, *entries[at:]]) == run(entries)
