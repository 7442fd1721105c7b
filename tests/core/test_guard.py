"""Which series a gateway may bring: against a set that remembers everything, and what must stay bounded."""

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.core.guard import MAX_TAG_CHARS, SeriesGuard, is_fit

GATEWAY = ("north", "gw1")
series = st.tuples(st.sampled_from(["a", "b", "", "c\n"]), st.sampled_from([str(number) for number in range(6)]))
lists = st.lists(st.tuples(st.sampled_from(["reading", "alarm"]), st.lists(series, max_size=8)), max_size=12)


def verdict(guard: SeriesGuard, measurement: str, found: list[tuple[str, str]]) -> list[tuple[bool, bool]]:
    """(unfit, beyond) of each series."""
    result = guard.check(GATEWAY, measurement, found)
    if result is None:
        return [(False, False)] * len(found)
    return list(zip(result.is_unfit.tolist(), result.is_beyond.tolist(), strict=True))


@given(lists, st.integers(1, 12))
@settings(max_examples=200)
def test_it_says_what_a_set_of_names_would_say(script: list[tuple[str, list[tuple[str, str]]]], most: int) -> None:
    guard = SeriesGuard(most)
    known: set[tuple[str, tuple[str, str]]] = set()
    for measurement, found in script:
        expected = []
        for tags in found:
            fit = all(map(is_fit, tags))
            if fit and len(known) < most:
                known.add((measurement, tags))
            expected.append((not fit, fit and (measurement, tags) not in known))
        assert verdict(guard, measurement, found) == expected
        assert guard.known(GATEWAY) == len(known)


def test_what_is_known_goes_on_when_there_is_no_more_room() -> None:
    guard = SeriesGuard(2)
    assert guard.check(GATEWAY, "reading", [("a", "1"), ("a", "2")]) is None
    assert verdict(guard, "reading", [("a", "3"), ("a", "2")]) == [(False, True), (False, False)]
    assert guard.check(GATEWAY, "reading", [("a", "1"), ("a", "2")]) is None


def test_each_gateway_has_room_of_its_own() -> None:
    guard = SeriesGuard(1)
    assert guard.check(GATEWAY, "reading", [("a", "1")]) is None
    assert guard.check(("north", "gw2"), "reading", [("a", "2")]) is None
    assert guard.check(GATEWAY, "reading", [("a", "2")]) is not None


def test_a_name_that_no_store_can_carry_takes_no_room() -> None:
    guard = SeriesGuard(1)
    assert verdict(guard, "reading", [("a", ""), ("a", "1")]) == [(True, False), (False, False)]


@pytest.mark.parametrize(
    ("tag", "fit"),
    [
        ("Temperatur Kühlwasser [°C]", True),
        ("温度", True),
        ("a\xa0b", True),
        ("C:\\data", True),
        ("x" * MAX_TAG_CHARS, True),
        ("x" * (MAX_TAG_CHARS + 1), False),
        ("x" * 65_536, False),
        ("", False),
        ("a\nb", False),
        ("a\x7f", False),
        ("ends with \\", False),
        ("a\\,b", False),
    ],
)
def test_a_tag_is_fit_when_line_protocol_can_carry_it(tag: str, fit: bool) -> None:
    assert is_fit(tag) == fit


def test_of_a_million_new_series_nothing_is_kept_but_those_that_have_room() -> None:
    guard = SeriesGuard(20_000)
    refused = 0
    for start in range(0, 1_000_000, 50_000):
        result = guard.check(GATEWAY, "reading", [("a", str(number)) for number in range(start, start + 50_000)])
        refused += int(result.is_beyond.sum()) if result is not None else 0
    assert refused == 980_000
    assert guard.known(GATEWAY) == 20_000
    assert len(pickle.dumps(guard)) < 9 * 20_000


def test_of_too_many_gateways_the_one_longest_unheard_of_is_forgotten() -> None:
    guard = SeriesGuard(5, max_gateways=2)
    for name in ("a", "b", "a", "c"):
        guard.check(("s", name), "reading", [("x", "1")])
    assert [guard.known(("s", name)) for name in "abc"] == [1, 0, 1]


def test_all_gateways_together_keep_no_more_than_the_bound() -> None:
    guard = SeriesGuard(100, max_kept=150)
    for gateway in range(10):
        guard.check(("s", str(gateway)), "reading", [("x", str(number)) for number in range(60)])
        assert sum(guard.known(("s", str(one))) for one in range(10)) <= 150
        assert guard.known(("s", str(gateway))) == 60
