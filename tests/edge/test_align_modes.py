"""The ways of putting a channel on the grid, against a loop over assets, cells and readings."""

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.core.align import Align, Frames, Grid, Mode, Modes
from edge_agent.core.state import dump, load

MS = 1_000_000
SECOND = 1000 * MS
T0 = 1_760_000_000 * SECOND
YEAR = 365 * 86_400 * SECOND
MODES = [Mode.HOLD, Mode.LINEAR, Mode.MEAN, Mode.MAX, Mode.MIN, Mode.LAST, Mode.LINEAR, Mode.LAST]
ASSET_OF = np.array([0, 0, 0, 0, 0, 0, 1, 1], np.intp)
MAX_GAP_NS = np.array([0, 2500, 0, 0, 0, 0, 700, 0]) * MS
GRID = Grid(
    period_ns=np.array([1000 * MS, 300 * MS]),
    lateness_ns=np.array([1500 * MS, 250 * MS]),
    idle_ns=np.array([3000 * MS, 2000 * MS]),
    hold=np.array([2, 0]),
    modes=Modes(np.array(MODES, np.uint8), MAX_GAP_NS, ASSET_OF),
)
CHANNELS = [np.flatnonzero(np.equal(ASSET_OF, asset)) for asset in (0, 1)]


class Reading(NamedTuple):
    channel: int
    time_ns: int
    value: float


class Tick(NamedTuple):
    listened_ns: int


Events = list[list[Reading] | Tick]
Rows = dict[tuple[int, int], tuple[float, ...]]  # (asset, time) -> values, NaN written as inf


def aligned(events: Events, align: Align, grid: Grid = GRID) -> tuple[list[bool], Rows]:
    late: list[bool] = []
    rows: Rows = {}
    for event in events:
        if isinstance(event, Tick):
            _collect(align.tick(grid, event.listened_ns), rows)
            continue
        channel = np.array([r.channel for r in event], np.intp)
        time_ns = np.array([r.time_ns for r in event], np.int64)
        value = np.array([r.value for r in event], np.float64)
        is_late, frames = align.step(grid, channel, ASSET_OF[channel], time_ns, value)
        late += is_late.tolist()
        _collect(frames, rows)
    return late, rows


def _collect(frames: Frames, rows: Rows) -> None:
    for i, (asset, time_ns) in enumerate(zip(frames.asset.tolist(), frames.time_ns.tolist(), strict=True)):
        values = frames.lookup(CHANNELS[asset][None], np.array([i]))[0]
        assert (asset, time_ns) not in rows, "each frame once"
        rows[asset, time_ns] = tuple(math.inf if math.isnan(v) else float(v) for v in values)


def fresh() -> Align:
    align = Align()
    align.grow(len(MODES), 2)
    return align


class Admitted(NamedTuple):
    """A reading that is not late, and how many events there were before it."""

    at: int
    cell: int
    reading: Reading


class Closing(NamedTuple):
    """After so many events the asset's cells up to the last are closed."""

    at: int
    asset: int
    last: int


