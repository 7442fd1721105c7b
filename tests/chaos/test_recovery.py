"""Recovery is counted from the end of a fault to the next confirmed write."""

from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.recovery import Recovery, Span, recoveries

TIMES = st.integers(0, 50).map(float)
SPANS = st.lists(st.tuples(TIMES, st.integers(0, 9)).map(lambda t: Span(t[0], t[0] + t[1])), max_size=9)


def test_a_fault_alone_is_followed_by_calm_until_the_next_write() -> None:
    assert recoveries([Span(1, 3)], [2, 2.5, 7, 8]) == [Recovery(4, 4)]


def test_other_faults_meanwhile_are_no_calm_but_count_as_recovery() -> None:
    assert recoveries([Span(1, 3), Span(4, 6), Span(5, 7)], [2, 8]) == [Recovery(5, 2), Recovery(2, 1), Recovery(1, 1)]


def test_a_fault_that_no_write_follows_has_no_recovery() -> None:
    assert recoveries([Span(1, 3)], [2]) == []


@given(SPANS, st.lists(TIMES).map(sorted))
def test_calm_is_the_time_covered_by_no_fault(faults: list[Span], writes_s: list[float]) -> None:
    for fault, found in zip(
        [fault for fault in faults if writes_s and writes_s[-1] >= fault.end_s],
        recoveries(faults, writes_s),
        strict=True,
    ):
        moments = [fault.end_s + step + 0.5 for step in range(round(found.total_s))]
        assert found.calm_s == sum(not any(f.begin_s < moment < f.end_s for f in faults) for moment in moments)
