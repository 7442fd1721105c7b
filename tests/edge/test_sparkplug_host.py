"""Sparkplug B from message to reading: births, aliases, deaths, sessions, gaps."""

import math

import pytest

from edge_agent.core.intake import Message
from edge_agent.core.sparkplug.host import Host
from models.contract.quality import Quality
from tests.edge.sparkplug_plant import DEVICE, LAG, MS, NODE, STALE, Plant, T, rows
from tests.sparkplug_node import M, payload, topic


def test_births_are_readings_and_name_what_data_says_by_alias() -> None:
    plant = Plant()
    assert plant.say(topic("NBIRTH"), NODE, seq=7) == [("press-7", "Supply", T + 1, 12.5, 0)]
    assert plant.say(topic("DBIRTH", "d1"), DEVICE, seq=8) == [
        ("d1", "Inputs.A", T + 2, 0.0, 0),
        ("d1", "Temp", T + 2, 20.0, 0),
    ]
    by_alias = [M(21.5, alias=11, says_type=False), M(True, "Boolean", alias=10)]
    assert plant.say(topic("DDATA", "d1"), by_alias, seq=9) == [
        ("d1", "Temp", T + 3, 21.5, 0),
        ("d1", "Inputs.A", T + 3, 1.0, 0),
    ]
    assert plant.say(topic("NDATA"), [M(12.6, name="Supply")], seq=10) == [("press-7", "Supply", T + 4, 12.6, 0)]
    assert plant.asks(0) == []
    assert plant.host.counts == {"births": 2}


def test_a_metric_has_its_own_time_or_that_of_the_message_or_of_the_arrival() -> None:
    plant = Plant().born()
    said = [M(1.0, alias=11, time_ms=T - 5), M(True, "Boolean", alias=10)]
    assert [row[2] for row in plant.say(topic("DDATA", "d1"), said, seq=2)] == [T - 5, T + 3]
    entry = plant.take(plant.message(topic("DDATA", "d1"), [M(2.0, alias=11)], seq=3, untimed=True))
    assert entry.readings.time_ns.tolist() == [plant.now_ms * MS + LAG]
    assert entry.readings.quality.tolist() == [Quality.UNCERTAIN_ARRIVAL_TIME]


def test_historical_values_keep_their_times_and_their_order() -> None:
    plant = Plant().born()
    said = [M(float(i), alias=11, time_ms=T - 1000 + i, is_historical=True) for i in range(5)]
    assert plant.say(topic("DDATA", "d1"), said, seq=2) == [("d1", "Temp", T - 1000 + i, float(i), 0) for i in range(5)]


def test_null_is_no_value_and_the_senders_quality_travels() -> None:
    plant = Plant().born()
    said = [
        M(None, alias=11),
        M(1.0, alias=11, quality=0),
        M(2.0, alias=11, quality=500),
        M(3.0, alias=11, quality=192),
    ]
    assert [row[3:] for row in plant.say(topic("DDATA", "d1"), said, seq=2)] == [
        (None, STALE),
        (1.0, Quality.BAD_SOURCE),
        (2.0, STALE),
        (3.0, Quality.GOOD),
    ]
    assert plant.say(topic("DDATA", "d1"), [M(math.inf, alias=11)], seq=3) == [("d1", "Temp", T + 4, None, STALE)]


def test_texts_bytes_and_data_sets_are_counted_and_no_readings_unless_a_state_is_declared() -> None:
    metrics = [M("run", "String", "State"), M(b"x", "Bytes", "Raw"), M(2, "DataSet", "Table"), M(1.0, name="v")]
    for states, expected in (({}, [("d1", "v", 1.0)]), ({"run": 3}, [("d1", "State", 3.0), ("d1", "v", 1.0)])):
        plant = Plant(states=states)
        entry = plant.take(plant.message(topic("DBIRTH", "d1"), metrics, seq=1))
        assert [(row[0], row[1], row[3]) for row in rows(entry)] == expected
        assert entry.skipped == 4 - len(expected)


