"""The Hampel filter and the windows under it, against a per-channel loop."""

import math
from collections import defaultdict
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import median_abs_deviation

from edge_agent.core.denoise.hampel import Hampel
from edge_agent.core.segments import segments, windows

CHANNELS = 4
SIGMAS = np.array([3.0, 2.0, 3.0, 4.0])
Floats = NDArray[np.float64]

# Whole numbers: sums and medians of these are exact, so that the oracle may add them up in another order.
values = st.one_of(st.integers(-5, 5), st.integers(-1000, 1000), st.none()).map(
    lambda x: float("nan") if x is None else float(x)
)
streams = st.lists(st.tuples(st.integers(0, CHANNELS - 1), values), max_size=80)
anything = st.lists(
    st.tuples(st.integers(0, CHANNELS - 1), st.floats(-1e100, 1e100, allow_nan=False) | st.just(float("nan"))),
    max_size=80,
)


class Filtered(NamedTuple):
    value: Floats
    is_spike: NDArray[np.bool_]


def filtered(stream: list[tuple[int, float]], window: int, cuts: list[int]) -> Filtered:
    """The stream through one filter, cut before the positions `cuts`."""
    hampel = Hampel(window)
    ids = np.array([channel for channel, _ in stream], np.intp)
    value = np.array([v for _, v in stream], np.float64)
    parts = []
    bounds = [0, *sorted(cuts), len(stream)]
    for start, end in pairwise(bounds):
        if end > start:
            hampel.grow(int(ids[:end].max()) + 1)
            parts.append(hampel.step(ids[start:end], value[start:end], SIGMAS[ids[start:end]]))
    if not parts:
        return Filtered(np.empty(0), np.empty(0, bool))
    return Filtered(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def naive(stream: list[tuple[int, float]], window: int) -> tuple[list[float], list[bool]]:
    past: dict[int, list[float]] = defaultdict(list)
    out, spikes = [], []
    for channel, value in stream:
        past[channel] = [*past[channel], value][-window:]
        usable = [v for v in past[channel] if not math.isnan(v)]
        spike, replacement = False, value
        if not math.isnan(value) and len(usable) >= 3:
            median = float(np.median(usable))
            sigma = 1.4826 * float(median_abs_deviation(usable))
            if sigma == 0:
                sigma = 1.2533 * sum(abs(v - median) for v in usable) / len(usable)
            if abs(value - median) > SIGMAS[channel] * sigma:
                spike, replacement = True, median
        out.append(replacement)
        spikes.append(spike)
    return out, spikes


@given(streams, st.sampled_from([3, 4, 5, 7, 10]))
@settings(deadline=None, max_examples=150)
def test_interleaved_channels_are_filtered_as_a_loop_over_each_would(
    stream: list[tuple[int, float]], window: int
) -> None:
    found = filtered(stream, window, [])
    value, spikes = naive(stream, window)
    np.testing.assert_array_equal(found.value, np.array(value))
    assert found.is_spike.tolist() == spikes


@given(st.one_of(streams, anything), st.sampled_from([3, 7, 31]), st.lists(st.integers(0, 80), max_size=12))
@settings(deadline=None, max_examples=150)
def test_any_cutting_into_batches_gives_the_same_bits(
    stream: list[tuple[int, float]], window: int, cuts: list[int]
) -> None:
    whole = filtered(stream, window, [])
    cut = filtered(stream, window, [min(c, len(stream)) for c in cuts])
    assert cut.value.tobytes() == whole.value.tobytes()
    assert cut.is_spike.tobytes() == whole.is_spike.tobytes()


def test_one_reading_at_a_time_gives_the_same_bits_with_the_widest_window() -> None:
    rng = np.random.default_rng(7)
    stream = [(int(c), float(np.round(v))) for c, v in zip(rng.integers(0, 3, 900), rng.normal(size=900), strict=True)]
    whole, cut = filtered(stream, 99, []), filtered(stream, 99, list(range(900)))
    assert cut.value.tobytes() == whole.value.tobytes()
    assert cut.is_spike.any()


@pytest.mark.parametrize("window", [3, 5, 7, 9, 21])
def test_a_step_is_taken_over_after_half_a_window(window: int) -> None:
    half = (window - 1) // 2
    noise = [0.0, 0.1, -0.1]
    before = [noise[i % 3] for i in range(3 * window)]
    after = [100 + noise[i % 3] for i in range(3 * window)]
    found = filtered([(0, v) for v in before + after], window, [])
    spikes = np.flatnonzero(found.is_spike)
    at_step = spikes[(spikes >= len(before)) & (spikes < len(before) + window)]
    assert at_step.tolist() == list(range(len(before), len(before) + half))
    assert np.abs(found.value[len(before) : len(before) + half]).max() < 1
    assert found.value[len(before) + half :].min() > 99


def test_a_constant_passes_and_a_single_spike_in_it_becomes_the_constant() -> None:
    stream = [(0, 5.0)] * 10 + [(0, 50.0)] + [(0, 5.0)] * 10
    found = filtered(stream, 7, [])
    assert found.value.tolist() == [5.0] * 21
    assert np.flatnonzero(found.is_spike).tolist() == [10]


def test_a_signal_that_toggles_between_two_steps_is_no_row_of_spikes() -> None:
    stream = [(0, float(i % 4 == 0)) for i in range(60)]
    assert not filtered(stream, 7, []).is_spike.any()


def test_missing_values_stay_missing_and_a_channel_of_nothing_else_is_no_spike() -> None:
    found = filtered([(0, float("nan"))] * 9 + [(1, 1.0), (1, 2.0)], 5, [])
    assert np.isnan(found.value[:9]).all()
    assert found.value[9:].tolist() == [1.0, 2.0]
    assert not found.is_spike.any()


def test_the_input_is_not_changed() -> None:
    ids, value, sigmas = np.zeros(9, np.intp), np.array([1.0] * 8 + [90.0]), np.full(9, 3.0)
    kept = [array.copy() for array in (ids, value, sigmas)]
    hampel = Hampel(5)
    hampel.grow(1)
    _, spike = hampel.step(ids, value, sigmas)
    assert spike[-1]
    for array, before in zip((ids, value, sigmas), kept, strict=True):
        np.testing.assert_array_equal(array, before)


@given(st.lists(st.integers(0, 5), max_size=40))
@settings(deadline=None)
def test_grouping_keeps_each_series_in_order(ids: list[int]) -> None:
    grouped = segments(np.array(ids, np.intp))
    expected = [i for series in sorted(set(ids)) for i, owner in enumerate(ids) if owner == series]
    assert grouped.order.tolist() == expected
    assert grouped.series.tolist() == sorted(set(ids))
    assert [grouped.series[rank] for rank in grouped.rank] == sorted(ids)
    assert [ids[expected[start]] for start in grouped.starts] == sorted(set(ids))


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=12), max_size=5), st.integers(1, 5))
@settings(deadline=None)
def test_each_value_sees_the_last_values_of_its_own_series_across_batches(batches: list[list[int]], width: int) -> None:
    history = np.full((4, width - 1, 2), -1)
    past: dict[int, list[int]] = defaultdict(lambda: [-1] * width)
    counter = 0
    for batch in batches:
        grouped = segments(np.array(batch, np.intp))
        value = np.arange(counter, counter + len(batch))
        found = windows(grouped, np.stack((value, value), axis=1), history)
        expected = []
        for number, series in zip(value.tolist(), batch, strict=True):
            past[series] = [*past[series], number][-width:]
            expected.append(past[series])
        assert found[..., 0].tolist() == [expected[i] for i in grouped.order]
        assert (found[..., 0] == found[..., 1]).all()
        counter += len(batch)
