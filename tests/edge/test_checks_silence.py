"""No data: silence against what was learnt of a channel's intervals."""

import math
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.core.checks.silence import FLOOR_NS, WARM_UP, WEIGHT
from models.contract.quality import Quality
from tests.edge.checks_stream import SECOND, Reading, Stream, Tick, config

START_NS = 1_760_000_000 * SECOND
FACTOR = 5.0
ON = config({"no_data_factor": FACTOR, "max_skew_s": 0})
KEYS = [("pump", "a"), ("pump", "b")]


def silences(times_s: Iterable[float], until_s: float, outages: Iterable[tuple[float, float]] = ()) -> list[float]:
    """When channel 0 was reported: readings arrive as they are measured; an outage stops the listening clock."""
    times, outages, events, listened_s = sorted(times_s), list(outages), list[Reading | Tick](), 0.0
    when: dict[int, float] = {}
    at = 0
    for quarter in range(int(until_s * 4) + 1):
        now_s = quarter / 4
        is_away = any(begin < now_s <= end for begin, end in outages)
        listened_s += 0 if is_away else 0.25
        while not is_away and at < len(times) and times[at] < now_s:
            events.append(Reading(0, START_NS + round(times[at] * SECOND), float(at)))
            at += 1
        when[len(events)] = now_s
        events.append(Tick(0, round(listened_s * SECOND)))
    found = Stream(ON, KEYS).run(events)
    return [when[number] for number, _ in found.silent]


@pytest.mark.parametrize("interval_s", [1.0, 2.0, 10.0])
def test_a_regular_sender_is_missed_after_so_many_intervals_and_only_once(interval_s: float) -> None:
    last_s = 60 * interval_s
    (found,) = silences(np.arange(0, last_s, interval_s), last_s + 50 * interval_s)
    silence_s = found - (last_s - interval_s)
    assert FACTOR * interval_s <= silence_s <= (FACTOR + 0.6) * interval_s + 1


def test_a_fast_sender_is_given_a_moment() -> None:
    (found,) = silences(np.arange(0, 60, 0.05), 90)
    assert FLOOR_NS / SECOND <= found - 60 <= FLOOR_NS / SECOND + 1


def test_blocks_of_a_minute_are_intervals_of_a_minute() -> None:
    events: list[Reading | Tick] = []
    for second in range(40 * 60):
        if second % 60 == 0:
            events += [Reading(0, START_NS + (second - 60 + s) * SECOND, 1.0) for s in range(60)]
        events.append(Tick(0, second * SECOND))
    assert not Stream(ON).run(events).silent


def test_it_is_missed_again_after_it_has_spoken_again() -> None:
    found = silences([*range(60), *range(100, 160)], 400)
    assert len(found) == 2
    assert found[0] == pytest.approx(59 + FACTOR, abs=1)
    assert 160 < found[1] < 260


def test_an_outage_of_the_network_is_nobodys_silence() -> None:
    assert not silences(range(500), 500, [(200, 400)])


def test_after_an_outage_silence_is_seen_again() -> None:
    assert len(silences(range(300), 600, [(100, 160)])) == 1


@pytest.mark.parametrize("seed", range(4))
def test_a_channel_that_speaks_when_something_happens_is_given_its_pauses(seed: int) -> None:
    rng = np.random.default_rng(seed)
    events = rng.exponential(4, 200).cumsum()
    found = silences(events, float(events[-1]) + 400)
    assert len(found) == 1
    assert found[0] > events[-1]


def test_bursts_with_pauses_are_given_their_pauses() -> None:
    times = [burst * 120 + i * 0.5 for burst in range(10) for i in range(20)]
    assert all(found < 3 * 120 for found in silences(times, times[-1]))


def test_before_the_warm_up_nothing_is_said() -> None:
    assert not silences(range(WARM_UP), 1000)
    assert silences(range(WARM_UP + 3), 1000)


def test_a_channel_for_which_it_is_off_is_never_missed() -> None:
    events: list[Reading | Tick] = [e for s in range(100) for e in (Tick(0, s * SECOND), Reading(0, s * SECOND, 1.0))]
    events.append(Tick(0, 10_000 * SECOND))
    assert not Stream(config({})).run(events).silent
    assert Stream(ON).run(events).silent == [(200, 0)]


def test_what_stands_for_a_silent_channel_is_its_last_usable_value_at_the_time_that_it_must_be() -> None:
    stream = Stream(config({"no_data_factor": FACTOR, "range": [0, 50]}))
    events = [e for s in range(100) for e in (Tick(0, s * SECOND), Reading(0, START_NS + s * SECOND, s % 50 + 0.5))]
    stream.run([*events, Reading(0, START_NS + 100 * SECOND, 99.0), Tick(0, 120 * SECOND)])
    time_ns, value = stream.checks.last(np.array([0]))
    assert time_ns.tolist() == [START_NS + 100 * SECOND + 21 * SECOND]
    assert value.tolist() == [49.5]


def test_bad_readings_are_data_all_the_same() -> None:
    events = [e for s in range(100) for e in (Tick(0, s * SECOND), Reading(0, s * SECOND, 1.0, Quality.BAD_SOURCE))]
    assert not Stream(ON).run(events).silent


def looped(steps: list[tuple[int, int]], factor: float) -> list[int]:
    """The rules as they are written down. steps: (listened for ms, event time moved by ms; 0 = no reading)."""
    listened, heard, time, ticked, spoke, told = 0, 0, 0, None, False, False
    count, mean, variance, longest = 0, 0.0, 0.0, 0.0
    out = []
    for number, (passed_ms, moved_ms) in enumerate(steps):
        if moved_ms:
            time, heard, spoke, told = time + moved_ms, listened, True, False
        listened += passed_ms
        if spoke:
            if ticked is not None:
                interval = (time - ticked) / 1e3
                longest = max(longest * 0.99, interval)
                weight = max(1 / (count + 1), WEIGHT)
                off = math.log(interval) - mean
                if count:
                    off = min(max(off, -math.log(10)), math.log(10))
                    variance = (1 - weight) * (variance + weight * off * off)
                mean += weight * off
                count += 1
            ticked, spoke = time, False
        silence = (listened - heard) / 1e3
        limit = max(factor * math.exp(mean + 2 * math.sqrt(variance)), 2 * longest, FLOOR_NS / 1e9)
        if count >= WARM_UP and not told and silence > limit:
            told = True
            out.append(number)
    return out


@given(
    st.lists(
        st.tuples(st.sampled_from([250, 1000, 1003, 5000]), st.sampled_from([0, 0, 500, 1001, 60_007])), max_size=40
    ),
    st.sampled_from([1.37, 3.01]),
)
@settings(deadline=None, max_examples=60)
def test_who_is_silent_is_what_a_loop_says(steps: list[tuple[int, int]], factor: float) -> None:
    steps = [(1000, 1001), (1000, 3003)] * 10 + [(1000, 60_007)] * 2 + steps + [(1000, 0)] * 300
    events, listened_ms, time_ms, ticks = list[Reading | Tick](), 0, 0, []
    for passed_ms, moved_ms in steps:
        if moved_ms:
            time_ms += moved_ms
            events.append(Reading(0, START_NS + time_ms * 1_000_000, 1.0))
        listened_ms += passed_ms
        ticks.append(len(events))
        events.append(Tick(0, listened_ms * 1_000_000))
    found = Stream(config({"no_data_factor": factor, "max_skew_s": 0})).run(events)
    assert [ticks.index(number) for number, _ in found.silent] == looped(steps, factor)
