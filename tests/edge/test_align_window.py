"""Alignment and windows, against a loop over assets and readings."""

import math
from collections import defaultdict
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_agent.core.align import Align, Frames, Grid
from edge_agent.core.window import Windowing

MS = 1_000_000
SECOND = 1000 * MS
T0 = 1_760_000_000 * SECOND
YEAR = 365 * 86_400 * SECOND
ASSET_OF = np.array([0, 0, 1, 1, 2], np.intp)  # of five channels
INPUTS = np.array([[0, 1], [2, 3], [4, -1]], np.intp)  # asset 2 has but one channel
GRID = Grid(
    period_ns=np.array([1000 * MS, 300 * MS, 500 * MS]),
    lateness_ns=np.array([1000 * MS, 0, 250 * MS]),
    idle_ns=np.array([3000 * MS, 2000 * MS, 5000 * MS]),
    hold=np.array([3, 0, 5]),
)


Cells = dict[int, tuple[int, float]]  # of one channel: cell -> (time, value)


class Reading(NamedTuple):
    channel: int
    time_ns: int
    value: float


class Step(NamedTuple):
    """A tick, then readings."""

    listened_ns: int
    readings: list[Reading]


class Found(NamedTuple):
    late: list[bool]
    frames: dict[tuple[int, int], tuple[float, ...]]  # (asset, time) -> values, NaN written as inf
    windows: dict[tuple[int, int], bytes]
    unscored: int


def key(values: NDArray[np.float64] | list[float]) -> tuple[float, ...]:
    return tuple(math.inf if math.isnan(v) else float(v) for v in values)


def vectorised(steps: list[Step], window: int, stride: int) -> Found:
    align, windowing = Align(), Windowing(window, stride, 2)
    align.grow(len(ASSET_OF), 3)
    windowing.grow(3)
    found = Found([], {}, {}, 0)
    unscored = 0
    for step in steps:
        channel = np.array([r.channel for r in step.readings], np.intp)
        time_ns = np.array([r.time_ns for r in step.readings], np.int64)
        value = np.array([r.value for r in step.readings], np.float64)
        unscored += _collect(align.tick(GRID, step.listened_ns), windowing, found)
        late, frames = align.step(GRID, channel, ASSET_OF[channel], time_ns, value)
        found.late.extend(late.tolist())
        unscored += _collect(frames, windowing, found)
    return found._replace(unscored=unscored)


def _collect(frames: Frames, windowing: Windowing, found: Found) -> int:
    rows = frames.lookup(INPUTS[frames.asset])
    newest: dict[int, int] = {}
    for asset, at, row in zip(frames.asset.tolist(), frames.time_ns.tolist(), rows, strict=True):
        assert (asset, at) not in found.frames, "each frame once"
        assert newest.get(asset, at - 1) < at, "ascending"
        newest[asset] = at
        found.frames[asset, at] = key(row)
    ended = windowing.step(frames, INPUTS)
    whole = ended.asset[ended.is_whole].tolist(), ended.time_ns[ended.is_whole].tolist()
    for asset, at, content in zip(*whole, ended.frames, strict=True):
        found.windows[asset, at] = content.tobytes()
    return ended.unscored


