"""Sparkplug B that cannot be used: bad messages are dead letters, and whoever invents names fills no memory."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.core.intake import Message
from tests.edge.sparkplug_plant import DEVICE, MS, NODE, Plant, T, rows
from tests.sparkplug_node import M, payload, topic


@pytest.mark.parametrize("sent", [M(1, "Int32", alias=11, says_type=False), M(1, "Int32", alias=11)])
def test_data_that_contradicts_its_birth_shows_that_a_birth_was_missed(sent: M) -> None:
    plant = Plant().born()
    assert plant.refuse(topic("DDATA", "d1"), [sent], seq=2) == "value"
    assert plant.asks(0) == ["spBv1.0/plant-1/NCMD/press-7"]


BAD: list[tuple[str, str, Sequence[M]]] = [
    ("before_birth", topic("NDATA", node="unknown"), [M(1.0, name="x")]),
    ("before_birth", topic("DDATA", "unknown"), [M(1.0, name="x")]),
    ("alias", topic("DDATA", "d1"), [M(1.0, alias=99)]),
    ("alias", topic("DDATA", "d1"), [M(1.0, alias=1)]),  # the node's, not the device's
    ("alias", topic("DDATA", "d1"), [M(1.0, name="Never")]),
    ("sparkplug", topic("DDATA", "d1"), [M(1.0)]),
    ("value", topic("DDATA", "d1"), [M(1, "Int32", alias=11)]),  # another type than declared
    ("value", topic("DDATA", "d1"), [M(1, "Int32", alias=11, says_type=False)]),
    ("value", topic("DDATA", "d1"), [M("x", "String", alias=11, says_type=False)]),
    ("quality", topic("DDATA", "d1"), []),
    ("time_range", topic("DDATA", "d1"), [M(1.0, alias=11, time_ms=2**64 - 1)]),
    ("time_range", topic("DDATA", "d1"), [M(1.0, alias=11, time_ms=1)]),
    ("sparkplug", topic("DBIRTH", "d2"), [M(1.0, alias=5)]),
    ("sparkplug", topic("DBIRTH", "d2"), [M(1.0, name="a", alias=5), M(1.0, name="b", alias=5)]),
    ("sparkplug", topic("DBIRTH", "d2"), [M(1.0, name="a"), M(1, "Int32", "a")]),
    ("channel", topic("DBIRTH", "d2"), [M(1.0, name="a/b"), M(1.0, name="a.b")]),
    ("channel", topic("DBIRTH", "d2"), [M(1.0, name="a\nb")]),
    ("asset", topic("DBIRTH", "d1", node="other"), [M(1.0, name="a")]),
    ("topic", topic("NCMD"), []),
    ("topic", "spBv1.0/plant-1/NDATA/", []),
    ("topic", "spBv1.0/plant-2/NDATA/press-7", []),
    ("topic", "spBv1.0/plant-1/DDATA/press-7", []),
    ("topic", "spBv1.0/plant-1/NDATA/press-7/d1", []),
]


@pytest.mark.parametrize(("reason", "where", "metrics"), BAD)
def test_a_bad_message_is_a_dead_letter_and_the_next_good_one_is_read(
    reason: str, where: str, metrics: Sequence[M]
) -> None:
    plant = Plant().born()
    message = plant.message(where, metrics, seq=2)
    if reason == "quality":
        message = message._replace(payload=payload([M(1.0, alias=11)], seq=2) + _textual_quality())
    entry = plant.take(message, plant.message(topic("DDATA", "d1"), [M(3.0, alias=11)], seq=3))
    assert [letter.reason for letter in entry.deadletters] == [reason]
    assert [row[3] for row in rows(entry)] == [3.0]


def _textual_quality() -> bytes:
    """A metric whose property Quality is a text."""
    value = b"\x08\x0c\x42\x04good"
    properties = b"\x0a\x07Quality\x12" + bytes([len(value)]) + value
    metric = b"\x10\x0b\x4a" + bytes([len(properties)]) + properties
    return b"\x12" + bytes([len(metric)]) + metric


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_truncated_message_is_a_dead_letter_and_changes_nothing(cut: int) -> None:
    plant = Plant().born()
    good = plant.message(topic("DBIRTH", "d1"), [M(1.0, name="a much longer name than that", alias=77)], seq=2)
    entry = plant.take(good._replace(payload=good.payload[:-cut]))
    if entry.deadletters:
        assert plant.say(topic("DDATA", "d1"), [M(1.0, alias=11)], seq=3) != []


def test_a_dead_letter_that_is_taken_again_is_read_by_the_present_births_and_changes_nothing() -> None:
    plant = Plant()
    early = plant.message(topic("DDATA", "d1"), [M(7.0, alias=11)], seq=200)
    assert [letter.reason for letter in plant.take(early).deadletters] == ["before_birth"]
    old_birth = plant.message(topic("DBIRTH", "d1"), [M(1.0, name="Old", alias=11)], seq=201)
    plant.born()
    plant.asks(0)
    assert [row[1:4:2] for row in rows(plant.take(early))] == [("Temp", 7.0)]
    assert [row[1:4:2] for row in rows(plant.take(old_birth))] == [("Old", 1.0)]
    assert [row[1] for row in plant.say(topic("DDATA", "d1"), [M(8.0, alias=11)], seq=2)] == ["Temp"]
    assert plant.asks(1000.0) == []


def test_what_is_known_is_bounded_and_known_devices_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    plant = Plant().born()
    monkeypatch.setattr("edge_agent.core.sparkplug.host.MAX_KNOWN", 9)  # a node, two births, six metrics
    assert plant.refuse(topic("DBIRTH", "d2"), DEVICE, seq=2) == "too_many"
    assert plant.refuse(topic("NDATA", node="new"), NODE, seq=2) == "too_many"
    assert plant.say(topic("DBIRTH", "d1"), DEVICE[:2], seq=2) != []
    plant.restart()
    assert plant.say(topic("DBIRTH", "d2"), DEVICE, seq=3) != []
    assert plant.refuse(topic("DBIRTH", "d3"), DEVICE, seq=4) == "too_many"


def test_nodes_without_a_birth_are_bounded_apart_and_the_one_not_heard_for_longest_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edge_agent.core.sparkplug.host.MAX_UNBORN", 2)
    plant = Plant().born()
    for node in ("a", "b", "a", "c", "d", "a"):
        assert plant.refuse(topic("NDATA", node=node), NODE, seq=0) == "before_birth"
    assert sorted(plant.asks(0)) == [f"spBv1.0/plant-1/NCMD/{node}" for node in ("a", "d")]
    plant.say(topic("NBIRTH", node="a"), NODE, seq=0)
    for node in ("e", "f", "g"):
        assert plant.refuse(topic("NDATA", node=node), NODE, seq=0) == "before_birth"
    assert plant.say(topic("NDATA", node="a"), [M(1.0, alias=1)], seq=1) != []
    assert plant.say(topic("DDATA", "d1"), [M(1.0, alias=11)], seq=2) != []
    host = plant.host
    assert len(host._nodes) == 4  # noqa: SLF001 - where a test can look
    assert host._size == sum(node.size for node in host._nodes.values())  # noqa: SLF001 - as above


def test_a_birth_that_is_refused_leaves_nothing_behind() -> None:
    plant = Plant().born()
    before = len(plant.host._owners)  # noqa: SLF001 - where a test can look
    for number in range(5):
        assert plant.refuse(topic("DBIRTH", f"invented-{number}"), [M(1.0, alias=5)], seq=2) == "sparkplug"
    assert plant.take(Message(topic("NDATA", node="x"), b"\xff", T * MS)).deadletters[0].reason == "sparkplug"
    assert len(plant.host._owners) == before  # noqa: SLF001 - as above
    assert len(plant.host._nodes) == 1  # noqa: SLF001 - as above


def test_many_nodes_are_looked_at_some_at_a_time_and_each_has_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_agent.core.sparkplug.host._LOOKED_AT", 2)
    plant = Plant()
    for number in range(7):
        plant.refuse(topic("NDATA", node=f"n{number}"), NODE, seq=0)
    asked = [plant.asks(0) for _ in range(5)]
    assert [len(some) for some in asked] == [2, 2, 2, 1, 0]
    assert sorted(chain(*asked)) == [f"spBv1.0/plant-1/NCMD/n{number}" for number in range(7)]


METRICS = st.lists(
    st.builds(
        M,
        st.one_of(st.floats(), st.none()),
        st.just("Double"),
        st.sampled_from(["a", "b", "c/d", None]),
        st.sampled_from([None, 1, 2, 3]),
        st.sampled_from([None, T]),
        st.sampled_from([None, 0, 192, 500]),
    ),
    max_size=4,
)
MESSAGES = st.lists(
    st.tuples(
        st.sampled_from(
            [topic(kind) for kind in ("NBIRTH", "NDATA", "NDEATH")]
            + [topic(kind, device) for kind in ("DBIRTH", "DDATA", "DDEATH") for device in ("d1", "d2")]
        ),
        METRICS,
        st.integers(0, 5),
        st.binary(max_size=3),
    ),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(MESSAGES, st.integers(0, 30), st.integers(1, 7))
def test_whatever_comes_nothing_is_raised_and_neither_a_restart_nor_the_cuts_change_readings(
    said: list[tuple[str, list[M], int, bytes]], restart_at: int, size: int
) -> None:
    def run(*, cut: int, restarting: bool) -> list[tuple[Any, ...]]:
        plant, found = Plant(), list[tuple[Any, ...]]()
        messages = []
        for where, metrics, seq, rest in said:
            message = plant.message(where, metrics, seq=seq)
            messages.append(message._replace(payload=message.payload + rest))
        at = min(restart_at, len(messages))
        for part in (messages[:at], messages[at:]):
            for i in range(0, len(part), cut):
                entry = plant.take(*part[i : i + cut])
                # The time of a node's death follows from the last message before it, which a restart forgets.
                found += [(*row[:2], None if row[3] is None else row[2], *row[3:]) for row in rows(entry)]
                found += [(letter.topic, letter.reason) for letter in entry.deadletters]
                plant.asks(0.0)
            if restarting and part is not messages[at:] and at:
                plant.restart()
        return found

    assert run(cut=1, restarting=False) == run(cut=1, restarting=True)
    assert sorted(run(cut=1, restarting=False), key=str) == sorted(run(cut=size, restarting=False), key=str)
