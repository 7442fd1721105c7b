"""The gateway's clock runs forwards, whatever is done to the wall clock."""

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.clock import SPACING_NS, Clock

SECOND = 1_000_000_000
NOW = 1_760_000_000 * SECOND

steps = st.tuples(
    st.integers(0, 100 * SECOND),  # monotonic
    st.just(0) | st.sampled_from([3600, -3600, -1_000_000_000, 1]).map(lambda s: s * SECOND),  # jump of the wall clock
    st.integers(0, 50),
)


@given(st.lists(steps, max_size=30), st.integers(0, 2 * NOW))
def test_stamps_ascend_with_room_between_and_are_never_behind_the_wall_clock(
    moves: list[tuple[int, int, int]], floor_ns: int
) -> None:
    wall_ns, monotonic_ns = NOW, 0
    clock, last_ns = Clock(wall_ns, monotonic_ns, floor_ns), max(NOW, floor_ns)
    for passed_ns, jump_ns, count in moves:
        monotonic_ns += passed_ns
        wall_ns += passed_ns + jump_ns
        stamps = list(clock.stamps(count, wall_ns, monotonic_ns))
        assert len(stamps) == count
        for stamp in stamps:
            assert stamp >= last_ns + SPACING_NS
            assert stamp >= wall_ns
            last_ns = stamp


@given(st.lists(st.integers(SPACING_NS, 100 * SECOND), min_size=1, max_size=30))
def test_an_undisturbed_clock_is_the_wall_clock(passed: list[int]) -> None:
    clock, at_ns = Clock(NOW, 0), 0
    for passed_ns in passed:
        at_ns += passed_ns
        assert clock.stamps(1, NOW + at_ns, at_ns)[0] == NOW + at_ns
        assert not clock.is_behind


def test_a_clock_set_back_an_hour_is_known_as_such_until_it_has_caught_up_ten_hours_later() -> None:
    clock = Clock(NOW, 0)
    hours = [
        hour
        for hour in range(12)
        if (clock.stamps(1, NOW + (hour - 1) * 3600 * SECOND, hour * 3600 * SECOND), clock.is_behind)[1]
    ]
    assert hours == list(range(10))


def test_a_gateway_that_starts_in_1970_goes_on_where_its_journal_ended() -> None:
    clock = Clock(5 * SECOND, 0, NOW)
    assert clock.stamps(1, 6 * SECOND, SECOND)[0] > NOW
    assert clock.is_behind
    assert clock.stamps(1, NOW + 100 * SECOND, 2 * SECOND)[0] == NOW + 100 * SECOND
    assert not clock.is_behind
