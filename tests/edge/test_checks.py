"""One suite that runs all checks: cutting, snapshots, growth, gaps; what a mark may take the place of; settings."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from edge_agent.core import checks
from edge_agent.core.checks import Checks, CheckSettings
from edge_agent.core.checks.marks import PRECEDENCE, RANKS, mark, usable
from edge_agent.core.segments import segments
from models.contract.quality import BAD_FROM, UNCERTAIN_FROM, Quality
from tests.edge.checks_stream import SECOND, Found, Reading, Stream, Tick, config

NAN = float("nan")
START_NS = 1_760_000_000 * SECOND
KEYS = [("pump", "a"), ("pump", "b"), ("fan", "a"), ("pump", "c"), ("fan", "b")]
EVERYTHING = config(
    {
        "range": [-50, 50],
        "operating_range": [-8, 8],
        "max_rate_per_s": 3,
        "flat_s": 4,
        "flat_band": 0.25,
        "no_data_factor": 1.5,
        "quantum_factor": 2,
        "max_skew_s": 3,
        "max_delay_s": 3,
    },
    asset={"hold_s": 3, "redundant": [{"of": ["a", "b", "c"], "max_difference": 2}]},
)

readings = st.builds(
    Reading,
    st.integers(0, len(KEYS) - 1),
    st.integers(0, 60).map(lambda s: START_NS + s * SECOND // 2),
    st.sampled_from([0.0, 0.0, 0.1, 1.0, 2.5, 7.0, 9.0, 60.0, NAN]),
    st.sampled_from([0, 0, 0, 0, Quality.UNCERTAIN_ARRIVAL_TIME, Quality.BAD_SOURCE]),
)


@st.composite
def streams(draw: st.DrawFn) -> list[Reading | Tick]:
    """Readings that keep some order in time, jump now and then, and ticks on two clocks."""
    events: list[Reading | Tick] = []
    now_ns, listened_ns = START_NS, 0
    for _ in range(draw(st.integers(1, 60))):
        if draw(st.integers(0, 2)):
            shift_s = draw(st.sampled_from([0, 0, 0, 1, -1, 4, -9]))
            reading = draw(readings)
            events.append(reading._replace(time_ns=now_ns + shift_s * SECOND + (reading.time_ns - START_NS) // 100))
        else:
            passed_ns = draw(st.sampled_from([SECOND // 4, SECOND, 7 * SECOND]))
            now_ns, listened_ns = now_ns + passed_ns, listened_ns + passed_ns
            events.append(Tick(now_ns, listened_ns))
    return events


def regular(rng: np.random.Generator, count: int) -> list[Reading | Tick]:
    """Long enough for everything to be learnt: steps, stops, roundings, jumps and silences included."""
    events: list[Reading | Tick] = []
    for i in range(count):
        clock_ns = START_NS + i * SECOND
        events.append(Tick(clock_ns, i * SECOND))
        for channel in range(len(KEYS)):
            if (channel, i // 50) in {(1, 3), (4, 5)}:
                continue  # silent
            value = float(rng.normal())
            value = round(value) if i % 150 > 100 else 0.0 if 60 < i < 80 else value
            skew_s = {2: 20, 3: -20, 6: -20}.get(i // 60, 0) if KEYS[channel][0] == "fan" else 0
            events.append(Reading(channel, clock_ns + skew_s * SECOND, value))
    return events


def test_the_checks_are_exactly_these() -> None:
    helpers = {"__init__", "chain", "marks", "rows", "settings"}
    files = {path.stem for path in Path(checks.__file__).parent.glob("*.py")} - helpers
    assert files == {"range", "order", "clock", "rate", "flat", "silence", "quantum", "redundancy"}
    assert set(vars(Checks())) == files - {"range"}  # which has no state


@given(streams(), st.lists(st.integers(0, 60), max_size=8), st.lists(st.integers(0, 60), max_size=2))
@settings(deadline=None, max_examples=80)
def test_cuts_and_snapshots_change_nothing(events: list[Reading | Tick], cuts: list[int], saved: list[int]) -> None:
    whole = Stream(EVERYTHING, KEYS).run(events)
    assert Stream(EVERYTHING, KEYS).run(events, cuts, saved) == whole


def test_cuts_and_snapshots_change_nothing_of_a_long_stream_in_which_every_mark_occurs() -> None:
    events = regular(np.random.default_rng(3), 420)
    whole = Stream(EVERYTHING, KEYS).run(events)
    expected = {
        Quality.GOOD,
        Quality.UNCERTAIN_RATE,
        Quality.UNCERTAIN_FLAT,
        Quality.UNCERTAIN_ORDER,
        Quality.UNCERTAIN_CLOCK,
        Quality.UNCERTAIN_CLOCK_JUMP,
        Quality.UNCERTAIN_QUANTUM,
        Quality.UNCERTAIN_DISAGREES,
    }
    assert set(whole.quality) == expected
    assert {channel for _, channel in whole.silent} == {1, 4}
    assert any(whole.is_ahead)
    assert Stream(EVERYTHING, KEYS).run(events, range(len(events))) == whole
    rng = np.random.default_rng(4)
    cuts, saved = (rng.integers(0, len(events), count).tolist() for count in (200, 20))
    assert Stream(EVERYTHING, KEYS).run(events, cuts, saved) == whole


@given(streams())
@settings(deadline=None, max_examples=30)
def test_what_is_no_number_is_no_reading(events: list[Reading | Tick]) -> None:
    is_number = [not (isinstance(event, Reading) and np.isnan(event.value)) for event in events]
    found = Stream(EVERYTHING, KEYS).run(events)
    without = Stream(EVERYTHING, KEYS).run([event for event, kept in zip(events, is_number, strict=True) if kept])
    given = [event for event in events if isinstance(event, Reading)]
    numbers = [not np.isnan(reading.value) for reading in given]
    assert [q for q, is_one in zip(found.quality, numbers, strict=True) if is_one] == without.quality
    assert [channel for _, channel in found.silent] == [channel for _, channel in without.silent]
    for reading, is_one, quality, ascends, is_ahead in zip(given, numbers, *found[:3], strict=True):
        assert is_one or (quality, ascends, is_ahead) == (reading.quality, False, False)


@given(streams())
@settings(deadline=None, max_examples=30)
def test_a_mark_is_never_replaced_by_a_milder_one(events: list[Reading | Tick]) -> None:
    found = Stream(EVERYTHING, KEYS).run(events)
    given = [event.quality for event in events if isinstance(event, Reading)]
    assert all(RANKS[after] >= RANKS[before] for before, after in zip(given, found.quality, strict=True))


def test_with_nothing_configured_only_times_that_do_not_ascend_are_marked() -> None:
    events = [Reading(0, START_NS + t, 1e300 * v) for t, v in ((1, 1), (2, -1), (2, 1), (9, 1), (10**17, 1))]
    found = Stream(config({"max_skew_s": 0})).run(events)
    assert found.quality == [0, 0, Quality.UNCERTAIN_ORDER, 0, 0]
    assert found.ascends == [True, True, False, True, True]


def test_a_constant_a_step_and_a_gap_of_a_year_are_good_where_nothing_speaks_against_them() -> None:
    settings = config({"range": [-5, 5], "operating_range": [-5, 5], "quantum_factor": 8, "no_data_factor": 5})
    year = 365 * 86_400
    times = [*range(100), *range(year, year + 100)]
    events: list[Reading | Tick] = []
    for i, t in enumerate(times):
        events += [Tick(START_NS + t * SECOND, i * SECOND), Reading(0, START_NS + t * SECOND, float(i >= 50))]
    assert Stream(settings).run(events) == Found([0] * 200, [True] * 200, [False] * 200, [])


def test_an_empty_step_does_nothing() -> None:
    stream = Stream(EVERYTHING, KEYS)
    nothing = np.empty(0)
    checked = stream.checks.step(
        stream.settings,
        segments(np.empty(0, np.intp)),
        nothing.astype(np.intp),
        nothing.astype(np.int64),
        nothing,
        nothing.astype(np.uint8),
        0,
    )
    assert [len(column) for column in checked] == [0, 0, 0]
    assert not len(stream.checks.tick(stream.settings, START_NS, SECOND))


def test_the_state_of_a_channel_is_small() -> None:
    every = Checks()
    every.grow(1000, 1000)
    sizes = [a.nbytes for state in every.snapshot().values() for a in state.values() if isinstance(a, np.ndarray)]
    assert sum(sizes) / 1000 < 1500


def test_each_mark_has_its_place_and_severities_come_first() -> None:
    assert set(PRECEDENCE) == set(Quality)
    assert len(PRECEDENCE) == len(Quality)
    ranks = [int(RANKS[code]) for code in PRECEDENCE]
    assert ranks == sorted(set(ranks))
    assert max(RANKS[:UNCERTAIN_FROM]) < min(RANKS[UNCERTAIN_FROM:BAD_FROM])
    assert max(RANKS[UNCERTAIN_FROM:BAD_FROM]) < min(RANKS[BAD_FROM:])


def test_a_code_that_nobody_knows_stays() -> None:
    quality = np.array([0, 0x7F, 0xFF, 0x3F], np.uint8)
    mark(quality, np.arange(4), Quality.UNCERTAIN_NO_DATA)
    assert quality.tolist() == [Quality.UNCERTAIN_NO_DATA, 0x7F, 0xFF, Quality.UNCERTAIN_NO_DATA]
    mark(quality, np.ones(4, bool), Quality.BAD_SOURCE)
    assert quality.tolist() == [Quality.BAD_SOURCE, Quality.BAD_SOURCE, 0xFF, Quality.BAD_SOURCE]


def test_bad_values_are_not_usable() -> None:
    found = usable(np.array([1.0, 2.0, 3.0]), np.array([0, Quality.UNCERTAIN_FLAT, Quality.BAD_RANGE], np.uint8))
    np.testing.assert_array_equal(found, [1.0, 2.0, NAN])


@pytest.mark.parametrize("sizes", [[5], [1, 1, 1, 1, 1], [2, 3]])
def test_settings_that_grow_are_those_of_all_at_once(sizes: list[int]) -> None:
    asset_of = np.array([0, 0, 1, 0, 1])
    whole, grown, known = CheckSettings.of(EVERYTHING, KEYS, asset_of), CheckSettings(EVERYTHING), 0
    for size in sizes:
        known += size
        grown.extend(KEYS[:known], asset_of[:known])
    mine, theirs = (
        {name: a.tolist() if isinstance(a, np.ndarray) else a for name, a in vars(one).items()}
        for one in (grown, whole)
    )
    assert mine == theirs


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"operating_range": [1, 1]}, "the lower limit must lie below the upper"),
        ({"flat_band": 1}, "flat_band needs flat_s"),
        ({"kind": "waveform", "operating_range": [0, 1]}, "a waveform takes no operating_range"),
        ({"kind": "waveform", "no_data_factor": 5}, "a waveform takes no no_data_factor"),
        ({"no_data_factor": 1}, "greater than 1"),
        ({"quantum_factor": 1}, "greater than or equal to 2"),
        ({"max_skew_s": -1}, "greater than or equal to 0"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(rule: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        config(rule)


def test_a_channel_that_no_rule_fits_is_not_checked() -> None:
    settings = config({"match": "fan/*", "range": [0, 1], "max_rate_per_s": 1, "flat_s": 1})
    rng = np.random.default_rng(1)
    events = [Reading(0, START_NS + i * SECOND, float(rng.integers(-99, 99))) for i in range(50)]
    assert set(Stream(settings, [("pump", "a")]).run([Tick(SECOND), *events]).quality) == {0}
