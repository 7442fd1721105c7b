"""Sequence numbers: what is missing is noticed, waited for, and given up once."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.sparkplug.sequence import Sequence

TIMEOUT = 5_000


def after(numbers: Iterable[int], begin: int | None = None) -> Sequence:
    sequence = Sequence()
    if begin is not None:
        sequence.begin(begin)
    for number in numbers:
        sequence.step(number)
    return sequence


@given(st.integers(0, 255), st.integers(0, 600))
def test_any_first_number_is_accepted_and_255_is_followed_by_0(first: int, count: int) -> None:
    numbers = [(first + 1 + i) % 256 for i in range(count)]
    assert not after(numbers, first).has_gap
    assert not after(numbers).has_gap


@given(st.integers(0, 255), st.permutations(range(1, 20)))
def test_messages_out_of_order_leave_no_gap_once_all_are_there(first: int, order: list[int]) -> None:
    assert not after([(first + i) % 256 for i in order], first).has_gap


@given(st.integers(0, 255), st.sets(st.integers(1, 100), min_size=1), st.integers(101, 150))
def test_each_missing_number_keeps_the_gap_open(first: int, missing: set[int], last: int) -> None:
    numbers = [i for i in range(1, last + 1) if i not in missing]
    sequence = after([(first + i) % 256 for i in numbers], first)
    for number in sorted(missing):
        assert sequence.has_gap
        sequence.step((first + number) % 256)
    assert not sequence.has_gap


@given(st.lists(st.integers(0, 255), max_size=100))
def test_whatever_the_numbers_the_gap_is_given_up_after_the_time_out_and_once(numbers: list[int]) -> None:
    sequence = after(numbers)
    assert not sequence.is_overdue(1000, TIMEOUT)  # the first look starts the timer
    had_gap = sequence.has_gap
    assert not sequence.is_overdue(1000 + TIMEOUT - 1, TIMEOUT)
    assert sequence.is_overdue(1000 + TIMEOUT, TIMEOUT) == had_gap
    assert not sequence.is_overdue(1000 + 2 * TIMEOUT, TIMEOUT)


def test_what_comes_in_time_stops_the_timer_and_a_later_gap_has_its_own() -> None:
    sequence = after([1, 3], 0)
    assert not sequence.is_overdue(0, TIMEOUT)
    sequence.step(2)
    assert not sequence.is_overdue(TIMEOUT, TIMEOUT)
    sequence.step(5)
    assert not sequence.is_overdue(2 * TIMEOUT, TIMEOUT)
    assert sequence.is_overdue(3 * TIMEOUT, TIMEOUT)


@pytest.mark.parametrize("again", [0, 4])
def test_a_number_that_was_there_is_out_of_order_too(again: int) -> None:
    sequence = after([1, 2, 3, 4], 0)
    sequence.step(again)
    assert sequence.has_gap


def test_a_birth_begins_anew() -> None:
    sequence = after([1, 3], 0)
    sequence.begin(200)
    assert not sequence.has_gap
    sequence.step(201)
    assert not sequence.has_gap
