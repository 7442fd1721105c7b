"""The watchdog speaks once a silence, and only of silence that is long for this plant."""

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.watchdog import FACTOR, SHORTEST_S, WARM_UP_S, WARM_UP_STEPS, Watchdog

gaps = st.lists(st.floats(0, 600), max_size=300)


def trained(period_s: float, until_s: float) -> tuple[Watchdog, float]:
    watchdog, now_s = Watchdog(), 0.0
    while now_s < until_s:
        watchdog.step(now_s, got_messages=True)
        now_s += period_s
    return watchdog, now_s - period_s


def first_report(watchdog: Watchdog, from_s: float, until_s: float) -> float | None:
    now_s = from_s
    while now_s < until_s:
        now_s += 0.25
        if watchdog.step(now_s, got_messages=False):
            return now_s - from_s
    return None


def test_a_busy_plant_is_silent_after_ten_seconds() -> None:
    watchdog, last_s = trained(0.1, 200)
    assert first_report(watchdog, last_s, last_s + 60) == SHORTEST_S + 0.25


def test_a_slow_plant_is_silent_after_three_of_its_gaps() -> None:
    watchdog, last_s = trained(20, 20 * 200)
    assert first_report(watchdog, last_s, last_s + 600) == FACTOR * 20 + 0.25


def test_a_silence_is_reported_once_and_the_next_one_again() -> None:
    watchdog, last_s = trained(0.1, 200)
    assert first_report(watchdog, last_s, last_s + 60) is not None
    assert first_report(watchdog, last_s + 60, last_s + 10_000) is None
    now_s = last_s + 10_000
    watchdog.step(now_s, got_messages=True)
    assert first_report(watchdog, now_s, now_s + 4 * 10_000) == FACTOR * (now_s - last_s) + 0.25


def test_a_pause_that_happened_once_is_forgotten_within_days() -> None:
    watchdog, now_s = trained(1, 200)
    now_s += 600
    for _ in range(2 * 86_400 // 10):
        now_s += 10
        watchdog.step(now_s, got_messages=True)
    assert watchdog.limit_s <= 2 * FACTOR * 10


@given(gaps)
def test_nothing_is_said_before_the_rhythm_is_known(pauses: list[float]) -> None:
    watchdog, now_s = Watchdog(), 0.0
    for pause_s in pauses[: WARM_UP_STEPS - 1]:
        now_s += pause_s
        watchdog.step(now_s, got_messages=True)
    assert not watchdog.step(now_s + 1e6, got_messages=False)
    brief, last_s = trained(WARM_UP_S / 1000, WARM_UP_S / 2)
    assert not brief.step(last_s + 1e6, got_messages=False)


@given(gaps, st.lists(st.booleans(), max_size=300))
def test_it_speaks_at_most_once_between_two_messages_and_never_within_the_limit(
    pauses: list[float], messages: list[bool]
) -> None:
    watchdog, now_s = trained(1, 200)
    last_s, has_spoken = now_s, False
    for pause_s, got_messages in zip(pauses, messages, strict=False):
        now_s += pause_s
        limit_s = watchdog.limit_s
        has_barked = watchdog.step(now_s, got_messages)
        if got_messages:
            assert not has_barked
            last_s, has_spoken = now_s, False
        else:
            assert has_barked == (not has_spoken and now_s - last_s > limit_s)
            has_spoken |= has_barked


@given(gaps)
def test_the_limit_is_never_below_three_times_the_last_gap(pauses: list[float]) -> None:
    watchdog, now_s = trained(1, 200)
    for pause_s in pauses:
        before_s, now_s = now_s, now_s + pause_s
        watchdog.step(now_s, got_messages=True)
        assert watchdog.limit_s >= max(SHORTEST_S, FACTOR * (now_s - before_s))