def replayed(steps: list[Step]) -> tuple[list[bool], dict[int, int], dict[int, Cells]]:
    """Late flags in order, the last closed cell of each asset, the cells of each channel."""
    late: list[bool] = []
    closed: dict[int, int] = {}
    newest: dict[int, int] = {}
    arrived: dict[int, int] = {}
    cells: dict[int, Cells] = defaultdict(dict)
    for step in steps:
        for asset, time_ns in newest.items():
            if step.listened_ns - arrived[asset] > int(GRID.idle_ns[asset]):
                closed[asset] = max(closed[asset], -(-time_ns // period(asset)))
        for reading in step.readings:
            asset = int(ASSET_OF[reading.channel])
            cell = -(-reading.time_ns // period(asset))
            is_late = asset in closed and cell <= closed[asset]
            late.append(is_late)
            by_cell = cells[reading.channel]
            is_newest = cell not in by_cell or reading.time_ns >= by_cell[cell][0]
            if is_newest and not is_late and not math.isnan(reading.value):
                by_cell[cell] = (reading.time_ns, reading.value)
            # The newest cell whose end lies more than the lateness before this reading.
            closes = -((int(GRID.lateness_ns[asset]) - reading.time_ns) // period(asset)) - 1
            closed[asset] = max(closed.get(asset, closes), closes)
            newest[asset] = max(newest.get(asset, reading.time_ns), reading.time_ns)
            arrived[asset] = step.listened_ns
    return late, closed, cells


def naive(steps: list[Step], window: int, stride: int) -> Found:
    late, closed, cells = replayed(steps)
    frames: dict[tuple[int, int], tuple[float, ...]] = {}
    windows: dict[tuple[int, int], bytes] = {}
    unscored = 0
    for asset in range(3):
        hold = int(GRID.hold[asset])
        channels = [c for c in INPUTS[asset].tolist() if c >= 0]
        held = {cell + i for c in channels for cell in cells[c] for i in range(hold + 1)}
        rows = {k: [last(cells[c], k, hold) if c >= 0 else math.nan for c in INPUTS[asset].tolist()] for k in held}
        rows = {k: row for k, row in sorted(rows.items()) if k <= closed.get(asset, k - 1)}
        for k, row in rows.items():
            frames[asset, k * period(asset)] = key(row)
            if k % stride == 0:
                content = [rows.get(k - back, [math.nan]) for back in reversed(range(window))]
                if any(math.isnan(v) for frame in content for v in frame):
                    unscored += 1
                else:
                    windows[asset, k * period(asset)] = np.array(content, np.float32).tobytes()
    return Found(late, frames, windows, unscored)


def period(asset: int) -> int:
    return int(GRID.period_ns[asset])


def last(by_cell: Cells, k: int, hold: int) -> float:
    return next((by_cell[c][1] for c in range(k, k - hold - 1, -1) if c in by_cell), math.nan)


@st.composite
def journals(draw: st.DrawFn) -> list[Step]:
    """Steps whose event times move on with jitter, run backwards, stand on cell borders and leap."""
    steps, arrival, now = [], T0, T0
    jitter = st.integers(-2500, 600) | st.sampled_from([-1000, -300, 0, 0, 0])
    for _ in range(draw(st.integers(1, 8))):
        arrival += draw(st.sampled_from([0, 100, 1000, 2500, 6000])) * MS
        readings = []
        for _ in range(draw(st.integers(0, 10))):
            now += draw(st.sampled_from([0, 50, 100, 300, 500, 1000, 1000, 4000])) * MS
            if draw(st.integers(0, 40)) == 0:
                now += YEAR
            channel = draw(st.integers(0, len(ASSET_OF) - 1))
            value = draw(st.integers(-9, 9).map(float) | st.just(math.nan))
            readings.append(Reading(channel, now + draw(jitter) * MS, value))
        steps.append(Step(arrival, readings))
    return steps


@given(journals(), st.integers(1, 4), st.integers(1, 3))
@settings(deadline=None, max_examples=90)
def test_late_marks_frames_and_windows_are_those_of_a_loop_over_the_readings(
    steps: list[Step], window: int, stride: int
) -> None:
    found, expected = vectorised(steps, window, stride), naive(steps, window, stride)
    assert found.late == expected.late
    assert found.frames == expected.frames
    assert found.windows == expected.windows
    assert found.unscored == expected.unscored


@given(journals(), st.lists(st.integers(0, 10), max_size=6))
@settings(deadline=None, max_examples=90)
def test_cutting_the_readings_between_two_ticks_into_more_steps_changes_nothing(
    steps: list[Step], cuts: list[int]
) -> None:
    finer = []
    for listened_ns, readings in steps:
        bounds = [0, *sorted(min(c, len(readings)) for c in cuts), len(readings)]
        finer += [Step(listened_ns, readings[a:b]) for a, b in pairwise(bounds)]
    assert vectorised(finer, 3, 1) == vectorised(steps, 3, 1)


def regular(start: int, count: int) -> list[Reading]:
    """Readings of both channels of asset 0, each in the middle of a cell of 1 s."""
    return [
        Reading(channel, T0 + (start + i) * SECOND - SECOND // 2, float(start + i))
        for i in range(count)
        for channel in (0, 1)
    ]


def test_a_tick_after_the_idle_time_closes_the_open_frames_and_an_earlier_one_does_not() -> None:
    steps = [Step(T0, regular(0, 3)), Step(T0 + 3 * SECOND, [])]
    assert max(at for _, at in vectorised(steps, 1, 1).frames) == T0
    found = vectorised([*steps, Step(T0 + 3 * SECOND + 1, [])], 1, 1)
    assert found.frames[0, T0 + 2 * SECOND] == (2.0, 2.0)


def test_a_reading_for_a_frame_closed_by_silence_is_late() -> None:
    steps = [Step(T0, regular(0, 3)), Step(T0 + 4 * SECOND, []), Step(T0 + 5 * SECOND, regular(2, 1))]
    assert vectorised(steps, 1, 1).late == [False] * 6 + [True, True]


def test_a_gap_of_a_year_makes_no_flood_of_frames() -> None:
    later = [Reading(r.channel, r.time_ns + YEAR, r.value) for r in regular(0, 6)]
    found = vectorised([Step(T0, regular(0, 6)), Step(T0, later)], 2, 1)
    hold = int(GRID.hold[0])
    assert len(found.frames) <= 12 + hold
    assert not any(T0 + 10 * SECOND < at < T0 + YEAR - SECOND for _, at in found.frames)


def test_no_window_reaches_over_a_gap() -> None:
    later = [Reading(r.channel, r.time_ns + YEAR, r.value) for r in regular(0, 6)]
    found = vectorised([Step(T0, regular(0, 6)), Step(T0, later)], 4, 1)
    ends = {at for _, at in found.windows}
    assert min(at for at in ends if at > T0 + YEAR // 2) == T0 + YEAR + 3 * SECOND


@given(journals(), st.data())
@settings(deadline=None, max_examples=80)
def test_late_readings_change_no_frame(steps: list[Step], data: st.DataObject) -> None:
    # All arrive at once: which readings there are also says when an asset falls silent, and that is not the claim.
    steps = [Step(T0, readings) for _, readings in steps]
    whole = vectorised(steps, 2, 1)
    flags = iter(whole.late)
    kept = [Step(T0, [r for r in readings if not next(flags) or data.draw(st.booleans())]) for _, readings in steps]
    found = vectorised(kept, 2, 1)
    assert (found.frames, found.windows) == (whole.frames, whole.windows)


def test_windows_end_at_multiples_of_the_stride_counted_from_1970() -> None:
    found = vectorised([Step(T0, regular(1, 20))], 3, 4)
    assert {at // SECOND % 4 for _, at in found.windows} == {0}
    assert len(found.windows) == 4


def test_the_last_reading_in_event_time_holds_and_of_equal_times_the_last_to_arrive() -> None:
    at = T0 + SECOND // 2
    readings = [Reading(0, at + 9, 1.0), Reading(0, at, 2.0), Reading(1, at, 3.0), Reading(1, at, 4.0)]
    found = vectorised([Step(T0, [*readings, *regular(9, 1)])], 1, 1)
    assert found.frames[0, T0 + SECOND] == (1.0, 4.0)
