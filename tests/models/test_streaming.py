"""The streaming detector: what it learns, what it is surprised by, and the same step as a graph."""

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from models.training.anomaly.base import Floats, sliding
from models.training.anomaly.export import to_onnx
from models.training.anomaly.streaming import Params, StreamingModel, fit, step
from models.training.anomaly.streaming_layout import EDGES, Floats32, Layout
from models.training.table import DataError

runtime = pytest.importorskip("onnxruntime")

SMALL = Params(prototypes=48, learning=60)
CHANNELS = 3
LIMIT = 5.0


def noise(rows: int, seed: int = 0) -> Floats:
    """Normal noise around 20, in float32."""
    return np.random.default_rng(seed).normal(20, 1, rows).astype(np.float32).astype(float)


def square_wave(rows: int, period: int = 100) -> Floats:
    """A machine that runs for a third of each period."""
    return np.where(np.arange(rows) % period < period // 3, 80.0, 20.0) + 0.1 * (noise(rows) - 20)


def surprise(values: Floats, params: Params = SMALL) -> Floats:
    """Held at each row of one series [rows]."""
    return StreamingModel(params, 1).raw(values[:, None, None])[0]


def states(values: Floats, params: Params) -> list[Floats32]:
    """The state after each row of one series."""
    state = np.zeros((1, StreamingModel(params, 1).state), np.float32)
    found = []
    for value in values.astype(np.float32):
        _, state = step(params, state, value[None])
        found.append(state)
    return found


@cache
def session() -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    content = to_onnx(StreamingModel(SMALL, CHANNELS), LIMIT, CHANNELS)
    return runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def run_graph(windows: Floats32, state: Floats32) -> list[Floats32]:
    """anomaly_score, contribution and the next state of windows [batch, 1, channels]."""
    outputs: list[Floats32] = session().run(
        ["anomaly_score", "contribution", "state_next"], {"window": windows, "state": state}
    )
    return outputs


def several(rows: int, seed: int = 1) -> Floats:
    """Three channels of unlike units: a walk, steps of whole numbers, and outbursts."""
    rng = np.random.default_rng(seed)
    walk, steps = rng.normal(size=rows).cumsum(), np.round(rng.normal(size=rows) * 2)
    return np.column_stack([walk * 1e-6, steps, rng.standard_t(2, size=rows) * 1e6])


@pytest.mark.parametrize(("wrong", "row"), [(30.0, 700), (-30.0, 700), (8.0, 900)])
def test_a_value_never_seen_before_is_a_surprise_at_once(wrong: float, row: int) -> None:
    values = noise(1000)
    values[row] += wrong
    held = surprise(values)
    assert held[row] > held[:row].max() + 3


def test_what_was_seen_once_is_hardly_a_surprise_again() -> None:
    values = noise(2500)
    values[[800, 2000]] += 30
    held = surprise(values)
    assert held[2000] < held[800] - 3


def test_a_season_is_known_after_its_first_turns_and_one_half_as_high_is_a_surprise() -> None:
    values = square_wave(3000)
    values[2500:2533] = 50.0
    held = surprise(values)
    assert held[2500:2600].max() > held[1000:2500].max() + 1


def test_a_new_level_is_a_surprise_and_then_the_normal_one() -> None:
    values = noise(3000)
    values[1000:] += 15
    held = surprise(values)
    assert held[1000] > held[:1000].max() + 3
    assert held[1500:].max() < held[1000] - 3


def test_a_surprise_is_held_for_about_as_long_as_is_set_and_then_over() -> None:
    values = noise(1000)
    values[500] += 30
    held = surprise(values, SMALL.model_copy(update={"hold": 100, "hold_share": 0.0}))
    lasts = np.flatnonzero(held >= held[500])
    assert lasts[0] == 500
    assert 75 <= len(lasts) <= 125
    assert (np.diff(lasts) == 1).all()


def test_nothing_is_told_during_the_learning_time() -> None:
    values = noise(200)
    values[40:50] += 100
    held = surprise(values)
    assert (held[:60] == 0).all()


@pytest.mark.parametrize("constant", [0.0, 45.0, -3e12])
def test_a_flat_line_is_no_surprise_but_its_end_is(constant: float) -> None:
    values = np.full(500, constant)
    values[400:] = constant * 1.5 + 1
    held = surprise(values)
    assert (held[:400] == 0).all()
    assert held[400] > 5


@settings(max_examples=8, deadline=None)
@given(power=st.integers(-30, 30), seed=st.integers(0, 5))
def test_the_unit_of_a_channel_changes_nothing(power: int, seed: int) -> None:
    values = noise(400, seed) - 20
    values[300] += 25
    np.testing.assert_allclose(surprise(values * 2.0**power), surprise(values), rtol=1e-3, atol=1e-3)


@settings(max_examples=6, deadline=None)
@given(cut=st.integers(1, 399))
def test_a_row_is_judged_without_those_to_come(cut: int) -> None:
    values = several(400)[:, 2]
    np.testing.assert_array_equal(surprise(values[:cut]), surprise(values)[:cut])


def test_series_that_run_side_by_side_change_nothing_in_each_other() -> None:
    values = several(300).astype(np.float32)
    state = np.zeros((CHANNELS, StreamingModel(SMALL, 1).state), np.float32)
    for row in values:
        _, state = step(SMALL, state, row)
    for channel in range(CHANNELS):
        np.testing.assert_array_equal(states(values[:, channel].astype(float), SMALL)[-1][0], state[channel])


def test_while_there_is_room_novelty_is_the_distance_to_the_nearest_row_as_scipy_finds_it() -> None:
    params = Params(scales=(4, 16), prototypes=200)
    values = noise(150, 3)
    layout = Layout(2, 200, 128)
    rows, tails = [], []
    means = np.zeros(2)
    for number, (value, state) in enumerate(zip(values, states(values, params), strict=True), 1):
        means += (value - means) * np.maximum([1 / 4, 1 / 16], 1 / number)
        rows.append([value, *means])
        tails.append(layout.parts(state).tail[0])
    seen = np.array(rows)
    for number in range(1, 150):
        nearest, _ = cKDTree(seen[:number]).query(seen[number], p=1)
        counted = np.diff(np.array([tails[number - 1], tails[number]]), axis=0)[0] > 0.5
        assert counted.sum() - np.searchsorted(EDGES, nearest, "right") in {-1, 0, 1}  # by rounding at an edge


def test_prototypes_spread_over_rare_values_rather_than_crowd_where_most_rows_are() -> None:
    values = noise(5000)
    rare = np.arange(100, 5000, 250)
    values[rare] += 50 + 5 * np.arange(len(rare))
    kept = Layout(2, 48, 128).parts(states(values, SMALL)[-1]).prototypes[0, 0]
    apart = np.abs(kept[:, None] - values[rare]).min(0)
    assert (apart < 4).all()


def test_the_graph_agrees_with_the_step_over_a_long_run() -> None:
    values = several(2500)
    values[1500, 1] += 40
    raw, shares = StreamingModel(SMALL, CHANNELS).raw(values[:, None])
    state = np.zeros((1, StreamingModel(SMALL, CHANNELS).state), np.float32)
    rows = []
    for window in sliding(values, 1).astype(np.float32):
        score, contribution, state = run_graph(window[None], state)
        rows.append((score[0, 0], *contribution[0]))
    found = np.array(rows)
    assert raw.max() > LIMIT
    np.testing.assert_allclose(found[:, 0], raw / LIMIT, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found[:, 1:], shares, atol=1e-5)


def test_an_asset_has_the_same_score_and_state_bit_for_bit_alone_and_anywhere_in_a_batch() -> None:
    assets = 101
    series = np.stack([several(150, seed) for seed in range(assets)]).astype(np.float32)
    # All are surprised at the last row, each by another number, so that no sum or logarithm goes unused.
    series[:, -1] *= np.random.default_rng(0).uniform(20, 2000, (assets, CHANNELS))
    state = np.zeros((assets, StreamingModel(SMALL, CHANNELS).state), np.float32)
    for row in range(149):
        state = run_graph(series[:, row : row + 1], state)[2]
    last = series[:, 149:150]
    whole = run_graph(last, state)
    assert (whole[0] > 0).mean() > 0.9
    for size in (1, 2, 3, 5, 8, 13, 31, 64):
        for begin in (0, 1, 6, assets - size):
            part = slice(begin, begin + size)
            for some, everything in zip(run_graph(last[part], state[part]), whole, strict=True):
                np.testing.assert_array_equal(some, everything[part])


@pytest.mark.parametrize("huge", [3.4e38, -3.4e38, 1e30])
def test_a_value_that_float32_just_holds_leaves_the_state_finite(huge: float) -> None:
    values = noise(300)
    values[[100, 200]] = huge, -huge
    assert np.isfinite(surprise(values)).all()
    assert np.isfinite(states(values, SMALL)[-1]).all()


def test_what_was_learned_fades_over_the_memory() -> None:
    params = Params(prototypes=16, memory=10_000, learning=10)
    layout = Layout(2, 16, 128)
    parts = layout.parts(states(noise(2000), params)[-1])
    assert parts.rows[0, 0] == pytest.approx(10_000 * (1 - (1 - 1e-4) ** 2000), rel=1e-4)
    assert parts.tail[0, 0] == pytest.approx(parts.rows[0, 0], rel=1e-3)


def test_runs_no_longer_than_the_learning_time_are_refused() -> None:
    with pytest.raises(DataError, match="at least 61 are needed"):
        fit([noise(60)[:, None]], SMALL)
