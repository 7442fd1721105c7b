"""From messages to an entry: what fails is a dead letter, and nothing else is touched."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.config import EdgeConfig
from edge_agent.core.intake import HEAD_BYTES, Intake, Message
from models.contract.quality import Quality

SECOND = 1_000_000_000
ARRIVAL = 1_760_000_000 * SECOND


def intake(**limits: Any) -> Intake:
    return Intake(
        EdgeConfig.model_validate(
            {
                "site": "s",
                "gateway": "g",
                "state_dir": "state",
                "topics": [{"template": "f/{line}/{asset}/{channel}"}, {"template": "f/{line}/{asset}"}],
                "channels": [{"match": "*/vib", "kind": "waveform"}, {"match": "m*/t"}, {"match": "m*/p"}],
                "assets": [{"match": "*"}],
                "limits": limits,
            }
        )
    )


def message(topic: str, content: Any, arrival_ns: int = ARRIVAL) -> Message:
    return Message(topic, content if isinstance(content, bytes) else json.dumps(content).encode(), arrival_ns)


GOOD = [
    message("f/l1/m1/t", {"ts": 1_760_000_000, "value": 1}),
    message("f/l1/m1", {"ts": 1_760_000_001, "t": 2, "p": 3}),
    message("f/l1/m2/vib", {"ts": 1_760_000_000, "dt": 0.001, "values": [1, 2, 3]}),
    message("f/l1/m2/t", {"value": 4}),
]

BAD: list[tuple[str, Message, dict[str, Any]]] = [
    ("topic", message("f/l1/m1/t/x", {"value": 1}), {}),
    ("topic", message("F/l1/m1/t", {"value": 1}), {}),
    ("topic", message("f//m1/t", {"value": 1}), {}),
    ("topic", message("", {"value": 1}), {}),
    ("unknown_channel", message("f/l1/m1/speed", {"value": 1}), {}),
    ("unknown_channel", message("f/l1/m1", {"t": 1, "speed": 2}), {}),
    ("unknown_channel", message("f/l1/x1/t", {"value": 1}), {}),
    ("kind", message("f/l1/m1/t", {"dt": 1, "values": [1]}), {}),
    ("kind", message("f/l1/m1/vib", {"value": 1}), {}),
    ("too_large", message("f/l1/m1/t", b'{"value": 1}' + b" " * 100), {"payload_bytes": 100}),
    ("too_many", message("f/l1/m1/t", [{"value": 1}] * 4), {"readings_per_message": 3}),
    ("too_many", message("f/l1/m1/vib", {"dt": 1, "values": [1, 2, 3, 4]}), {"readings_per_message": 3}),
    ("time_range", message("f/l1/m1/t", {"ts": 0, "value": 1}), {}),  # 1970
    ("time_range", message("f/l1/m1/t", {"ts": -1, "value": 1}), {}),
    ("time_range", message("f/l1/m1/t", {"ts": "1999-12-31T23:59:59Z", "value": 1}), {}),
    ("time_range", message("f/l1/m1/t", {"ts": "2200-01-01T00:00:00Z", "value": 1}), {}),
    ("time_range", message("f/l1/m1/t", {"ts": 1e300, "value": 1}), {}),
    ("time_range", message("f/l1/m1/t", {"ts": -1e300, "value": 1}), {}),
    ("time_range", message("f/l1/m1/t", {"ts": 2**64 - 1, "value": 1}), {}),
    ("time_range", message("f/l1/m1/t", {"ts": 1_760_000_061, "value": 1}), {"future_s": 60.0}),
    ("time_range", message("f/l1/m1/vib", {"ts": 0, "dt": 1, "values": [1]}), {}),
    ("time_range", message("f/l1/m1/t", [{"ts": 1_760_000_000, "value": 1}, {"ts": 0, "value": 1}]), {}),
    ("json", message("f/l1/m1/t", b"\xff" * 1000), {}),
    ("value", message("f/l1/m1/t", {"value": "x"}), {}),
    ("value", message("f/l1/m1/t", b'{"value": ' + b"[" * 1000 + b"]" * 1000 + b"}"), {}),
]


@pytest.mark.parametrize(("reason", "bad", "limits"), BAD)
@pytest.mark.parametrize("at", [0, 2, 4])
def test_a_bad_message_is_one_dead_letter_and_the_others_of_its_batch_are_unaffected(
    reason: str, bad: Message, limits: dict[str, Any], at: int
) -> None:
    alone = intake(**limits).take(GOOD)
    entry = intake(**limits).take([*GOOD[:at], bad, *GOOD[at:]])
    (letter,) = entry.deadletters
    assert (letter.reason, letter.topic, letter.arrival_ns) == (reason, bad.topic, bad.arrival_ns)
    assert letter.size_bytes == len(bad.payload)
    assert letter.head == bad.payload[:HEAD_BYTES]
    assert letter.text
    assert alone.deadletters == []
    assert entry.waveforms == alone.waveforms
    assert entry.readings.channels == alone.readings.channels
    for column in ("index", "time_ns", "value", "quality"):
        np.testing.assert_array_equal(getattr(entry.readings, column), getattr(alone.readings, column))


def test_readings_keep_their_order_and_one_without_a_time_gets_the_arrival_time_and_a_mark() -> None:
    entry = intake().take(GOOD)
    readings = entry.readings
    rows = [
        (readings.channels[i], time_ns, value, quality)
        for i, time_ns, value, quality in zip(
            readings.index.tolist(),
            readings.time_ns.tolist(),
            readings.value.tolist(),
            readings.quality.tolist(),
            strict=True,
        )
    ]
    assert rows == [
        (("m1", "t"), ARRIVAL, 1.0, Quality.GOOD),
        (("m1", "t"), ARRIVAL + SECOND, 2.0, Quality.GOOD),
        (("m1", "p"), ARRIVAL + SECOND, 3.0, Quality.GOOD),
        (("m2", "t"), ARRIVAL, 4.0, Quality.UNCERTAIN_ARRIVAL_TIME),
    ]
    (waveform,) = entry.waveforms
    assert (waveform.channel, waveform.position) == (("m2", "vib"), 3)


def test_what_is_exactly_at_a_limit_is_taken() -> None:
    payload = b'{"ts": 1760000060, "value": 1}'.ljust(100)
    entry = intake(payload_bytes=100, readings_per_message=1, future_s=60.0).take([message("f/l1/m1/t", payload)])
    assert entry.deadletters == []
    assert entry.readings.value.tolist() == [1.0]


def test_a_gateway_whose_clock_stands_in_1970_refuses_no_present_time() -> None:
    entry = intake().take([message("f/l1/m1/t", {"ts": 1_760_000_000, "value": 1}, arrival_ns=5 * SECOND)])
    assert entry.deadletters == []
    assert entry.readings.time_ns.tolist() == [1_760_000_000 * SECOND]


def test_a_clock_that_was_set_back_refuses_no_time_that_lies_ahead_of_it() -> None:
    ahead = [message("f/l1/m1/t", {"ts": 1_760_003_600, "value": 1}), message("f/l1/m1", {"ts": 1_760_003_600, "t": 2})]
    assert [letter.reason for letter in intake().take(ahead).deadletters] == ["time_range"] * 2
    entry = intake().take(ahead, is_clock_behind=True)
    assert entry.deadletters == []
    assert entry.readings.value.tolist() == [1.0, 2.0]


def test_values_of_one_channel_without_a_time_get_a_time_each() -> None:
    entry = intake().take([message("f/l1/m1/t", [{"value": 1}, {"value": 2}, {"value": 3}])])
    assert entry.readings.time_ns.tolist() == [ARRIVAL, ARRIVAL + 1, ARRIVAL + 2]


def test_the_filters_are_those_of_the_templates() -> None:
    assert intake().filters == ["f/+/+/+", "f/+/+"]


topics = st.one_of(st.sampled_from(["f/l/m1/t", "f/l/m1", "f/l/m1/vib", "x"]), st.text(max_size=10))
payloads = st.one_of(
    st.binary(max_size=30),
    st.sampled_from(
        [b'{"value": 1}', b'{"ts": 1760000000, "value": 2}', b'{"dt": 1, "values": [1]}', b'{"t": 1, "p": 2}', b"[]"]
    ),
)


# Each says something else: what comes twice has tests of its own, in test_recent.py.
different = st.lists(
    st.builds(Message, topics, payloads, st.just(ARRIVAL), st.none(), st.integers(0, 65_535), st.booleans()),
    max_size=8,
    unique_by=lambda m: (m.topic, m.payload),
)


@given(different)
@settings(deadline=None)
def test_any_batch_of_messages_is_the_sum_of_its_messages_taken_alone(messages: list[Message]) -> None:
    together = intake().take(messages)
    alone = [intake().take([one]) for one in messages]
    assert together.deadletters == [letter for entry in alone for letter in entry.deadletters]
    assert together.readings.value.tolist() == [v for entry in alone for v in entry.readings.value.tolist()]
    assert [w.samples for w in together.waveforms] == [w.samples for entry in alone for w in entry.waveforms]
