"""The season of the streaming detector: a missing or late cycle is a surprise though all its values are usual."""

from functools import cache

import numpy as np
import pytest
from pydantic import ValidationError

from models.training.anomaly.base import Floats
from models.training.anomaly.export import to_onnx
from models.training.anomaly.streaming import Params, StreamingModel, step
from models.training.anomaly.streaming_layout import EDGES, Floats32, Season
from models.training.anomaly.streaming_season import season_step

runtime = pytest.importorskip("onnxruntime")

PERIOD, RUNNING, ROWS = 120, 45, 1800
ODD = 12 * PERIOD  # where the cycle is that is missing or late
WITH = Params(prototypes=64, season=64)
WITHOUT = WITH.model_copy(update={"season": 0})
DURING = slice(ODD - 5, ODD + PERIOD)
ALARM = 5.0


def daily(*, noise: float = 1.0, drift: float = 0.0, growth: float = 0.0, jitter: int = 0, seed: int = 0) -> Floats:
    """A machine that runs at 80 for a part of each period and rests at 20."""
    rng = np.random.default_rng(seed)
    rows = np.arange(ROWS)
    starts = np.arange(0, ROWS, PERIOD) + rng.integers(-jitter, jitter + 1, len(range(0, ROWS, PERIOD)))
    runs = ((rows[:, None] >= starts) & (rows[:, None] < starts + RUNNING)).any(1)
    height = 60 * (1 + growth * rows / ROWS)
    return 20 + runs * height + drift * rows / ROWS + rng.normal(0, noise, ROWS)


NORMAL = {
    "quiet": daily(noise=0.1),
    "noisy": daily(noise=5, seed=1),
    "drifting": daily(drift=40, seed=2),
    "growing": daily(growth=0.5, seed=3),
    "unpunctual": daily(jitter=3, seed=4),
}


def missing(values: Floats) -> Floats:
    """The cycle at ODD is not there: the rest before it goes on."""
    odd = values.copy()
    odd[ODD - 5 : ODD + RUNNING + 5] = values[ODD - RUNNING - 20 : ODD - 10]
    return odd


