"""Messages that come again are taken once; those that only say the same are not lost."""

import json
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.config import EdgeConfig
from edge_agent.core.intake import Entry, Intake, Message
from edge_agent.core.recent import Recent, count_keys, message_keys, pack_keys, topic_seed, unpack_keys

SECOND = 1_000_000_000
NOW = 1_760_000_000 * SECOND
CONFIG = EdgeConfig.model_validate(
    {
        "site": "s",
        "gateway": "g",
        "state_dir": "state",
        "topics": [{"template": "f/{asset}/{channel}"}, {"template": "f/{asset}"}],
        "channels": [{"match": "*/vib", "kind": "waveform"}, {"match": "*/*"}],
        "assets": [{"match": "*"}],
    }
)


def message(topic: str, content: Any, packet_id: int = 1, *, is_again: bool = False, at_ns: int = NOW) -> Message:
    return Message(topic, json.dumps(content).encode(), at_ns, packet_id=packet_id, is_again=is_again)


class Gateway:
    """An intake whose memory is fed as the agent feeds it: after the commit."""

    def __init__(self) -> None:
        self.recent = Recent()
        self.intake = Intake(CONFIG, self.recent)

    def take(self, *messages: Message) -> Entry:
        entry = self.intake.take(messages)
        self.recent.add(entry.keys, entry.packet_ids)
        return entry


TIMED = message("f/m1/t", {"ts": 1_760_000_000, "value": 5}, 7)
UNTIMED = message("f/m1/t", {"value": 5}, 7)
WAVE = message("f/m1/vib", {"ts": 1_760_000_000, "dt": 0.1, "values": [1, 2]}, 7)


def test_a_message_with_its_time_is_taken_once_whoever_sends_it_again() -> None:
    for first in (TIMED, WAVE):
        for packet_id, is_again in ((7, True), (7, False), (8, False)):
            gateway = Gateway()
            gateway.take(first)
            again = gateway.take(first._replace(packet_id=packet_id, is_again=is_again, arrival_ns=NOW + SECOND))
            assert (again.repeated, len(again.readings.index), again.waveforms, again.keys) == (1, 0, [], [])


def test_a_message_without_a_time_is_taken_once_when_the_broker_sends_it_again() -> None:
    gateway = Gateway()
    gateway.take(UNTIMED)
    assert gateway.take(UNTIMED._replace(is_again=True)).repeated == 1


def test_a_sensor_that_says_the_same_without_a_time_loses_nothing() -> None:
    gateway = Gateway()
    entries = [gateway.take(UNTIMED._replace(packet_id=i, arrival_ns=NOW + i)) for i in range(7, 12)]
    # Lost on the way and sent again by the broker, but never here before: another packet id.
    entries.append(gateway.take(UNTIMED._replace(packet_id=12, is_again=True, arrival_ns=NOW + 12)))
    assert [entry.readings.time_ns.tolist() for entry in entries] == [[NOW + i] for i in range(7, 13)]


def test_a_repetition_within_one_group_is_left_out_too() -> None:
    entry = Gateway().take(TIMED, UNTIMED, TIMED._replace(packet_id=9), UNTIMED._replace(packet_id=10))
    assert entry.repeated == 1
    assert entry.readings.value.tolist() == [5.0, 5.0, 5.0]


def test_the_same_payload_on_another_topic_is_another_message() -> None:
    gateway = Gateway()
    gateway.take(TIMED)
    assert gateway.take(TIMED._replace(topic="f/m2/t")).repeated == 0


def test_another_value_at_the_same_time_is_another_message() -> None:
    gateway = Gateway()
    gateway.take(TIMED)
    assert gateway.take(message("f/m1/t", {"ts": 1_760_000_000, "value": 6}, 8)).repeated == 0


def test_equal_messages_without_a_time_that_were_under_way_together_are_each_known_again() -> None:
    gateway = Gateway()
    several = [UNTIMED._replace(packet_id=i) for i in range(20, 30)]
    gateway.take(*several)
    entry = gateway.take(*[one._replace(is_again=True) for one in several], UNTIMED._replace(packet_id=30))
    assert (entry.repeated, entry.packet_ids) == (10, [30])


def test_a_message_without_a_time_that_comes_again_within_one_group_is_taken_once() -> None:
    entry = Gateway().take(UNTIMED, UNTIMED._replace(packet_id=8), UNTIMED._replace(is_again=True))
    assert (entry.repeated, entry.packet_ids) == (1, [7, 8])


@given(st.lists(st.integers(0, 40), max_size=120), st.integers(1, 20))
def test_the_memory_holds_at_least_the_last_limit_and_at_most_twice_as_many(keys: list[int], limit: int) -> None:
    recent = Recent(limit)
    for i, key in enumerate(keys):
        recent.add([key], [i % 7 + 1])
        assert recent.was_delivered(key, i % 7 + 1)
        newest = set(keys[max(0, i + 1 - limit) : i + 1])
        assert all(known in recent for known in newest)
        assert not recent.knows_none([key])
        assert sum(known in recent for known in range(41)) <= 2 * limit


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 65_535))))
def test_keys_survive_the_journal(pairs: list[tuple[int, int]]) -> None:
    keys, packet_ids = [key for key, _ in pairs], [packet_id for _, packet_id in pairs]
    packed = pack_keys(keys, packet_ids)
    assert count_keys(packed) == len(pairs)
    assert unpack_keys([packed, packed]) == (2 * keys, 2 * packet_ids)


def test_keys_tell_topics_and_payloads_apart() -> None:
    payloads = [b"", b"a", b"b", b"ab"]
    keys = [
        message_keys([payload], [topic_seed(topic)])[0] for payload in payloads for topic in ("", "a", "b", "\ud800")
    ]
    assert len(set(keys)) == 16


def test_a_topic_that_never_has_the_common_form_is_soon_decoded_one_by_one_and_loses_nothing() -> None:
    gateway = Gateway()
    for i in range(30):
        mixed = [
            message("f/m1/t", {"timestamp": 1_760_000_000 + i, "v": i}),
            message("f/m2/t", {"ts": NOW + i, "value": i}),
        ]
        entry = gateway.take(*mixed)
        np.testing.assert_array_equal(entry.readings.value, [i, i])
        assert not entry.deadletters


def test_no_payload_raises_anything_but_a_dead_letter() -> None:
    for payload in (b'{"ts": 1760000000, "value": 1e999}', b'{"ts": 99999999999999999999, "value": 1}', b"\xff"):
        entry = Gateway().take(Message("f/m1/t", payload, NOW))
        assert len(entry.deadletters) == 1