def test_members_of_templates_are_channels_and_definitions_are_not() -> None:
    motor = (M(1450, "Int32", "speed"), M((M(60.0, "Double", "temp"),), "Template", "bearing"))
    plant = Plant()
    born = [
        M((M(0, "Int32", "speed"),), "Template", "_types_/Motor", is_definition=True),
        M(motor, "Template", "motor", 5),
    ]
    assert plant.say(topic("DBIRTH", "d1"), born, seq=1) == [
        ("d1", "motor.speed", T + 1, 1450.0, 0),
        ("d1", "motor.bearing.temp", T + 1, 60.0, 0),
    ]
    said = [M((M(-3, "Int32", "speed", says_type=False),), "Template", alias=5)]
    assert plant.say(topic("DDATA", "d1"), said, seq=2) == [("d1", "motor.speed", T + 2, -3.0, 0)]
    assert plant.refuse(topic("DDATA", "d1"), [M((M(1.0, name="new"),), "Template", alias=5)], seq=3) == "alias"


def test_the_death_of_a_device_leaves_its_channels_without_a_value() -> None:
    plant = Plant().born()
    dead = [("d1", "Inputs.A", T + 3, None, STALE), ("d1", "Temp", T + 3, None, STALE)]
    assert plant.say(topic("DDEATH", "d1"), seq=2) == dead
    assert plant.say(topic("DDEATH", "d1"), seq=3) == []  # it cannot die twice
    assert plant.refuse(topic("DDATA", "d1"), [M(1.0, alias=11)], seq=4) == "before_birth"
    assert plant.say(topic("NDATA"), [M(1.0, alias=1)], seq=5) != []
    plant.say(topic("DBIRTH", "d1"), DEVICE, seq=6)
    assert plant.say(topic("DDATA", "d1"), [M(1.0, alias=11)], seq=7) != []