def late(values: Floats) -> Floats:
    """From ODD on all comes half a period later."""
    return np.concatenate((values[:ODD], values[ODD - PERIOD // 2 : -PERIOD // 2]))


SERIES = {
    f"{kind} {name}": change(values)
    for name, values in NORMAL.items()
    for kind, change in (("normal", np.copy), ("missing", missing), ("late", late))
}
ROWS_OF_ALL = np.array(list(SERIES.values()), np.float32).T  # [rows, series]


def run(params: Params, rows: Floats32) -> tuple[Floats32, Floats32]:
    """The surprise held [rows, series], and the last state, of series side by side [rows, series]."""
    state = np.zeros((rows.shape[1], params.layout.size), np.float32)
    held = np.empty_like(rows)
    for number, values in enumerate(rows):
        held[number], state = step(params, state, values)
    return held, state


def season_alone(rows: Floats32) -> tuple[Floats32, Floats32]:
    """What the season alone finds [rows, series], and for how many rows it was watched, of series side by side."""
    widths = Season.widths(WITH.season)
    before = Season(*(np.zeros((rows.shape[1], width), np.float32) for width in widths))
    mean, shortest = np.zeros((rows.shape[1], 1), np.float32), np.float32(WITH.scales[0])
    found, watched = np.empty_like(rows), np.empty_like(rows)
    for number, values in enumerate(rows):
        count = np.full_like(mean, number + 1)
        mean = mean + (values[:, None] - mean) / np.minimum(shortest, count)
        after = Season(*(np.empty_like(part) for part in before))
        found[number] = season_step(WITH.timing, before, after, mean, count)[:, 0]
        watched[number] = after.watched[:, 0]
        before = after
    return found, watched


@cache
def surprises(params: Params) -> dict[str, Floats32]:
    """Held at each row of each series."""
    return dict(zip(SERIES, run(params, ROWS_OF_ALL)[0].T, strict=True))


def alarms(held: Floats32) -> int:
    """How often a surprise rises to an alarm."""
    return int(((np.diff(held) > 0.5) & (held[1:] >= ALARM)).sum())


@pytest.mark.parametrize("name", NORMAL)
@pytest.mark.parametrize("kind", ["missing", "late"])
def test_a_cycle_that_is_missing_or_late_is_found_though_its_values_are_usual(kind: str, name: str) -> None:
    held = surprises(WITH)[f"{kind} {name}"]
    assert held[DURING].max() > ALARM
    assert held[DURING].max() > held[ODD - 3 * PERIOD : DURING.start].max() + 1


@pytest.mark.parametrize("name", NORMAL)
def test_without_its_season_a_missing_cycle_goes_unseen(name: str) -> None:
    assert surprises(WITHOUT)[f"missing {name}"][DURING].max() < ALARM


def test_a_season_raises_at_most_one_alarm_more_in_five_normal_series() -> None:
    watched, plain = (sum(alarms(surprises(params)[f"normal {name}"]) for name in NORMAL) for params in (WITH, WITHOUT))
    assert watched <= plain + 1


def test_for_the_season_the_cycle_after_a_missing_one_is_no_surprise_in_turn() -> None:
    found, _ = season_alone(ROWS_OF_ALL)
    missing_ones = [number for number, name in enumerate(SERIES) if name.startswith("missing")]
    assert (found[DURING, missing_ones].max(0) > ALARM).all()
    assert (found[ODD + PERIOD : ODD + 2 * PERIOD, missing_ones].max(0) < 1).all()
    assert (found[ODD + PERIOD :, missing_ones].max(0) < ALARM).all()


def test_the_season_says_nothing_before_it_was_watched_for_half_of_the_longest() -> None:
    found, watched = season_alone(ROWS_OF_ALL)
    longest = WITH.season * WITH.scales[0]
    before = np.concatenate((np.zeros_like(watched[:1]), watched[:-1]))
    assert (before.max(0) >= longest / 2).all()
    assert (found[before < longest / 2] == 0).all()


def test_the_unit_of_a_channel_changes_nothing_in_its_season() -> None:
    few = ROWS_OF_ALL[:, :6]
    found, watched = season_alone(np.concatenate([few * np.float32(2.0**power) for power in (0, -30, 30)], 1))
    plain, *others = np.split(found, 3, 1)
    assert (plain.max(0) > 0).any()
    for other in others:
        np.testing.assert_allclose(other, plain, rtol=1e-3, atol=1e-3)
    for part in np.split(watched, 3, 1):
        np.testing.assert_array_equal(part, watched[:, :6])


@pytest.mark.parametrize("period", [20, 100, 500, 512])
def test_seasons_as_long_as_the_longest_or_no_multiple_of_a_note_are_found(period: int) -> None:
    rows = np.arange(2000)
    values = 20 + 60 * (rows % period < 0.4 * period) + np.random.default_rng(0).normal(0, 0.5, 2000)
    odd = 1800 // period * period
    values[odd : odd + max(period, 60)] = 20
    found, _ = season_alone(values[:, None].astype(np.float32))
    assert found[odd:].max() > found[:odd].max()
    assert found[odd:].max() > ALARM


def test_no_season_is_seen_in_noise_in_a_walk_or_in_a_flat_line() -> None:
    rng = np.random.default_rng(0)
    shapes = [rng.normal(size=1500), rng.standard_t(3, 1500), rng.normal(size=1500).cumsum(), np.full(1500, 7.0)]
    _, state = run(WITH, np.array(shapes, np.float32).T)
    assert (WITH.layout.parts(state).season.watched == 0).all()


def test_the_graph_agrees_with_the_step_on_seasons_and_an_asset_with_itself_in_any_batch() -> None:
    content = to_onnx(StreamingModel(WITH, 1), ALARM, 1)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = ["anomaly_score", "state_next"]
    whole = np.zeros((len(SERIES), WITH.layout.size), np.float32)
    alone = whole[:1]
    found = []
    for values in ROWS_OF_ALL:
        windows = values[:, None, None]
        score, whole = session.run(names, {"window": windows, "state": whole})
        found.append(score[:, 0])
        _, alone = session.run(names, {"window": windows[:1], "state": alone})
    np.testing.assert_allclose(
        np.array(found).T, np.array(list(surprises(WITH).values())) / ALARM, rtol=1e-5, atol=1e-5
    )
    np.testing.assert_array_equal(alone, whole[:1])


def test_without_a_season_the_state_is_smaller_and_the_graph_one_of_its_own() -> None:
    assert WITH.layout.size - WITHOUT.layout.size == 2 + 2 * WITH.season + len(EDGES)
    session = runtime.InferenceSession(to_onnx(StreamingModel(WITHOUT, 1), ALARM, 1))
    state = np.zeros((1, WITHOUT.layout.size), np.float32)
    for values in ROWS_OF_ALL[:300, :1]:
        (state,) = session.run(["state_next"], {"window": values[:, None, None], "state": state})
    np.testing.assert_allclose(state, run(WITHOUT, ROWS_OF_ALL[:300, :1])[1], rtol=1e-5, atol=1e-5)


def test_a_memory_shorter_than_three_of_the_longest_season_is_refused() -> None:
    assert Params(memory=24_000, season=1000).season == 1000
    with pytest.raises(ValidationError, match="at least three of the longest season, 24024 rows"):
        Params(memory=24_000, season=1001)


@pytest.mark.parametrize("scales", [(), (0, 8), (-8,), (64, 8), (8, 8)])
def test_scales_that_do_not_ascend_from_one_row_are_refused(scales: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError, match="scales"):
        Params(scales=scales)


@pytest.mark.parametrize("memory", [10_000, 100_000, 1_000_000])
def test_the_count_of_rows_ends_near_the_memory_however_float32_rounds(memory: int) -> None:
    keep = np.float32(Params(memory=memory).timing.keep)
    count = np.linspace(0, memory, 100_001, dtype=np.float32)
    grows = count * keep + 1 > count
    assert 0.95 * memory < count[grows].max() <= 1.02 * memory
