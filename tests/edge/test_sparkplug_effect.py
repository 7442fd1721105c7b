"""A Sparkplug birth or death that can be read takes effect; what of it cannot be stored is left out, and told."""

from typing import Any

import pytest

from edge_agent.core.intake import Entry, Message
from tests.edge.sparkplug_plant import DEVICE, LAG, MS, NODE, STALE, Plant, Row, T, rows
from tests.sparkplug_node import M, payload, topic

DAY = 86_400_000  # ms
DEAD = [("d1", "Inputs.A"), ("d1", "Temp")]


def stale(found: list[Row]) -> list[tuple[str, str]]:
    """The channels that have no value any more."""
    return [row[:2] for row in found if row[3:] == (None, STALE)]


def dead(plant: Plant, where: str, time_ms: int, metrics: list[M] | None = None) -> Entry:
    """A death with a time of its own."""
    plant.now_ms += 1
    return plant.take(Message(where, payload(metrics or [], time_ms=time_ms), plant.now_ms * MS + LAG))


def test_metrics_that_no_rule_knows_are_left_out_and_those_of_a_birth_are_told() -> None:
    plant = Plant()
    plant.configure(["*/Temp"])
    entry = plant.take(plant.message(topic("DBIRTH", "d1"), DEVICE, seq=1))
    assert rows(entry) == [("d1", "Temp", T + 1, 20.0, 0)]
    assert (entry.skipped, len(entry.keys)) == (2, 1)  # the other is a text
    (letter,) = entry.deadletters
    assert letter.reason == "left_out"
    assert letter.text == (
        "this birth is taken, but for 1 of its values; the first: channel 'd1/Inputs.A' fits no [[channels]] rule"
    )
    said = plant.message(topic("DDATA", "d1"), [M(True, "Boolean", alias=10), M(8.0, alias=11)], seq=2)
    entry = plant.take(said)
    assert (rows(entry), entry.deadletters, entry.skipped) == ([("d1", "Temp", T + 2, 8.0, 0)], [], 1)
    assert plant.say(topic("DDATA", "d1"), [M(True, "Boolean", alias=10)], seq=3) == []
    assert plant.say(topic("DDEATH", "d1"), seq=4) == [("d1", "Temp", T + 4, None, STALE)]


def test_a_metric_whose_channel_is_a_waveform_is_left_out_and_never_marked() -> None:
    plant = Plant()
    plant.configure(waveforms=["*/Inputs.A"])
    entry = plant.take(plant.message(topic("DBIRTH", "d1"), DEVICE, seq=1))
    assert [row[1] for row in rows(entry)] == ["Temp"]
    assert "waveform" in entry.deadletters[0].text
    assert stale(plant.say(topic("DDEATH", "d1"), seq=2)) == [("d1", "Temp")]


def test_a_new_session_with_a_metric_that_no_rule_knows_ends_the_devices_of_the_old() -> None:
    plant = Plant()
    plant.configure(["*/Supply", "*/Temp", "*/Inputs.A"])
    plant.born(bd_seq=1)
    entry = plant.take(plant.message(topic("NBIRTH"), [M(2, "Int64", "bdSeq"), *NODE[1:], M(1.0, name="New")], seq=0))
    assert stale(rows(entry)) == DEAD
    assert ("press-7", "Supply", T + 3, 12.5, 0) in rows(entry)
    assert [letter.reason for letter in entry.deadletters] == ["left_out"]


@pytest.mark.parametrize("time_ms", [T + 11 * DAY, 2**64 - 1, 1])
def test_a_death_with_a_time_that_cannot_be_is_one_at_its_arrival(time_ms: int) -> None:
    plant = Plant().born()
    entry = dead(plant, topic("DDEATH", "d1"), time_ms)
    assert entry.deadletters == []
    assert stale(rows(entry)) == DEAD
    assert set(entry.readings.time_ns.tolist()) == {plant.now_ms * MS + LAG}


def test_a_death_on_a_clock_that_is_ahead_as_far_as_may_be_lies_after_the_data_of_that_clock() -> None:
    plant = Plant().born()
    entry = dead(plant, topic("DDEATH", "d1"), T + 30_000)
    assert {row[2] for row in rows(entry)} == {T + 30_000}


@pytest.mark.parametrize("time_ms", [T + 11 * DAY, 1])
def test_the_metrics_of_a_birth_whose_times_cannot_be_are_left_out_and_the_others_taken(time_ms: int) -> None:
    plant = Plant().born()
    born = [M(1.0, name="a", alias=1), M(2.0, name="b", alias=2, time_ms=time_ms)]
    entry = plant.take(plant.message(topic("DBIRTH", "d1"), born, seq=2))
    assert [row[1:4:2] for row in rows(entry)] == [("a", 1.0), ("Inputs.A", None), ("Temp", None)]
    assert (entry.skipped, [letter.reason for letter in entry.deadletters]) == (1, ["left_out"])
    assert [row[1] for row in plant.say(topic("DDATA", "d1"), [M(3.0, alias=2)], seq=3)] == ["b"]


def test_data_with_a_time_that_cannot_be_is_a_dead_letter_as_a_whole() -> None:
    plant = Plant().born()
    said = [M(True, "Boolean", alias=10), M(8.0, alias=11, time_ms=T + 11 * DAY)]
    assert plant.refuse(topic("DDATA", "d1"), said, seq=2) == "time_range"


def test_a_limit_of_readings_refuses_data_shortens_births_and_leaves_deaths_alone() -> None:
    plant = Plant().born()
    plant.configure(readings_per_message=1)
    said = [M(True, "Boolean", alias=10), M(8.0, alias=11)]
    assert plant.refuse(topic("DDATA", "d1"), said, seq=2) == "too_many"
    entry = plant.take(plant.message(topic("DBIRTH", "d1"), DEVICE, seq=3))
    assert [row[1] for row in rows(entry)] == ["Inputs.A"]
    assert [letter.reason for letter in entry.deadletters] == ["left_out"]
    assert stale(plant.say(topic("NDEATH"), [M(0, "Int64", "bdSeq")])) == [("press-7", "Supply"), *DEAD]


@pytest.mark.parametrize(
    ("reason", "metrics"),
    [
        ("alias", [M(1.0, alias=99)]),
        ("time_range", [M(1.0, alias=1, time_ms=1)]),
        ("value", [M("x", "String", "Supply")]),
    ],
)
def test_a_device_that_a_rebirth_leaves_out_is_stale_by_whatever_message_comes_next(
    reason: str, metrics: list[M]
) -> None:
    plant = Plant().born()
    plant.say(topic("NBIRTH"), NODE, seq=0)
    plant.asks(0)
    plant.asks(5.1)
    entry = plant.take(plant.message(topic("NDATA"), metrics, seq=1))
    assert [letter.reason for letter in entry.deadletters] == [reason]
    assert stale(rows(entry)) == DEAD
    assert entry.keys == []
    assert stale(plant.say(topic("NDATA"), [M(1.0, alias=1)], seq=2)) == []


def test_a_birth_that_was_told_of_once_is_not_told_of_when_it_comes_again() -> None:
    plant = Plant()
    plant.configure(["*/Temp"])
    birth = plant.message(topic("DBIRTH", "d1"), DEVICE, seq=1)
    found: list[Any] = [plant.take(birth), plant.take(birth._replace(arrival_ns=birth.arrival_ns + MS))]
    assert [(len(entry.deadletters), entry.repeated) for entry in found] == [(1, 0), (0, 1)]