def test_the_death_of_a_node_is_that_of_its_devices_at_the_time_of_its_own_clock() -> None:
    plant = Plant().born(bd_seq=3)
    plant.now_ms += 60_000
    death = plant.message(topic("NDEATH"), [M(3, "Int64", "bdSeq")], untimed=True)
    entry = plant.take(death)
    # It arrived a minute later than the last message: so much later it happened, as the node's clock tells time.
    assert {row[2] for row in rows(entry)} == {death.arrival_ns // MS - LAG // MS}
    assert {row[:2] for row in rows(entry)} == {("press-7", "Supply"), ("d1", "Inputs.A"), ("d1", "Temp")}
    assert {row[3:] for row in rows(entry)} == {(None, STALE)}
    assert plant.refuse(topic("NDATA"), [M(1.0, alias=1)], seq=2) == "before_birth"
    assert plant.say(topic("NDEATH"), [M(3, "Int64", "bdSeq")]) == []


def test_a_death_that_waited_in_the_broker_lies_before_the_life_that_followed() -> None:
    plant = Plant().born(bd_seq=3)
    hour = 3_600_000
    last = payload([M(1.0, alias=11)], seq=2, time_ms=T + 10)
    born = payload([M(4, "Int64", "bdSeq"), *NODE[1:]], seq=0, time_ms=T + 400)
    death = payload([M(3, "Int64", "bdSeq")], time_ms=T)
    at = [(T + hour + i) * MS for i in range(3)]
    entry = plant.take(
        Message(topic("DDATA", "d1"), last, at[0]),
        Message(topic("NDEATH"), death, at[1]),
        Message(topic("NBIRTH"), born, at[2]),
    )
    stale = [row[2] for row in rows(entry) if row[4] == STALE]
    assert len(stale) == 3
    assert all(T + 10 <= time <= T + 400 for time in stale)


@pytest.mark.parametrize(("born", "died", "counts"), [(3, 2, False), (3, 3, True), (3, 4, False), (0, 255, False)])
def test_only_a_death_of_the_present_session_counts(born: int, died: int, counts: bool) -> None:
    plant = Plant().born(bd_seq=born)
    assert bool(plant.say(topic("NDEATH"), [M(died, "Int64", "bdSeq")])) == counts
    assert plant.host.counts["deaths_of_older_sessions"] == (not counts)


def test_a_new_session_ends_the_devices_of_the_old_and_a_rebirth_does_not() -> None:
    plant = Plant().born(bd_seq=3)
    again = [M(3, "Int64", "bdSeq"), *NODE[1:]]
    assert plant.say(topic("NBIRTH"), again, seq=0) == [("press-7", "Supply", T + 3, 12.5, 0)]
    assert plant.say(topic("DDATA", "d1"), [M(1.0, alias=11)], seq=1) != []
    other = plant.say(topic("NBIRTH"), [M(4, "Int64", "bdSeq"), *NODE[1:]], seq=0)
    assert [row[:2] for row in other if row[4] == STALE] == [("d1", "Inputs.A"), ("d1", "Temp")]
    assert plant.refuse(topic("DDATA", "d1"), [M(1.0, alias=11)], seq=1) == "before_birth"


def test_a_device_that_a_rebirth_leaves_out_is_stale_after_the_time_out() -> None:
    plant = Plant().born()
    plant.say(topic("DBIRTH", "d2"), [M(1.0, name="x")], seq=2)
    plant.say(topic("NBIRTH"), NODE, seq=0)
    assert plant.asks(0) == []
    plant.say(topic("DBIRTH", "d2"), [M(1.0, name="x")], seq=1)
    assert plant.asks(5.1) == []
    found = plant.say(topic("NDATA"), [M(1.0, alias=1)], seq=2)
    assert [row[:2] for row in found if row[4] == STALE] == [("d1", "Inputs.A"), ("d1", "Temp")]
    assert [row[:2] for row in plant.say(topic("NDATA"), [M(2.0, alias=1)], seq=3)] == [("press-7", "Supply")]


def test_a_metric_that_a_birth_no_longer_names_is_stale() -> None:
    plant = Plant().born()
    found = plant.say(topic("DBIRTH", "d1"), [M(20.0, "Double", "Temp", 11), M(1.0, name="new")], seq=2)
    assert [row for row in found if row[4] == STALE] == [("d1", "Inputs.A", T + 3, None, STALE)]
    assert plant.refuse(topic("DDATA", "d1"), [M(True, "Boolean", alias=10)], seq=3) == "alias"


def test_an_alias_may_come_to_mean_something_else() -> None:
    plant = Plant().born()
    plant.say(topic("DBIRTH", "d1"), [M(1.0, name="Other", alias=11)], seq=2)
    assert [row[1] for row in plant.say(topic("DDATA", "d1"), [M(2.0, alias=11)], seq=3)] == ["Other"]


def test_births_of_a_clock_that_was_ahead_do_not_make_old_what_comes_now() -> None:
    plant = Plant().born()
    plant.now_ms -= 10_000_000
    plant.restart()
    assert plant.say(topic("DBIRTH", "d1"), [M(1.0, name="Other", alias=11)], seq=2) != []
    assert [row[1] for row in plant.say(topic("DDATA", "d1"), [M(2.0, alias=11)], seq=3)] == ["Other"]


def test_a_missing_message_is_waited_for_then_births_are_asked_for_and_what_came_is_taken_at_once() -> None:
    plant = Plant().born()
    assert plant.say(topic("DDATA", "d1"), [M(1.0, alias=11)], seq=4) != []
    assert plant.asks(0) == []
    assert plant.asks(4.9) == []
    assert plant.say(topic("DDATA", "d1"), [M(2.0, alias=11)], seq=5) != []
    assert plant.asks(5.0) == ["spBv1.0/plant-1/NCMD/press-7"]
    assert plant.asks(60.0) == []


def test_what_comes_late_but_in_time_needs_no_births() -> None:
    plant = Plant().born()
    for seq in (4, 2, 3, 5):
        assert plant.say(topic("DDATA", "d1"), [M(1.0, alias=11)], seq=seq) != []
        assert plant.asks(1.0) == []
    assert plant.asks(100.0) == []


def test_the_time_out_is_the_topics() -> None:
    plant = Plant(reorder_timeout_s=30.0).born()
    plant.say(topic("DDATA", "d1"), [M(1.0, alias=11)], seq=4)
    assert [plant.asks(at) for at in (0, 29.9)] == [[], []]
    assert plant.asks(30.0) != []


def test_births_are_asked_for_now_and_then_as_long_as_messages_show_that_they_lack() -> None:
    plant = Plant()
    asked = []
    for second in range(25):
        assert plant.refuse(topic("NDATA"), [M(1.0, alias=1)], seq=second) == "before_birth"
        asked += plant.asks(float(second))
    assert asked == ["spBv1.0/plant-1/NCMD/press-7"] * 3
    plant.born()
    assert plant.say(topic("NDATA"), [M(1.0, alias=1)], seq=2) != []
    assert plant.asks(1000.0) == []


def test_the_births_survive_a_restart_and_are_asked_for_once() -> None:
    plant = Plant().born()
    plant.restart()
    assert plant.say(topic("DDATA", "d1"), [M(5.0, alias=11)], seq=77) == [("d1", "Temp", T + 3, 5.0, 0)]
    assert plant.asks(0) == ["spBv1.0/plant-1/NCMD/press-7"]
    assert plant.asks(1000) == []
    plant.say(topic("NDEATH"), [M(0, "Int64", "bdSeq")])
    plant.restart()
    assert plant.asks(0) == []  # it is not there
    assert plant.refuse(topic("DDATA", "d1"), [M(5.0, alias=11)], seq=78) == "before_birth"


def test_the_same_message_again_is_taken_once_and_a_birth_that_is_not_in_force_anew() -> None:
    plant = Plant()
    birth, data = plant.message(topic("NBIRTH"), NODE, seq=0), plant.message(topic("NDATA"), [M(1.0, alias=1)], seq=1)
    assert plant.take(birth, data).repeated == 0
    later = [m._replace(arrival_ns=m.arrival_ns + 1000 * MS) for m in (birth, data)]
    assert plant.take(*later).repeated == 2
    assert plant.asks(0) == []
    plant.say(topic("NDEATH"), [M(0, "Int64", "bdSeq")])
    assert plant.take(birth._replace(arrival_ns=plant.now_ms * MS + 5000 * MS)).repeated == 0


def test_a_birth_that_the_journal_has_and_the_file_has_not_is_taken_again() -> None:
    plant = Plant()
    birth = plant.message(topic("NBIRTH"), NODE, seq=0)
    plant.take(birth)
    plant.host = Host()
    plant.configure()
    assert plant.take(birth).repeated == 0
    assert plant.say(topic("NDATA"), [M(1.0, alias=1)], seq=1) != []


@pytest.mark.parametrize(
    ("assets", "expected"),
    [
        ("device", {"press-7", "d1"}),
        ("node.device", {"press-7", "press-7.d1"}),
        ("group.node.device", {"plant-1.press-7", "plant-1.press-7.d1"}),
    ],
)
def test_assets_are_named_as_the_topic_says(assets: str, expected: set[str]) -> None:
    plant = Plant(assets=assets)
    found = plant.say(topic("NBIRTH"), NODE, seq=0) + plant.say(topic("DBIRTH", "d1"), DEVICE, seq=1)
    assert {row[0] for row in found} == expected


def test_devices_of_one_name_are_told_apart_and_one_may_move_to_another_node() -> None:
    plant = Plant(assets="node.device").born()
    assert plant.say(topic("DBIRTH", "d1", node="other"), DEVICE, seq=1) != []
    plant = Plant().born()
    plant.say(topic("DDEATH", "d1"), seq=2)
    assert plant.say(topic("DBIRTH", "d1", node="other"), DEVICE, seq=1) != []
    assert plant.refuse(topic("DBIRTH", "d1"), DEVICE, seq=3) == "asset"


def test_a_single_node_can_be_chosen() -> None:
    plant = Plant(template="spBv1.0/+/+/press-7/#")
    assert plant.intake.filters[0] == "spBv1.0/+/NBIRTH/press-7"
    assert plant.say(topic("NBIRTH", group="any"), NODE, seq=0) != []
    assert plant.refuse(topic("NBIRTH", node="press-8"), NODE, seq=0) == "topic"
