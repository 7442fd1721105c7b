"""What a broker grants is judged by what it costs."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.broker_terms import DropCount, Terms, concerns

DAY_S = 86_400


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        (Terms(receive_max=20), "max_inflight_messages 1000"),
        (Terms(max_qos=0), "only QoS 0"),
        (Terms(max_packet_bytes=65_536), "above 65536 bytes"),
        (Terms(session_expiry_s=3600), "after 3600 s, not 86400 s"),
    ],
)
def test_what_stalls_or_loses_data_is_said_with_its_cure(terms: Terms, words: str) -> None:
    (text,) = concerns(terms, DAY_S)
    assert words in text


def test_a_broker_that_grants_what_was_asked_for_is_no_concern() -> None:
    assert concerns(Terms(), DAY_S) == []
    assert concerns(Terms(1000, 1, 1 << 24, DAY_S), DAY_S) == []


@given(st.lists(st.integers(0, 1000), min_size=1))
def test_each_drop_is_counted_once_and_a_broker_that_restarted_counts_from_new(counts: list[int]) -> None:
    drops = DropCount()
    found = [drops.heard(str(count).encode()) for count in counts]
    assert found == [0, *(max(0, b - a) for a, b in pairwise(counts))]


def test_what_is_no_number_is_no_drop() -> None:
    drops = DropCount()
    assert [drops.heard(text) for text in (b"5", b"", b"many", b"\xff", b"7")] == [0, 0, 0, 0, 2]
