"""The clock of a sender: ahead, behind, jumps; what is none of these; and all of it against a loop."""

import statistics
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.core import entries
from edge_agent.core.checks.clock import DEPTH
from edge_agent.core.clock import Clock
from edge_agent.core.entries import Configured, Data
from edge_agent.core.intake import Intake, Message
from edge_agent.core.model import Model
from edge_agent.core.pipeline import Pipeline
from edge_agent.core.results import Results
from models.contract.quality import Quality
from tests.edge.checks_stream import SECOND, Found, Reading, Stream, Tick, config

START_NS = 1_760_000_000 * SECOND
KEYS = [("pump", "a"), ("pump", "b"), ("fan", "a")]
OFF, JUMP, ORDER = Quality.UNCERTAIN_CLOCK, Quality.UNCERTAIN_CLOCK_JUMP, Quality.UNCERTAIN_ORDER
SKEW_S = 30.0


def spoken(offset_s: Callable[[int], float | None], seconds: int = 200, channel: int = 0) -> list[Reading | Tick]:
    """A reading a second whose time is off the gateway's clock by so much; None: no reading."""
    events: list[Reading | Tick] = []
    for s in range(seconds):
        events.append(Tick(START_NS + s * SECOND))
        offset = offset_s(s)
        if offset is not None:
            events.append(Reading(channel, START_NS + s * SECOND + round(offset * SECOND), 1.0))
    return events


def told(offset_s: Callable[[int], float | None], seconds: int = 200, max_skew_s: float = SKEW_S) -> Found:
    both = {"max_skew_s": max_skew_s, "max_delay_s": max_skew_s or None}
    return Stream(config(both), KEYS).run(spoken(offset_s, seconds))


def first(found: Found, reason: Quality) -> int:
    return found.quality.index(reason)


@pytest.mark.parametrize("offset_s", [0.0, 5.0, 29.0, -3.0, -29.0])
def test_an_offset_within_the_limit_is_good(offset_s: float) -> None:
    assert set(told(lambda _: offset_s).quality) == {0}


def test_a_single_reading_ahead_is_marked_and_kept_from_the_watermark_and_from_those_after_it() -> None:
    found = told(lambda s: 45.0 if s == 100 else 0.0)
    assert [i for i, quality in enumerate(found.quality) if quality] == [100]
    assert found.quality[100] == OFF
    assert [i for i, is_one in enumerate(found.is_ahead) if is_one] == [100]
    assert [i for i, ascends in enumerate(found.ascends) if not ascends] == [100]


def test_an_asset_that_is_always_ahead_comes_to_live_in_its_own_time() -> None:
    found = told(lambda _: 3600.0)
    assert set(found.quality) == {OFF}
    settled = found.is_ahead.index(False)
    assert SKEW_S <= settled <= 2 * SKEW_S
    assert not any(found.is_ahead[settled:])
    assert all(found.ascends[settled:])


def test_in_its_own_time_a_reading_far_ahead_of_that_is_ahead_again() -> None:
    found = told(lambda s: 7200.0 if s == 150 else 3600.0)
    assert [i for i, is_one in enumerate(found.is_ahead) if is_one and i > 100] == [150]


def test_one_channel_ahead_beside_a_good_one_never_settles() -> None:
    events = sorted(
        spoken(lambda _: 50.0, channel=1) + spoken(lambda _: 0.0),
        key=lambda event: event.clock_ns if isinstance(event, Tick) else event.time_ns - 50 * SECOND * event.channel,
    )
    found = Stream(config({"max_skew_s": SKEW_S, "max_delay_s": SKEW_S}), KEYS).run(events)
    assert found.quality.count(OFF) == sum(found.is_ahead) == 200
    assert set(found.quality) == {0, OFF}


def test_a_constant_delay_is_a_clock_that_is_behind() -> None:
    found = told(lambda s: -100.0 - s % 3)
    begins = first(found, OFF)
    assert SKEW_S <= begins <= 2 * SKEW_S
    assert set(found.quality[:begins]) <= {0, ORDER}
    assert not any(found.is_ahead)
    assert told(lambda _: -100.0).quality[begins + 5 :] == [OFF] * (200 - begins - 5)


def test_the_mark_goes_when_the_clock_is_right_again() -> None:
    found = told(lambda s: -100.0 if s < 100 else 0.0)
    assert OFF in found.quality
    assert not any(found.quality[100:])


@pytest.mark.parametrize("speed", [1.2, 2.0, 50.0])
def test_a_backlog_that_is_caught_up_is_no_clock_that_is_behind(speed: float) -> None:
    found = told(lambda s: min(0.0, -600.0 + (speed - 1) * s), seconds=300)
    assert set(found.quality) == {0}


