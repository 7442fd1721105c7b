"""One-minute means: how a stretch of time is cut, and durations in the words of databases."""

from itertools import accumulate, cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.core import minutes

MINUTE = minutes.MINUTE_NS
DAY_S = 86400


@given(st.integers(0, 2**60), st.integers(0, 3 * 10**13), st.lists(st.floats(0, 20), min_size=1))
def test_pieces_are_whole_minutes_that_cover_the_stretch_without_gap_or_overlap(
    since: int, length: int, took_s: list[float]
) -> None:
    clock = accumulate(cycle([0.0, *took_s]))
    found = list(minutes.pieces(since, since + length, 10.0, lambda: next(clock)))
    assert all(start % MINUTE == end % MINUTE == 0 and 0 < end - start <= minutes.MAX_PIECE_NS for start, end in found)
    assert [end for _, end in found[:-1]] == [start for start, _ in found[1:]]
    if found:
        assert 0 <= since - found[0][0] < MINUTE
        assert 0 <= found[-1][1] - (since + length) < MINUTE
    else:
        assert length == 0


@given(st.floats(0.01, 1000))
def test_pieces_are_as_long_as_a_time_out_allows(seconds_a_minute: float) -> None:
    now = [0.0]
    longest = 0
    for start, end in minutes.pieces(0, 3000 * MINUTE, 10.0, lambda: now[0]):
        needed = (end - start) / MINUTE * seconds_a_minute
        assert needed < 10.0 or end - start == MINUTE
        now[0] += needed
        longest = max(longest, end - start)
    assert longest * 2 > min(10.0 / 8 / seconds_a_minute, 60) * MINUTE


def test_means_are_computed_from_when_on_they_are_kept() -> None:
    now = 40 * DAY_S * 10**9
    assert minutes.kept(5, now, kept_s=0) == 5
    assert minutes.kept(now - 10, now, kept_s=DAY_S) == now - 10
    assert now - DAY_S * 10**9 < minutes.kept(0, now, kept_s=DAY_S) < now - DAY_S * 10**9 + 3600 * 10**9


@given(st.integers(1, 10**9))
def test_a_duration_as_we_write_it_is_as_long_as_one_that_influxdb_shows(seconds: int) -> None:
    units = {"d": DAY_S, "h": 3600, "s": 1}
    text = minutes.span(seconds)
    assert int(text[:-1]) * units[text[-1]] == seconds
    assert minutes.seconds_of(f"{seconds // 3600}h{seconds % 3600 // 60}m{seconds % 60}s") == seconds


def test_what_is_no_duration_is_not_taken_for_one() -> None:
    for text in ("", "for ever", "1d", "-1h"):
        with pytest.raises(ValueError, match="no duration"):
            minutes.seconds_of(text)