def replayed(events: Events) -> tuple[list[bool], list[Admitted], list[Closing]]:
    late: list[bool] = []
    admitted: list[Admitted] = []
    closings: list[Closing] = []
    closed: dict[int, int] = {}
    newest: dict[int, int] = {}
    heard: dict[int, int] = {}
    listened = 0
    single: list[Reading | Tick] = []
    for several in events:
        single.extend([several] if isinstance(several, Tick) else several)
    for at, event in enumerate(single):
        if isinstance(event, Tick):
            listened = max(listened, event.listened_ns)
            for asset, time_ns in newest.items():
                if listened - heard[asset] > int(GRID.idle_ns[asset]):
                    closed[asset] = max(closed[asset], -(-time_ns // period(asset)))
                    closings.append(Closing(at, asset, closed[asset]))
            continue
        asset = int(ASSET_OF[event.channel])
        cell = -(-event.time_ns // period(asset))
        late.append(asset in closed and cell <= closed[asset])
        if not late[-1] and not math.isnan(event.value):
            admitted.append(Admitted(at, cell, event))
        closes = (event.time_ns - int(GRID.lateness_ns[asset]) - 1) // period(asset)
        closed[asset] = max(closed.get(asset, closes), closes)
        closings.append(Closing(at, asset, closed[asset]))
        newest[asset] = max(newest.get(asset, event.time_ns), event.time_ns)
        heard[asset] = listened
    return late, admitted, closings


def naive(events: Events) -> tuple[list[bool], Rows]:
    late, admitted, closings = replayed(events)
    rows: Rows = {}
    for asset in (0, 1):
        mine = [each for each in admitted if ASSET_OF[each.reading.channel] == asset]
        for cell in sorted({each.cell + i for each in mine for i in range(6)}):
            closing = next((each for each in closings if each.asset == asset and each.last >= cell), None)
            if closing is None:
                continue
            of = [[each for each in mine if each.reading.channel == c] for c in CHANNELS[asset].tolist()]
            pairs = zip(CHANNELS[asset].tolist(), of, strict=True)
            row = [value_of(channel, cell, readings, closing.at) for channel, readings in pairs]
            if not all(map(math.isinf, row)):
                rows[asset, cell * period(asset)] = tuple(row)
    return late, rows


def value_of(channel: int, cell: int, admitted: list[Admitted], at: int) -> float:
    within = [each.reading for each in admitted if each.cell == cell]
    total = 0.0
    for reading in within:
        total += reading.value
    newest = max(range(len(within)), key=lambda i: (within[i].time_ns, i), default=0)
    return {
        Mode.HOLD: lambda: line(channel, cell, admitted, -1),
        Mode.LINEAR: lambda: line(channel, cell, admitted, at),
        Mode.MEAN: lambda: total / len(within) if within else math.inf,
        Mode.MAX: lambda: max((reading.value for reading in within), default=math.inf),
        Mode.MIN: lambda: min((reading.value for reading in within), default=math.inf),
        Mode.LAST: lambda: within[newest].value if within else math.inf,
    }[MODES[channel]]()


def line(channel: int, cell: int, admitted: list[Admitted], at: int) -> float:
    """Between the reading before the cell's end and the one after it, of those that had arrived at `at`."""
    asset = int(ASSET_OF[channel])
    end = cell * period(asset)
    before = [each for each in admitted if each.cell <= cell]
    if not before:
        return math.inf
    left = max(reversed(before), key=lambda each: each.reading.time_ns)
    after = [each for each in admitted if each.reading.time_ns > end and each.at <= at]
    if after:
        right = min(after, key=lambda each: each.reading.time_ns)
        gap_ns = right.reading.time_ns - left.reading.time_ns
        if gap_ns <= int(MAX_GAP_NS[channel]):
            share = (end - left.reading.time_ns) / gap_ns
            return left.reading.value + (right.reading.value - left.reading.value) * share
    return left.reading.value if cell - left.cell <= int(GRID.hold[asset]) else math.inf


def period(asset: int) -> int:
    return int(GRID.period_ns[asset])


@st.composite
def journals(draw: st.DrawFn) -> Events:
    """Event times that move on with jitter, run backwards, stand on cell borders and leap."""
    events: Events = []
    listened, now = T0, T0
    jitter = st.integers(-2500, 600) | st.sampled_from([-1000, -300, 0, 0, 0])
    for _ in range(draw(st.integers(1, 6))):
        if draw(st.booleans()):
            listened += draw(st.sampled_from([100, 2500, 6000])) * MS
            events.append(Tick(listened))
        readings = []
        for _ in range(draw(st.integers(0, 14))):
            now += draw(st.sampled_from([0, 50, 100, 300, 500, 1000, 4000])) * MS
            if draw(st.integers(0, 40)) == 0:
                now += YEAR
            value = draw(st.integers(-9, 9).map(lambda v: v / 7) | st.just(math.nan))
            readings.append(Reading(draw(st.integers(0, len(MODES) - 1)), now + draw(jitter) * MS, value))
        events.append(readings)
    return events


@given(journals())
@settings(deadline=None, max_examples=80)
def test_each_mode_gives_what_a_loop_over_the_readings_gives(events: Events) -> None:
    assert aligned(events, fresh()) == naive(events)


@given(journals(), st.lists(st.integers(0, 14), max_size=6), st.booleans())
@settings(deadline=None, max_examples=60)
def test_cuts_snapshots_and_the_thinning_of_open_readings_change_nothing(
    events: Events, cuts: list[int], is_restored: bool
) -> None:
    align = fresh()
    late: list[bool] = []
    rows: Rows = {}
    for event in events:
        bounds = [0, 0] if isinstance(event, Tick) else [0, *sorted(min(c, len(event)) for c in cuts), len(event)]
        for a, b in pairwise(bounds):
            align.crowd = align.fold_at = 0
            more, found = aligned([event if isinstance(event, Tick) else event[a:b]], align)
            late += more
            rows |= found
            if is_restored:
                saved = load(dump(vars(align)))
                align = Align()
                vars(align).update(saved)
    assert (late, rows) == aligned(events, fresh())


def test_a_line_is_that_of_numpy() -> None:
    rng = np.random.default_rng(3)
    times = T0 + np.cumsum(rng.integers(100, 1200, 300)) * MS
    values = rng.normal(size=300)
    readings = [Reading(1, int(t), float(v)) for t, v in zip(times, values, strict=True)]
    _, rows = aligned([readings], fresh())
    at = np.array(sorted(time_ns for _, time_ns in rows))
    found = np.array([rows[0, time_ns][1] for time_ns in at.tolist()])
    np.testing.assert_allclose(found, np.interp(at - T0, times - T0, values), atol=1e-9)
    assert len(at) > 150


def test_a_line_bridges_no_gap_longer_than_the_longest() -> None:
    def values(gap_ms: int) -> list[float]:
        readings = [Reading(1, T0, 0.0), Reading(1, T0 + gap_ms * MS, 10.0)]
        _, rows = aligned([[*readings, Reading(0, T0 + 9 * SECOND, 0.0)]], fresh())
        return [row[1] for (_, time_ns), row in sorted(rows.items()) if T0 < time_ns <= T0 + 2 * SECOND]

    assert values(2500) == [4.0, 8.0]
    assert values(2501) == [0.0, 0.0]  # held for two cells


def test_a_line_waits_for_its_next_reading_no_longer_than_the_lateness() -> None:
    before = [Reading(1, T0 + 500 * MS, 1.0), Reading(0, T0 + 2501 * MS, 0.0)]  # closes the cell at T0 + 1 s
    after = [Reading(1, T0 + 1500 * MS, 3.0), Reading(0, T0 + 9 * SECOND, 0.0)]
    _, rows = aligned([[*before, *after]], fresh())
    assert rows[0, T0 + SECOND][1] == 1.0
    before.reverse()
    _, rows = aligned([[before[1], after[0], before[0], after[1]]], fresh())
    assert rows[0, T0 + SECOND][1] == 2.0


def test_a_sum_is_taken_in_order_of_arrival_whatever_becomes_of_its_readings_in_between() -> None:
    rng = np.random.default_rng(5)
    readings = [Reading(2, T0 + 1 + int(t), float(v)) for t, v in rng.normal(1e5, 1e4, (5000, 2)) * [[1, 1e-9]]]
    closing = [Reading(2, T0 + 5 * SECOND, 0.0)]
    _, whole = aligned([[*readings, *closing]], fresh())
    _, single = aligned([[r] for r in [*readings, *closing]], fresh())
    total = 0.0
    for reading in readings:
        total += reading.value
    assert whole[0, T0 + SECOND][2] == single[0, T0 + SECOND][2] == total / len(readings)


def test_a_clock_that_stands_still_piles_no_readings_up() -> None:
    align = fresh()
    for _ in range(300):
        aligned([[Reading(c, T0 + i, 1.0) for i in range(20) for c in range(len(MODES))]], align)
    assert len(align.open_cell) < 4000


def test_readings_of_a_clock_far_ahead_are_neither_late_nor_aligned_and_close_nothing() -> None:
    align, other = fresh(), fresh()
    channel, time_ns = np.array([0, 0, 2, 0, 0]), T0 + np.array([0, 900, 500, 10, 20]) * SECOND
    ahead = np.array([False, True, True, False, False])
    late, frames = align.step(GRID, channel, ASSET_OF[channel], time_ns, np.ones(5), ahead)
    assert not late.any()
    _, expected = other.step(GRID, channel[~ahead], ASSET_OF[channel[~ahead]], time_ns[~ahead], np.ones(3))
    assert frames.time_ns.tolist() == expected.time_ns.tolist()
    assert dump(vars(align)) == dump(vars(other))
    late, frames = align.step(GRID, channel[1:2], ASSET_OF[:1], time_ns[1:2], np.ones(1), ahead[1:2])
    assert not late.any()
    assert not len(frames.asset)
    assert dump(vars(align)["newest_ns"]) == dump(vars(other)["newest_ns"])


def test_the_last_reading_of_a_cell_is_not_held_in_the_next() -> None:
    _, rows = aligned([[Reading(5, T0, 1.0), Reading(0, T0, 2.0), Reading(0, T0 + 9 * SECOND, 3.0)]], fresh())
    assert rows[0, T0][5] == 1.0
    assert rows[0, T0 + SECOND][5] == math.inf
    assert rows[0, T0 + SECOND][0] == 2.0