def test_an_hourly_upload_of_what_was_measured_in_between_is_good() -> None:
    events: list[Reading | Tick] = []
    for hour in range(40):
        clock_ns = START_NS + hour * 3600 * SECOND
        events += [
            Tick(clock_ns),
            *(Reading(0, clock_ns - (59 - m) * 60 * SECOND, 1.0) for m in range(60)),
            Tick(clock_ns),
        ]
    assert set(Stream(config({}), KEYS).run(events).quality) == {0}


def test_a_clock_set_back_is_marked_until_the_time_it_had_told_is_over() -> None:
    found = told(lambda s: 0.0 if s < 100 else -90.0, seconds=300)
    assert not any(found.quality[:100])
    begins = first(found, JUMP)
    assert 100 + SKEW_S <= begins <= 100 + 2 * SKEW_S
    assert set(found.quality[100:begins]) <= {ORDER, OFF}
    assert found.quality[begins:190] == [JUMP] * (190 - begins)
    assert set(found.quality[190:]) == {OFF}
    assert all(found.ascends[begins:])


def test_a_clock_that_was_ahead_and_is_put_right_has_jumped() -> None:
    found = told(lambda s: 500.0 if s < 100 else 0.0, seconds=300)
    begins = first(found, JUMP)
    assert found.quality[begins:] == [JUMP] * (300 - begins)


@pytest.mark.parametrize(
    "offset_s",
    [
        lambda s: -500.0 if s == 100 else 0.0,
        lambda s: -500.0 if 100 <= s < 110 else 0.0,
        lambda s: None if 50 < s < 100 else -500.0 + 4 * (s - 100) if 100 <= s < 225 else 0.0,
    ],
    ids=["one late reading", "some late readings", "a gap sent later, oldest first"],
)
def test_late_readings_are_no_jump(offset_s: Callable[[int], float | None]) -> None:
    assert set(told(offset_s, seconds=400).quality) <= {0, ORDER}


def test_without_a_known_clock_or_a_limit_nothing_is_judged() -> None:
    assert set(told(lambda _: 1e6, max_skew_s=0).quality) == {0}
    unknown = [event for event in spoken(lambda _: 1e6) if isinstance(event, Reading)]
    assert set(Stream(config({}), KEYS).run([Tick(), *unknown, Tick(), *unknown[:1]]).quality) == {0, ORDER}


def test_a_reading_without_a_time_of_its_own_tells_nothing_of_a_clock() -> None:
    events = [
        event._replace(quality=Quality.UNCERTAIN_ARRIVAL_TIME) if isinstance(event, Reading) else event
        for event in spoken(lambda _: 3600.0)
    ]
    found = Stream(config({}), KEYS).run(events)
    assert set(found.quality) == {Quality.UNCERTAIN_ARRIVAL_TIME}
    assert not any(found.is_ahead)


def test_an_asset_is_judged_by_its_own_readings_only() -> None:
    events = sorted(
        spoken(lambda _: -100.0, channel=2) + spoken(lambda _: 0.0),
        key=lambda event: event.clock_ns if isinstance(event, Tick) else event.time_ns + 50 * SECOND * event.channel,
    )
    found = Stream(config({"max_delay_s": SKEW_S}), KEYS).run(events)
    mine = [event.channel for event in events if isinstance(event, Reading)]
    assert {quality for quality, channel in zip(found.quality, mine, strict=True) if channel == 0} == {0}
    assert OFF in found.quality


