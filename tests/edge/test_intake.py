"""From messages to an entry: what fails is a dead letter, and nothing else is touched."""

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.config import EdgeConfig
from edge_agent.core.intake import HEAD_BYTES, Entry, Intake, Message
from models.contract.quality import Quality

SECOND = 1_000_000_000
ARRIVAL = 1_760_000_000 * SECOND


def config(topic: dict[str, Any] | None = None, **sections: Any) -> EdgeConfig:
    return EdgeConfig.model_validate(
        {
            "site": "s",
            "gateway": "g",
            "state_dir": "state",
            "topics": [
                {"template": template} | (topic or {})
                for template in ("f/{line}/{asset}/{channel}", "f/{line}/{asset}")
            ],
            "channels": [{"match": "*/vib", "kind": "waveform"}, {"match": "m*/t"}, {"match": "m*/p"}],
            "assets": [{"match": "*"}],
        }
        | sections
    )


def intake(topic: dict[str, Any] | None = None, **limits: Any) -> Intake:
    return Intake(config(topic, limits=limits))


def message(topic: str, content: Any, arrival_ns: int = ARRIVAL) -> Message:
    return Message(topic, content if isinstance(content, bytes) else json.dumps(content).encode(), arrival_ns)


def rows(entry: Entry) -> list[tuple[tuple[str, str], int, float, int]]:
    readings = entry.readings
    columns = (column.tolist() for column in (readings.index, readings.time_ns, readings.value, readings.quality))
    return [(readings.channels[i], *rest) for i, *rest in zip(*columns, strict=True)]


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
    ("channel", message("f/l1/m1", {"t" * 1000: 1}), {}),
    ("unknown_channel", message("f/l1/m1/speed", {"value": 1}), {}),
    ("unknown_channel", message("f/l1/m1", {"t": 1, "speed": 2}), {}),
    ("unknown_channel", message("f/l1/x1/t", {"value": 1}), {}),
    ("kind", message("f/l1/m1/vib", {"ts": [1_760_000_000], "values": [1]}), {}),
    ("value", message("f/l1/m1/vib", {"dt": 1, "values": [1e300]}), {}),
    ("kind", message("f/l1/m1/vib", {"value": 1}), {}),
    ("too_large", message("f/l1/m1/t", b'{"value": 1}' + b" " * 100), {"payload_bytes": 100}),
    ("too_many", message("f/l1/m1/t", [{"value": 1}] * 4), {"readings_per_message": 3}),
    (
        "too_many",
        message("f/l1/m1/t", {"ts": 1_759_999_990, "dt": 1, "values": [1, 2, 3, 4]}),
        {"readings_per_message": 3},
    ),
    ("too_many", message("f/l1/m1/vib", {"dt": 1, "values": [1, 2, 3, 4]}), {"readings_per_message": 3}),
    ("time_range", message("f/l1/m1/t", {"ts": 0, "value": 1}), {}),  # 1970
    ("time_range", message("f/l1/m1/t", {"ts": -1, "value": 1}), {}),
    ("time_range", message("f/l1/m1/t", {"ts": "1999-12-31T23:59:59Z", "value": 1}), {}),
    ("time_range", message("f/l1/m1/t", {"ts": "2200-01-01T00:00:00Z", "value": 1}), {}),
    ("time_range", message("f/l1/m1/t", {"ts": 2**63 - 1, "value": 1}), {}),
    ("time_range", message("f/l1/m1/t", {"ts": 1_759_999_999, "dt": 62, "values": [1, 2]}), {"future_s": 60.0}),
    ("time_range", message("f/l1/m1/t", {"ts": [1_760_000_000, 1, 1_760_000_000], "values": [1, 2, 3]}), {}),
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
    assert rows(entry) == [
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


TIMED_COLUMN = {"ts": 1_759_999_000, "dt": 0.1, "values": [0.1, 2, -3]}


def test_a_column_of_a_value_channel_becomes_readings_and_of_a_waveform_channel_a_waveform() -> None:
    entry = intake().take([message("f/l1/m1/t", TIMED_COLUMN), message("f/l1/m1/vib", TIMED_COLUMN)])
    first_ns = 1_759_999_000 * SECOND
    assert rows(entry) == [
        (("m1", "t"), first_ns + i * SECOND // 10, value, Quality.GOOD) for i, value in enumerate((0.1, 2.0, -3.0))
    ]
    (waveform,) = entry.waveforms
    assert (waveform.channel, waveform.position) == (("m1", "vib"), 3)
    assert (waveform.time_ns, waveform.dt_ns, waveform.quality) == (first_ns, SECOND // 10, Quality.GOOD)
    assert waveform.samples == np.array([0.1, 2, -3], "<f4").tobytes()


def test_a_column_without_a_time_ends_at_its_arrival_and_is_marked() -> None:
    column = {"dt": 1, "values": [1, 2]}
    entry = intake().take([message("f/l1/m1/t", column), message("f/l1/m1/vib", column)])
    mark = Quality.UNCERTAIN_ARRIVAL_TIME
    assert rows(entry) == [(("m1", "t"), ARRIVAL - SECOND, 1.0, mark), (("m1", "t"), ARRIVAL, 2.0, mark)]
    (waveform,) = entry.waveforms
    assert (waveform.time_ns, waveform.quality) == (ARRIVAL - SECOND, mark)


def test_what_the_settings_leave_out_is_counted_and_the_rest_of_the_message_counts() -> None:
    entry = intake(topic={"nulls": "skip", "booleans": "number"}).take(
        [
            message("f/l1/m1", {"ts": 1_760_000_000, "t": None, "p": True}),
            message("f/l1/m1/t", {"value": None}),
            message("f/l1/m1/p", {"ts": 1_759_999_000, "dt": 1, "values": [None, 5]}),
        ]
    )
    assert (entry.deadletters, entry.skipped, len(entry.keys)) == ([], 3, 3)
    assert rows(entry) == [(("m1", "p"), ARRIVAL, 1.0, 0), (("m1", "p"), ARRIVAL - 999 * SECOND, 5.0, 0)]


def test_the_senders_quality_travels_with_the_value_and_outweighs_a_missing_time() -> None:
    entry = intake(topic={"fields": {"quality": "q"}}).take(
        [
            message("f/l1/m1/t", {"ts": 1_760_000_000, "value": 1, "q": "bad"}),
            message("f/l1/m1/t", {"value": 2, "q": "uncertain"}),
            message("f/l1/m1/t", {"value": 3, "q": "good"}),
            message("f/l1/m1/t", {"dt": 1, "values": [4], "q": False}),
        ]
    )
    uncertain = (Quality.UNCERTAIN_SOURCE, Quality.UNCERTAIN_ARRIVAL_TIME)
    assert entry.readings.quality.tolist() == [Quality.BAD_SOURCE, *uncertain, Quality.BAD_SOURCE]


times = st.sampled_from([1_759_999_000, 1_759_999_000_123, "2025-10-09T08:00:00Z", None, 0])
values = st.lists(st.sampled_from([1, -0.5, 1e300, 7]), min_size=1, max_size=4)
column_messages = st.lists(
    st.tuples(
        st.sampled_from(["f/l1/m1/t", "f/l1/m1/p", "f/l1/m2/t", "f/l1/m1/vib", "f/l1/m1"]),
        st.builds(
            lambda ts, dt, column: {"ts": ts, "dt": dt, "values": column}, times, st.sampled_from([1, 0.01]), values
        )
        | st.builds(lambda ts, column: {"ts": [ts] * len(column), "values": column}, times, values)
        | st.builds(lambda ts, a, b: {"ts": ts, "dt": 1, "values": {"t": a, "p": b}}, times, values, values)
        | st.builds(lambda ts, value: {"ts": ts, "value": value}, times, st.sampled_from([1, 2.5])),
    ),
    max_size=30,
    unique_by=json.dumps,
)


@given(column_messages, st.lists(st.integers(0, 30), max_size=4))
@settings(deadline=None)
def test_columns_and_single_readings_come_to_the_same_however_they_are_cut_into_batches(
    contents: list[tuple[str, Any]], cuts: list[int]
) -> None:
    messages = [message(topic, content, ARRIVAL + i) for i, (topic, content) in enumerate(contents)]
    whole = intake(future_s=10_000.0).take(messages)
    one = intake(future_s=10_000.0)
    bounds = [0, *sorted(min(cut, len(messages)) for cut in cuts), len(messages)]
    parts = [one.take(messages[begin:end]) for begin, end in pairwise(bounds)]
    assert [row for part in parts for row in rows(part)] == rows(whole)
    assert [w.samples for part in parts for w in part.waveforms] == [w.samples for w in whole.waveforms]
    assert [d.reason for part in parts for d in part.deadletters] == [d.reason for d in whole.deadletters]


@pytest.mark.parametrize("channel", ["power", "fused", "regime", "t.mean_60s"])
@pytest.mark.parametrize("way", ["single", "packed", "column"])
def test_a_sensor_cannot_have_the_name_of_a_channel_that_its_asset_derives(channel: str, way: str) -> None:
    derived = {
        "match": "m1",
        "derived": [{"channel": "power", "expression": "t * 2"}],
        "redundant": [{"of": ["t", "p"], "fused": "fused", "max_difference": 1.0}],
        "regimes": [{"name": "on", "when": "t > 1"}],
        "features": [{"of": "t", "window_s": 60, "every_s": 60, "give": ["mean"]}],
    }
    found = config(channels=[{"match": "*/*"}], assets=[derived, {"match": "*"}])
    content = {
        "single": {"ts": 1_760_000_000, "value": 1},
        "packed": {"ts": 1_760_000_000, "values": {channel: 1}},
        "column": {"ts": 1_760_000_000, "dt": 0.1, "values": [1, 2]},
    }[way]

    def topic(asset: str) -> str:
        return f"f/l1/{asset}" if way == "packed" else f"f/l1/{asset}/{channel}"

    entry = Intake(found).take([message(topic("m1"), content), message(topic("m2"), content)])
    (letter,) = entry.deadletters
    assert (letter.topic, letter.reason) == (topic("m1"), "kind")
    assert "needs another name" in letter.text
    assert {asset for (asset, _), *_ in rows(entry)} == {"m2"}
