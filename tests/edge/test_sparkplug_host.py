"""Sparkplug B from message to reading: births, aliases, deaths, sessions, gaps; bad messages are dead letters."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.config import EdgeConfig
from edge_agent.core.intake import Entry, Intake, Message
from edge_agent.core.recent import Recent
from edge_agent.core.sparkplug.host import Host
from models.contract.quality import Quality
from tests.sparkplug_node import M, payload, topic

MS = 1_000_000
T = 1_760_000_000_000  # ms, of the edge node's clock
LAG = 250 * MS  # from there to the arrival
STALE = int(Quality.UNCERTAIN_STALE)
SECOND = 1_000_000_000
Row = tuple[str, str, int, float | None, int]  # asset, channel, ms, value (None: no value), quality

NODE = [M(0, "Int64", "bdSeq"), M(False, "Boolean", "Node Control/Rebirth"), M(12.5, "Double", "Supply", 1)]
DEVICE = [M(False, "Boolean", "Inputs/A", 10), M(20.0, "Double", "Temp", 11), M("idle", "String", "State", 12)]


class Plant:
    """An intake with a clock; messages arrive `LAG` after their own time."""

    def __init__(self, **topics: Any) -> None:
        self.topics = {"template": "spBv1.0/plant-1/#", "format": "sparkplug-b"} | topics
        self.host, self.recent, self.now_ms = Host(), Recent(), T
        self.configure()

    def configure(self, channels: Sequence[str] = ("*/*",)) -> None:
        """The same state under another configuration."""
        self.intake = Intake(
            EdgeConfig.model_validate(
                {
                    "site": "s",
                    "gateway": "g",
                    "state_dir": "state",
                    "topics": [self.topics],
                    "channels": [{"match": match} for match in channels],
                    "assets": [{"match": "*"}],
                }
            ),
            self.recent,
            self.host,
        )

    def restart(self) -> None:
        """As after `kill -9`: the births are what was kept."""
        content, self.host = self.host.save(), Host()
        self.host.restore(content, self.now_ms * MS + LAG)
        self.configure()

    def message(
        self, where: str, metrics: Sequence[M] = (), *, seq: int | None = None, untimed: bool = False
    ) -> Message:
        self.now_ms += 1
        content = payload(metrics, seq=seq, time_ms=None if untimed else self.now_ms)
        return Message(where, content, self.now_ms * MS + LAG)

    def take(self, *messages: Message) -> Entry:
        entry = self.intake.take(messages)
        self.recent.add(entry.keys, entry.packet_ids)
        return entry

    def say(self, where: str, metrics: Sequence[M] = (), *, seq: int | None = None) -> list[Row]:
        """The readings of one message that is taken."""
        entry = self.take(self.message(where, metrics, seq=seq))
        assert entry.deadletters == []
        return rows(entry)

    def refuse(self, where: str, metrics: Sequence[M] = (), *, seq: int | None = None) -> str:
        """The reason of one that is not."""
        entry = self.take(self.message(where, metrics, seq=seq))
        assert rows(entry) == []
        (letter,) = entry.deadletters
        return letter.reason

    def born(self, bd_seq: int = 0) -> "Plant":
        self.say(topic("NBIRTH"), [M(bd_seq, "Int64", "bdSeq"), *NODE[1:]], seq=0)
        self.say(topic("DBIRTH", "d1"), DEVICE, seq=1)
        return self

    def asks(self, now_s: float) -> list[str]:
        """The topics on which births are asked for at a time."""
        asked = []
        for node in self.host.due(int(now_s * SECOND)):
            node.asked(int(now_s * SECOND))
            asked.append(node.command_topic)
        return asked


def rows(entry: Entry) -> list[Row]:
    r = entry.readings
    times = [None if ns % MS else ns // MS for ns in r.time_ns.tolist()]
    values = [None if math.isnan(value) else value for value in r.value.tolist()]
    keys = [r.channels[i] for i in r.index]
    return [
        (*key, time or -1, value, quality)
        for key, time, value, quality in zip(keys, times, values, r.quality.tolist(), strict=True)
    ]


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


def test_a_birth_with_a_channel_that_no_rule_knows_still_names_the_aliases() -> None:
    plant = Plant()
    plant.configure(["*/Temp"])
    assert plant.refuse(topic("DBIRTH", "d1"), DEVICE, seq=1) == "unknown_channel"
    assert plant.say(topic("DDATA", "d1"), [M(8.0, alias=11)], seq=2) == [("d1", "Temp", T + 2, 8.0, 0)]
    assert plant.say(topic("DDEATH", "d1"), seq=3) == [("d1", "Temp", T + 3, None, STALE)]


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


def test_what_is_known_is_bounded_and_known_devices_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    plant = Plant().born()
    monkeypatch.setattr("edge_agent.core.sparkplug.host.MAX_KNOWN", 9)  # a node, two births, six metrics
    assert plant.refuse(topic("DBIRTH", "d2"), DEVICE, seq=2) == "too_many"
    assert plant.refuse(topic("NDATA", node="new"), NODE, seq=2) == "too_many"
    assert plant.say(topic("DBIRTH", "d1"), DEVICE[:2], seq=2) != []
    plant.restart()
    assert plant.say(topic("DBIRTH", "d2"), DEVICE, seq=3) != []
    assert plant.refuse(topic("DBIRTH", "d3"), DEVICE, seq=4) == "too_many"


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
