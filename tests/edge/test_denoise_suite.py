"""What every filter promises, whichever it is. What each computes is in test_denoise_oracles.py."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from edge_agent.core.denoise import FILTERS, AnyFilterSettings
from edge_agent.core.denoise.chain import Chains
from edge_agent.core.segments import segments
from tests.denoising import (
    CHANNELS,
    START_NS,
    Chain,
    Filtered,
    Stream,
    cuts,
    filtered,
    single,
    step,
    stream_of,
    streams,
    usual,
)

Draft = dict[str, Any]
SETTINGS: TypeAdapter[AnyFilterSettings] = TypeAdapter(AnyFilterSettings)

# Each filter with each of its ways; the first of a filter is its usual one. A reading comes once a second.
CASES: dict[str, list[Draft]] = {
    "hampel": [{"window": 7}, {"window": 4, "sigmas": 1.5}, {"window": 31}],
    "median": [{"window": 5}, {"window": 6}, {"window": 21}],
    "exponential": [{"time_constant_s": 3}, {"time_constant_s": 1e-3}, {"time_constant_s": 1e6}],
    "savitzky-golay": [
        {"window": 7, "rate_hz": 1},
        {"window": 30, "order": 3, "rate_hz": 1},
        {"window": 5, "order": 0, "rate_hz": 1},
        {"window": 9, "order": 2, "derivative": 1, "rate_hz": 1},
    ],
    "butterworth": [
        {"cutoff_hz": 0.1, "rate_hz": 1},
        {"kind": "highpass", "cutoff_hz": 0.2, "order": 3, "rate_hz": 1},
        {"kind": "bandpass", "cutoff_hz": [0.1, 0.2], "order": 4, "rate_hz": 1},
        {"cutoff_hz": 0.01, "order": 8, "rate_hz": 1},
    ],
    "notch": [{"frequency_hz": 0.2, "quality": 2, "rate_hz": 1}, {"frequency_hz": 0.05, "rate_hz": 1}],
    "kalman": [
        {"measurement_std": 1, "process_std": 0.3},
        {"measurement_std": 1, "process_std": 0.1, "model": "trend"},
        {"measurement_std": 1e-3, "process_std": 100},
    ],
}


def made(name: str, draft: Draft, **more: Any) -> AnyFilterSettings:
    return SETTINGS.validate_python({"filter": name, **draft, **more})


EVERY = [made(name, draft) for name, drafts in CASES.items() for draft in drafts]
FIRST = [made(name, drafts[0]) for name, drafts in CASES.items()]
every = pytest.mark.parametrize("one", EVERY, ids=str)
first = pytest.mark.parametrize("one", FIRST, ids=lambda one: one.filter)
few = settings(deadline=None, max_examples=15)


def takes_out_constants(one: AnyFilterSettings) -> bool:
    return getattr(one, "kind", "lowpass") != "lowpass" or getattr(one, "derivative", 0) > 0


def test_the_table_and_this_suite_name_exactly_these_filters() -> None:
    names = ["hampel", "median", "exponential", "savitzky-golay", "butterworth", "notch", "kalman"]
    assert list(FILTERS) == names
    assert list(CASES) == names


@every
@given(stream=streams(usual), cuts=cuts, gap_s=st.sampled_from([None, 2.0, 50.0]))
@few
def test_any_cutting_into_batches_gives_the_same_bits(
    one: AnyFilterSettings, stream: Stream, cuts: list[int], gap_s: float | None
) -> None:
    chains = [(one.model_copy(update={"max_gap_s": gap_s}),)] * CHANNELS
    assert filtered(chains, stream, cuts) == filtered(chains, stream)


@every
@given(stream=streams(usual), cuts=cuts)
@few
def test_a_restart_between_any_two_batches_gives_the_same_bits(
    one: AnyFilterSettings, stream: Stream, cuts: list[int]
) -> None:
    chains = [(one,)] * CHANNELS
    assert filtered(chains, stream, cuts, restarts=True) == filtered(chains, stream)


@every
@given(stream=streams(usual), cuts=cuts)
@few
def test_channels_may_appear_at_any_time(one: AnyFilterSettings, stream: Stream, cuts: list[int]) -> None:
    chains = [(one,)] * CHANNELS
    assert filtered(chains, stream, cuts, appear=True) == filtered(chains, stream)


@every
def test_many_channels_and_long_runs_give_the_bits_of_one_reading_at_a_time(one: AnyFilterSettings) -> None:
    rng = np.random.default_rng(3)
    count, channels = 1200, 40
    stream = Stream(
        rng.integers(0, channels, count), START_NS + np.arange(count) * 1_000_000_000, rng.normal(size=count).cumsum()
    )
    chains = [(one,)] * channels
    once = filtered(chains, stream)
    assert filtered(chains, stream, range(count)) == once
    assert filtered(chains, stream, [700, 711, 719]) == once
    assert np.isfinite(once.value).all()


@every
def test_a_constant_stays_that_constant_to_the_bit(one: AnyFilterSettings) -> None:
    values = np.full(300, 1 / 3)
    found = filtered([(one.model_copy(update={"max_gap_s": 5e9}),)], single(values))
    assert found.value.tolist() == (np.zeros(300) if takes_out_constants(one) else values).tolist()
    assert not found.is_spike.any()


@every
def test_a_step_is_followed_to_its_end(one: AnyFilterSettings) -> None:
    patient = one.filter == "exponential" and one.time_constant_s > 1e3
    count = 40_000_000 if patient else 3000
    stream = stream_of([(0, 1.0, 1.0)] * 50 + [(0, count / 3000, 11.0)] * 3000)
    quiet = one.model_copy(update={"max_gap_s": 1e9})
    after = filtered([(quiet,)], stream).value[-1]
    assert after == pytest.approx(0.0 if takes_out_constants(one) else 11.0, abs=1e-6)


@every
def test_after_a_gap_it_begins_anew_and_before_it_does_not(one: AnyFilterSettings) -> None:
    rng = np.random.default_rng(1)
    before, after = rng.normal(size=50), 5 + rng.normal(size=50)
    anew = one.model_copy(update={"max_gap_s": 8.0})

    def with_gap(gap_s: float) -> np.ndarray[Any, Any]:
        readings = [(0, 1.0, v) for v in before] + [(0, gap_s if i == 0 else 1.0, v) for i, v in enumerate(after)]
        return filtered([(anew,)], stream_of(readings), [60]).value[50:]

    fresh = filtered([(anew,)], single(after)).value
    assert with_gap(8.001).tobytes() == fresh.tobytes()
    if one in FIRST:  # others may forget as fast as that
        assert with_gap(8.0).tobytes() != fresh.tobytes()


@pytest.mark.parametrize("one", [one for one in FIRST if hasattr(one, "rate_hz")], ids=lambda one: one.filter)
def test_a_filter_for_an_even_rate_begins_anew_after_ten_periods_unless_told_otherwise(one: AnyFilterSettings) -> None:
    assert one.gap_s == 10.0
    assert one.model_copy(update={"rate_hz": 50.0}).gap_s == pytest.approx(0.2)
    assert one.model_copy(update={"max_gap_s": 3.0}).gap_s == 3.0


@every
@given(
    stream=streams(st.sampled_from([0.0, 1.0, 5e-324, 1e-300, 1e99, 1e308, -1e308, 1.7e308])),
    gap_s=st.sampled_from([None, 2.0]),
)
@few
def test_no_finite_reading_makes_what_follows_infinite_or_nothing(
    one: AnyFilterSettings, stream: Stream, gap_s: float | None
) -> None:
    found = filtered([(one.model_copy(update={"max_gap_s": gap_s}),)] * CHANNELS, stream)
    assert np.isfinite(found.value).all()


@every
def test_times_a_nanosecond_and_146_years_apart_are_times(one: AnyFilterSettings) -> None:
    time_ns = np.array([-(2**62), 0, 1, 2, 2**62], np.int64)
    stream = Stream(np.zeros(5, np.intp), time_ns, np.array([1.0, 2.0, 1.0, 3.0, 2.0]))
    whole = filtered([(one,)], stream)
    assert np.isfinite(whole.value).all()
    assert filtered([(one,)], stream, range(5)) == whole


@every
def test_even_times_that_break_the_promise_to_ascend_spoil_nothing_for_good(one: AnyFilterSettings) -> None:
    count = 400
    time_ns = START_NS + np.arange(count) * 1_000_000_000
    time_ns[[20, 30, 31, 40]] = [0, time_ns[29], time_ns[29], START_NS - 2**60]
    value = np.random.default_rng(9).normal(size=count)
    stream = Stream(np.zeros(count, np.intp), time_ns, value)
    found = filtered([(one,)], stream)
    assert np.abs(found.value).max() < 10
    assert filtered([(one,)], stream, range(count)) == found


chains_of_several = st.lists(st.sampled_from(EVERY), max_size=3).map(tuple)


@given(st.lists(chains_of_several, min_size=CHANNELS, max_size=CHANNELS), streams(usual), cuts)
@settings(deadline=None, max_examples=60)
def test_channels_with_different_chains_get_what_each_would_get_alone(
    chains: list[Chain], stream: Stream, cuts: list[int]
) -> None:
    together = filtered(chains, stream, cuts, restarts=True)
    for channel in range(CHANNELS):
        mine = stream.channel == channel
        alone = filtered([chains[channel]], stream.of(channel))
        assert Filtered(together.value[mine], together.is_spike[mine]) == alone


def test_a_chain_is_its_filters_one_behind_the_other() -> None:
    values = np.random.default_rng(5).normal(size=200)
    values[[50, 120]] += 40
    last = single(values)
    for one in FIRST:
        last = last._replace(value=filtered([(one,)], last).value)
    together = filtered([tuple(FIRST)], single(values))
    assert together.value.tobytes() == last.value.tobytes()
    assert together.is_spike[[50, 120]].all()


@first
def test_a_setting_that_changes_leaves_the_memory_of_the_other_channels(one: AnyFilterSettings) -> None:
    stream = stream_of((i % 3, 1.0, v) for i, v in enumerate(np.random.default_rng(2).normal(size=120)))
    other, hampel = made("median", {"window": 9}), FIRST[0]
    before: list[Chain] = [(one,), (hampel, one), (one,)]
    after: list[Chain] = [(one,), (hampel, one), (other,), (one,)]
    out = Filtered(np.zeros(120), np.zeros(120, bool))
    chains = Chains()
    chains.settle(before)
    step(chains, stream, np.arange(60), out)
    chains.settle(after)
    step(chains, stream, np.arange(60, 120), out)
    whole = filtered(before, stream)
    kept = stream.channel < 2
    assert out.value[kept].tobytes() == whole.value[kept].tobytes()
    later = Stream(stream.channel[60:], stream.time_ns[60:], stream.value[60:])
    fresh = filtered([(other,)], later.of(2))
    assert out.value[60:][stream.channel[60:] == 2].tobytes() == fresh.value.tobytes()


def test_equal_chains_share_a_filter_whether_or_not_they_are_one_object() -> None:
    def chain() -> Chain:
        return (made("exponential", {"time_constant_s": 3}), made("median", {"window": 5}))

    chains = Chains()
    chains.settle([chain(), chain(), (), chain()])
    assert len(chains.snapshot()) == 2


def test_without_filters_values_come_back_as_they_are() -> None:
    grouped = segments(np.array([0, 1, 0]))
    chains = Chains()
    chains.settle([(), ()])
    value, is_spike = chains.step(grouped, np.array([1, 3, 2]), np.array([1e300, -1.0, 2.0]))
    assert value.tolist() == [1e300, -1.0, 2.0]
    assert not is_spike.any()


def test_scipy_is_imported_only_by_a_filter_that_needs_it() -> None:
    source = "import sys, edge_agent.core.denoise.reports, edge_agent.core.denoise.chain\n"
    source += "assert not {name for name in sys.modules if name.startswith('scipy')}"
    subprocess.run([sys.executable, "-c", source], check=True, cwd=Path(__file__).parents[2])


BAD_SETTINGS: list[tuple[str, Draft, str]] = [
    ("hampel", {"window": 2}, "greater than or equal to 3"),
    ("hampel", {"window": 100}, "less than or equal to 99"),
    ("hampel", {"sigmas": 0}, "greater than 0"),
    ("hampel", {"max_gap_s": 0}, "greater than 0"),
    ("median", {}, "Field required"),
    ("median", {"window": 5, "sigmas": 3}, "Extra inputs are not permitted"),
    ("exponential", {"time_constant_s": 0}, "greater than 0"),
    ("exponential", {"time_constant_s": float("inf")}, "finite number"),
    ("savitzky-golay", {"window": 5}, "rate_hz"),
    ("savitzky-golay", {"window": 5, "order": 5, "rate_hz": 1}, "order 5 needs a window of at least 6 readings"),
    (
        "savitzky-golay",
        {"window": 5, "order": 1, "derivative": 2, "rate_hz": 1},
        "derivative 2 needs an order of at least 2",
    ),
    ("butterworth", {"cutoff_hz": 0.5, "rate_hz": 1}, r"less than 0.5 Hz \(rate_hz / 2\)"),
    ("butterworth", {"cutoff_hz": 1e-6, "rate_hz": 1}, "from 1e-05 Hz"),
    ("butterworth", {"cutoff_hz": -1, "rate_hz": 1}, "greater than 0"),
    ("butterworth", {"cutoff_hz": [0.1, 0.2], "rate_hz": 1}, "lowpass and highpass take one number"),
    ("butterworth", {"cutoff_hz": 0.1, "rate_hz": 1, "kind": "bandpass"}, r"a bandpass takes \[low, high\]"),
    ("butterworth", {"cutoff_hz": [0.2, 0.1], "rate_hz": 1, "kind": "bandpass"}, "must ascend"),
    ("butterworth", {"cutoff_hz": [0.2, 0.2], "rate_hz": 1, "kind": "bandpass"}, "the band must be at least 1e-05 Hz"),
    ("butterworth", {"cutoff_hz": 0.1, "rate_hz": 1, "kind": "low"}, "'lowpass', 'highpass' or 'bandpass'"),
    ("butterworth", {"cutoff_hz": 0.1, "rate_hz": 1, "order": 9}, "less than or equal to 8"),
    ("notch", {"frequency_hz": 50, "rate_hz": 80}, "less than 40 Hz"),
    ("notch", {"frequency_hz": 50, "rate_hz": 800, "quality": 0.1}, "greater than or equal to 0.5"),
    ("kalman", {"measurement_std": 0, "process_std": 1}, "greater than or equal to 0.000000000001"),
    ("kalman", {"measurement_std": 1, "process_std": 1, "model": "slope"}, "'level' or 'trend'"),
    ("wiener", {}, "'hampel', 'median', 'exponential', 'savitzky-golay', 'butterworth', 'notch', 'kalman'"),
]


@pytest.mark.parametrize(("name", "draft", "says"), BAD_SETTINGS)
def test_bad_settings_are_refused_and_told_what_is_allowed(name: str, draft: Draft, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        made(name, draft)


@every
def test_settings_survive_the_journal(one: AnyFilterSettings) -> None:
    again = SETTINGS.validate_json(SETTINGS.dump_json(one))
    assert again == one
    assert hash(again) == hash(one)


@every
def test_every_setting_is_described(one: AnyFilterSettings) -> None:
    bare = {name for name, field in type(one).model_fields.items() if not field.description}
    assert bare <= {"filter", "kind", "model"}  # whose words speak for themselves
