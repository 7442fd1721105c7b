"""When a link connects again, and for how long it listened."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.listening import STEP_NS, Listening
from edge_agent.core.reconnect import CONTESTED_S, FIRST_S, LASTED_S, LONGEST_S, SHORT_LIVES, SHORT_S, End, Reconnects


class Longest(Random):
    """The longest delay that chance allows."""

    def uniform(self, a: float, b: float) -> float:
        del a
        return b


def test_each_failed_attempt_doubles_the_longest_delay_up_to_its_bound() -> None:
    reconnects = Reconnects(Longest())
    assert [reconnects.failed() for _ in range(9)] == [0.25, 0.5, 1, 2, 4, 8, 16, LONGEST_S, LONGEST_S]


@given(st.integers(), st.integers(0, 5000))
def test_the_delay_is_drawn_from_the_whole_range_and_never_beyond(seed: int, attempts: int) -> None:
    reconnects = Reconnects(Random(seed))
    assert all(0 <= reconnects.failed() <= LONGEST_S for _ in range(attempts))


def test_a_connection_that_lasted_begins_the_attempts_anew() -> None:
    for end in (End.CLOSED, End.GIVEN_UP):
        reconnects = Reconnects(Longest())
        for _ in range(5):
            reconnects.failed()
        reconnects.connected(100)
        assert reconnects.ended(100 + LASTED_S, end) == FIRST_S


def test_a_connection_that_was_accepted_and_brought_nothing_does_not() -> None:
    reconnects = Reconnects(Longest())
    reconnects.failed()
    reconnects.connected(100)
    assert reconnects.ended(101, End.CLOSED) == 2 * FIRST_S


def test_a_broker_that_delivers_and_restarts_is_tried_again_quickly() -> None:
    reconnects = Reconnects(Longest())
    reconnects.failed()
    reconnects.connected(100)
    reconnects.delivered()
    assert reconnects.ended(101, End.CLOSED) == FIRST_S


def test_a_message_that_we_cannot_read_does_not_come_again_at_full_speed() -> None:
    reconnects = Reconnects(Longest())
    delays = []
    for now_s in range(5):
        reconnects.connected(now_s)
        reconnects.delivered()
        delays.append(reconnects.ended(now_s + 0.1, End.GIVEN_UP))
    assert delays == [0.25, 0.5, 1, 2, 4]


@given(st.integers())
def test_a_takeover_is_answered_slowly(seed: int) -> None:
    reconnects = Reconnects(Random(seed))
    reconnects.connected(0)
    assert CONTESTED_S[0] <= reconnects.ended(1, End.TAKEN_OVER) <= CONTESTED_S[1]


def test_short_lives_in_a_row_are_a_fight_and_a_failed_attempt_between_them_speaks_against_it() -> None:
    reconnects = Reconnects(Longest())
    for now_s in range(SHORT_LIVES):
        assert not reconnects.is_contested
        reconnects.connected(now_s)
        delay_s = reconnects.ended(now_s + 0.5, End.CLOSED)
    assert reconnects.is_contested
    assert delay_s == CONTESTED_S[1]
    reconnects.failed()
    assert not reconnects.is_contested


def test_connections_that_live_a_while_are_no_fight() -> None:
    reconnects = Reconnects(Longest())
    for now_s in range(0, 10 * SHORT_LIVES, 10):
        reconnects.connected(now_s)
        reconnects.ended(now_s + SHORT_S, End.CLOSED)
    assert not reconnects.is_contested


@given(st.lists(st.tuples(st.sampled_from(["begin", "heard"]), st.integers(0, 10**11)), max_size=50))
def test_the_listening_clock_ascends_never_faster_than_time_and_never_by_more_than_its_step(
    events: list[tuple[str, int]],
) -> None:
    clock, now_ns, begun_ns = Listening(), 10**12, 10**12
    clock.begin(now_ns)
    for event, pause_ns in events:
        now_ns += pause_ns
        before_ns = clock.total_ns
        getattr(clock, event)(now_ns)
        allowed_ns = min(pause_ns, STEP_NS) if event == "heard" else 0
        assert clock.total_ns - before_ns == allowed_ns
    assert clock.total_ns <= now_ns - begun_ns