class Looped:
    """The rules as they are written down, one asset and one reading after the other."""

    def __init__(self, skew_ns: int) -> None:
        self.skew_ns, self.usual_ns, self.is_behind = skew_ns, 0.0, False
        self.open: tuple[int, list[int], list[tuple[int, int]]] | None = (
            None  # clock, offsets, (offset, time) not ahead
        )
        self.rings: list[tuple[int, int, int | None, int | None]] = []  # clock, least and largest offset, newest time
        self.said_ns = self.before_jump_ns = -1

    def reading(self, time_ns: int, clock_ns: int) -> tuple[bool, bool, bool]:
        offset_ns = time_ns - clock_ns
        is_ahead = offset_ns > self.skew_ns and offset_ns - self.usual_ns > self.skew_ns
        self.open = self.open or (clock_ns, [], [])
        self.open[1].append(offset_ns)
        if not is_ahead:
            self.open[2].append((offset_ns, time_ns))
        is_off = offset_ns > self.skew_ns or (self.is_behind and offset_ns < -self.skew_ns)
        return is_off, time_ns <= self.before_jump_ns, is_ahead

    def tick(self, clock_ns: int) -> bool:
        if self.open is None or clock_ns - self.open[0] < self.skew_ns // (DEPTH - 1):
            return False
        opened, offsets, admitted = self.open
        most, newest = (max(column) for column in zip(*admitted, strict=True)) if admitted else (None, None)
        self.open = None
        self.rings = [*self.rings, (opened, min(offsets), most, newest)][-DEPTH:]
        jumped = False
        if len(self.rings) == DEPTH:
            usual_ns = statistics.median(ring[1] for ring in self.rings)
            self.usual_ns = usual_ns if usual_ns > self.skew_ns else 0
            mosts = [ring[2] for ring in self.rings if ring[2] is not None]
            newests = [ring[3] for ring in self.rings if ring[3] is not None]
            self.is_behind = False
            if len(mosts) == DEPTH:
                early, late = self.rings[: DEPTH // 2], self.rings[-(DEPTH // 2) :]
                moved, passed = (
                    statistics.median(ring[i] or 0 for ring in late) - statistics.median(ring[i] or 0 for ring in early)
                    for i in (2, 0)
                )
                if abs(moved) <= passed // 8:
                    self.is_behind = max(mosts) < -self.skew_ns
                    jumped = max(newests) < self.said_ns - self.skew_ns
            if jumped:
                self.before_jump_ns, self.said_ns = max(self.before_jump_ns, self.said_ns), max(newests)
        if not jumped and newest is not None:
            self.said_ns = max(self.said_ns, newest)
        return jumped


@given(
    st.lists(st.tuples(st.sampled_from([0, 0, 0, 3, -3, 20, -20, -9, 40, -40]), st.integers(1, 25)), max_size=8),
    st.lists(st.sampled_from([0, 0, 0, 0, 1, -1, 30, -30]), min_size=1, max_size=7),
    st.lists(st.integers(0, 200), max_size=4),
)
@settings(deadline=None, max_examples=50)
def test_what_is_said_of_clocks_is_what_a_loop_says(
    parts: list[tuple[int, int]], jitter: list[int], cuts: list[int]
) -> None:
    skew_s, events, expected = 5, list[Reading | Tick](), []
    loop, clock_ns = Looped(skew_s * SECOND), START_NS
    offsets_s = [offset for offset, count in parts for _ in range(count)]
    for i, offset_s in enumerate(offsets_s):
        clock_ns += SECOND // 2
        events.append(Tick(clock_ns))
        loop.tick(clock_ns)
        for extra_s in (0, jitter[i % len(jitter)]):
            time_ns = clock_ns + (offset_s + extra_s) * SECOND
            events.append(Reading(i % 2, time_ns, 0.0))
            expected.append(loop.reading(time_ns, clock_ns))
    found = Stream(config({"max_skew_s": skew_s, "max_delay_s": skew_s}), KEYS).run(events, cuts)
    assert found.is_ahead == [is_ahead for *_, is_ahead in expected]
    assert [quality if quality in {OFF, JUMP} else 0 for quality in found.quality] == [
        JUMP if jumped else OFF if is_off else 0 for is_off, jumped, _ in expected
    ]


def test_a_sender_that_is_late_by_habit_is_not_marked_unless_a_longest_delay_is_said() -> None:
    events = spoken(lambda s: -30.0 - s % 60, 600)
    assert set(Stream(config({"max_skew_s": SKEW_S}), KEYS).run(events).quality) <= {0, ORDER}


def test_a_gateway_whose_own_clock_was_set_back_judges_no_other() -> None:
    found = config({})
    clock = Clock(wall_ns=START_NS + 3600 * SECOND, monotonic_ns=0)  # and an hour less from the first stamp on
    intake, pipeline, results = Intake(found), Pipeline(no_models), Results()
    pipeline.run([Configured(arrival_ns=START_NS, config=found.model_dump_json(), digests={})], results)
    for s in range(0, 12 * 3600, 30):
        wall_ns = START_NS + s * SECOND
        (now_ns,) = clock.stamps(1, wall_ns, s * SECOND)
        payload = b'{"ts": %d, "value": %d}' % (wall_ns // 1_000_000, s)
        entry = intake.take([Message("pump/a", payload, now_ns)], is_clock_behind=clock.is_behind)
        tick = entries.Tick(arrival_ns=now_ns, listened_ns=s * SECOND + 1, is_clock_unsure=clock.is_behind)
        pipeline.run([tick, Data.of(now_ns, entry.readings, [])], results)
    assert results.rows == 12 * 120
    assert pipeline.counts.keys() == {"repeated"}


def no_models(digest: str) -> Model:
    raise AssertionError(digest)
