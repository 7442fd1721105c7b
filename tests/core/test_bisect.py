"""Whatever a store answers, exactly the rows that it blames are refused, and with few requests."""

import math
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.core.bisect import MAX_DOUBTS, Doubted, Outcome, Rejected, Sieve
from models.contract.batch import Refusal

NUMBERS = st.lists(st.integers(0, 1000), unique=True, max_size=200)
BAD = st.sets(st.integers(0, 1000), max_size=20)


class Rows:
    """Numbers that are sent at once."""

    def __init__(self, lines: Sequence[bytes]) -> None:
        self._lines = lines

    def __len__(self) -> int:
        return len(self._lines)

    def lines(self) -> Sequence[bytes]:
        return self._lines


class Away(Exception):  # noqa: N818 - as ports.RetryLater
    """No answer."""


class Server:
    """Keeps all rows but the bad ones; `blames` says how it speaks of them."""

    def __init__(self, bad: set[int], blames: str = "some", away: Sequence[int] = ()) -> None:
        self.bad, self.blames, self.away = bad, blames, set(away)
        self.stored: list[int] = []
        self.requests = 0

    def send(self, part: Rows) -> Rejected | Doubted | None:
        self.requests += 1
        if self.requests in self.away:
            raise Away
        numbers = [int(line) for line in part.lines()]
        bad = {at: f"{number} is bad" for at, number in enumerate(numbers) if number in self.bad}
        if not bad:
            self.stored += numbers
            return None
        if self.blames == "nobody":
            return Doubted("no space")
        if self.blames == "all by name":
            return Rejected("bad", dict(list(bad.items())[:5]))
        if self.blames == "all":
            return Rejected("bad", bad if len(bad) == len(numbers) else None)
        return Rejected("bad")


def sieve(numbers: list[int], size: int = 1000) -> Sieve[Rows]:
    lines = [str(number).encode() for number in numbers]
    return Sieve([Rows(lines[at : at + size]) for at in range(0, len(lines), size)], Rows)


def refusals(numbers: list[int], bad: set[int], reasons: Mapping[int, str] | None = None) -> list[Refusal]:
    return [Refusal(row=str(n), reason=(reasons or {}).get(n, "bad")) for n in numbers if n in bad]


@given(NUMBERS, BAD, st.sampled_from(["some", "all"]), st.integers(1, 50))
def test_exactly_the_bad_rows_are_refused_in_order_and_all_others_stored(
    numbers: list[int], bad: set[int], blames: str, size: int
) -> None:
    server = Server(bad, blames)
    outcome = sieve(numbers, size).pour(server.send)
    assert outcome.doubt == ""
    reasons = {n: f"{n} is bad" for n in bad}
    found = [refusal.row for refusal in outcome.refused]
    assert found == [refusal.row for refusal in refusals(numbers, bad)]
    assert all(refusal.reason in {"bad", reasons[int(refusal.row)]} for refusal in outcome.refused)
    assert set(server.stored) == set(numbers) - bad


@given(NUMBERS, BAD)
def test_a_bad_row_costs_no_more_than_two_requests_for_each_halving(numbers: list[int], bad: set[int]) -> None:
    server = Server(bad)
    sieve(numbers).pour(server.send)
    count = len(bad & set(numbers))
    assert server.requests <= 1 + 2 * count * math.ceil(math.log2(max(2, len(numbers))))


@given(NUMBERS, BAD)
def test_rows_that_are_named_are_refused_for_their_own_reasons_with_few_requests(
    numbers: list[int], bad: set[int]
) -> None:
    server = Server(bad, "all by name")
    outcome = sieve(numbers).pour(server.send)
    assert outcome.refused == refusals(numbers, bad, {n: f"{n} is bad" for n in bad})
    assert set(server.stored) == set(numbers) - bad
    assert server.requests <= 1 + math.ceil(len(bad & set(numbers)) / 5)


@given(
    NUMBERS,
    BAD,
    st.sampled_from(["some", "all", "all by name"]),
    st.integers(1, 50),
    st.lists(st.integers(1, 100), max_size=20),
)
def test_failures_on_the_way_change_nothing_but_the_number_of_requests(
    numbers: list[int], bad: set[int], blames: str, size: int, away: list[int]
) -> None:
    quiet, server = Server(bad, blames), Server(bad, blames, away)
    expected = sieve(numbers, size).pour(quiet.send)
    rows = sieve(numbers, size)
    failures = 0
    while True:
        try:
            outcome = rows.pour(server.send)
        except Away:
            failures += 1
        else:
            break
    assert outcome == expected
    assert server.stored == quiet.stored
    assert server.requests == quiet.requests + failures


@given(NUMBERS, BAD, st.integers(1, 50))
def test_rows_that_nobody_blames_are_never_refused(numbers: list[int], bad: set[int], size: int) -> None:
    server = Server(bad, "nobody")
    outcome = sieve(numbers, size).pour(server.send)
    stored, doubtful = set(server.stored), bad & set(numbers)
    assert outcome == Outcome([], "no space" if doubtful else "", bool(stored))
    assert not stored & bad
    assert len(server.stored) == len(stored)
    # each doubted part but the last ones makes two
    assert server.requests <= math.ceil(len(numbers) / size) + 2 * MAX_DOUBTS


@pytest.mark.parametrize("bad", [{0}, {4999}, {1234, 4321}, {0, 4999}])
def test_one_or_two_rows_that_nobody_blames_keep_no_other_from_being_stored(bad: set[int]) -> None:
    server = Server(bad, "nobody")
    outcome = sieve(list(range(5000)), 5000).pour(server.send)
    assert outcome == Outcome([], "no space", has_stored=True)
    assert set(server.stored) == set(range(5000)) - bad


def test_a_server_in_trouble_is_asked_few_times_and_gets_everything_later() -> None:
    server = Server(set(range(5000)), "nobody")
    rows = sieve(list(range(5000)), 5000)
    assert rows.pour(server.send) == Outcome([], "no space", has_stored=False)
    assert server.requests <= 2 * MAX_DOUBTS
    server.bad = set()
    assert rows.pour(server.send).doubt == ""
    assert sorted(server.stored) == list(range(5000))


def test_what_a_server_has_stored_as_far_as_it_could_is_not_divided() -> None:
    answers: list[Rejected | Doubted | None] = [Doubted("full", is_partial=True), None]
    outcome = sieve(list(range(20)), 10).pour(lambda _: answers.pop(0))
    assert outcome == Outcome([], "full", has_stored=True)
    assert answers == []
