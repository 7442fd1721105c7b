"""Every payload format, driven by one table of what each payload must come to (tests/formats)."""

import struct
import tracemalloc
from datetime import UTC
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from edge_agent.config import EdgeConfig, Topic
from edge_agent.core.decode import simple_decoders_of
from edge_agent.core.decode.cbor_reader import cbor_reader
from edge_agent.core.errors import DecodeError
from edge_agent.core.intake import Entry, Intake, Message
from tests.formats.binary_cases import COMPRESSORS, ENCODERS, MOMENT, SINGLE
from tests.formats.case import ARRIVAL, LIMIT, SECOND, Case, decode, full, rows, topic
from tests.formats.sound import REASONS, assert_sound
from tests.formats.table import CASES, READ, REFUSED


@pytest.mark.parametrize("case", READ, ids=str)
def test_a_payload_gives_its_readings_in_its_order_and_the_values_as_they_are_sent(case: Case) -> None:
    decoded = decode(case.setting, case.payload, case.channel)
    assert rows(decoded) == [full(row) for row in case.expected if not isinstance(row, str)]
    assert (decoded.skipped, decoded.waveforms) == (case.skipped, [])
    assert {type(value) for _, _, value, _ in rows(decoded)} <= {float}
    assert_sound(case.setting, case.payload, case.channel)


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_what_cannot_be_read_is_refused_with_its_reason(case: Case) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(case.setting, case.payload, case.channel)
    assert caught.value.reason == case.expected
    assert 0 < len(str(caught.value)) < 300


def test_the_table_has_each_reason_and_each_format() -> None:
    formats = Topic.model_fields["format"].annotation.__args__  # type: ignore[union-attr]
    assert {case.expected for case in REFUSED} == REASONS
    assert {case.setting.format for case in READ} >= set(formats) - {"sparkplug-b"}


@pytest.mark.parametrize(
    ("payload", "setting"),
    [
        (b'{"name": "press five"}', "`states`, `texts` or `fields`"),
        (b'{"data": {"t": 3}}', "`states`, `texts` or `fields`"),
        (b'{"a": true}', "`booleans`"),
        (b'{"a": null}', "`nulls`"),
    ],
)
def test_a_refused_value_names_the_settings_that_would_say_what_it_means(payload: bytes, setting: str) -> None:
    with pytest.raises(DecodeError, match=f"is no finite number; {setting} of the topic"):
        decode(topic(), payload, None)


def test_a_message_is_timed_if_all_its_readings_are() -> None:
    for case in READ:
        decoded = decode(case.setting, case.payload, case.channel)
        if case.setting.format not in {"senml-json", "senml-cbor"}:  # which know relative times
            untimed = any(time_ns is None for _, time_ns, _, _ in rows(decoded))
            assert decoded.is_timed == (not untimed and not any(c.quality == 0x43 for c in decoded.columns))


def test_cbor_refuses_every_tag_but_those_that_a_format_names() -> None:
    read = cbor_reader({4: lambda _raw, _is_immutable: 5}, 4, has_text_keys=True)
    for number in [*range(1500), 43_000, 55_799, 2**16, 2**32, 2**63]:
        payload = cbor2.dumps([cbor2.CBORTag(number, 0)])
        if number == 4:
            assert read(payload) == [5]
        else:
            with pytest.raises(DecodeError):
                read(payload)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_payload_that_unpacks_to_the_very_limit_is_taken(compression: str) -> None:
    payload = COMPRESSORS[compression](SINGLE.ljust(LIMIT))
    assert decode(topic(compression=compression), payload) == decode(topic(), SINGLE)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_bomb_is_found_within_the_memory_that_the_bound_allows(compression: str) -> None:
    bomb = COMPRESSORS[compression](bytes(200 * LIMIT))
    assert len(bomb) < LIMIT
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError, match="unpacked"):
            decode(topic(compression=compression), bomb)
        assert tracemalloc.get_traced_memory()[1] < 4 * LIMIT
    finally:
        tracemalloc.stop()


SETTINGS = {case.setting.model_dump_json(): case.setting for case in CASES}.values()
distinct = st.sampled_from(list(SETTINGS))
channels = st.sampled_from([None, "t"])
texts = st.sampled_from(
    ["ts", "time", "value", "v", "values", "dt", "channel", "meta", "data", "tag", "id", "q", "t"]
) | st.text(max_size=4)
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | texts
    | st.binary(max_size=4)
    | st.datetimes(timezones=st.just(UTC))
)
contents = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=8
)


@given(distinct, st.binary(max_size=60), st.booleans(), channels)
@settings(deadline=None, max_examples=500)
def test_any_bytes_are_read_or_refused_with_a_decode_error(
    setting: Topic, payload: bytes, is_packed: bool, channel: str | None
) -> None:
    assert_sound(setting, COMPRESSORS[setting.compression](payload) if is_packed else payload, channel)


@given(st.sampled_from([case for case in CASES if len(case.payload) < 1000]), st.data(), channels)
@settings(deadline=None, max_examples=1000)
def test_any_case_with_a_piece_replaced_is_read_or_refused_with_a_decode_error(
    case: Case, data: st.DataObject, channel: str | None
) -> None:
    begin = data.draw(st.integers(0, len(case.payload)))
    end = data.draw(st.integers(begin, min(begin + 4, len(case.payload))))
    payload = case.payload[:begin] + data.draw(st.binary(max_size=3)) + case.payload[end:]
    assert_sound(case.setting, payload, channel)


CONTENT = [setting for setting in SETTINGS if setting.format in ENCODERS and setting.compression == "none"]


@given(st.sampled_from(CONTENT), contents, channels)
@settings(deadline=None, max_examples=1000)
def test_any_content_is_read_or_refused_with_a_decode_error(setting: Topic, content: Any, channel: str | None) -> None:
    try:
        payload = ENCODERS[setting.format](content)
    except (TypeError, ValueError):  # JSON has no bytes
        payload = b"[]"
    assert_sound(setting, payload, channel)


def take(payload: bytes, **setting: Any) -> Entry:
    config = EdgeConfig.model_validate(
        {
            "site": "s",
            "gateway": "g",
            "state_dir": "state",
            "topics": [{"template": "f/{asset}/{channel}"} | setting],
            "channels": [{"match": "*/vib", "kind": "waveform"}, {"match": "*/*"}],
            "assets": [{"match": "*"}],
            "limits": {"payload_bytes": 4096},
        }
    )
    channel = "vib" if "dtype" in setting else "t"
    return Intake(config).take([Message(f"f/m1/{channel}", payload, ARRIVAL)])


def test_the_agent_decodes_each_topic_as_its_configuration_says() -> None:
    for form, encode in ENCODERS.items():
        for compression, compress in COMPRESSORS.items():
            payload = compress(encode({"ts": 1_700_000_000, "value": 5}))
            entry = take(payload, format=form, compression=compression)
            assert (entry.readings.value.tolist(), entry.readings.time_ns.tolist()) == ([5.0], [MOMENT])
    (waveform,) = take(struct.pack(">2h", 1, -1), format="raw", dtype=">i2", rate_hz=10.0).waveforms
    assert (struct.unpack("<2f", waveform.samples), waveform.time_ns) == ((1.0, -1.0), ARRIVAL - SECOND // 10)


def test_a_bomb_becomes_a_dead_letter_by_the_limit_of_the_configuration() -> None:
    for compression in ("gzip", "zstd"):
        (dead,) = take(COMPRESSORS[compression](SINGLE.ljust(4097)), compression=compression).deadletters
        assert dead.reason == "too_large"


def test_the_fast_way_is_for_plain_json_however_its_values_are_read() -> None:
    assert simple_decoders_of(topic())
    assert simple_decoders_of(topic(nulls="skip", texts="skip", booleans="number", states={"ON": 1}))
    for setting in (topic(compression="gzip"), topic(time_unit="s"), topic(fields={"value": "x"}), topic("cbor")):
        assert not simple_decoders_of(setting)


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ({"format": "raw", "rate_hz": 1.0}, "dtype"),
        ({"format": "raw", "dtype": "<i2"}, "rate_hz"),
        ({"format": "raw", "dtype": "<i3", "rate_hz": 1.0}, "dtype"),
        ({"format": "raw", "dtype": "<i2", "rate_hz": 0.0}, "rate_hz"),
        ({"format": "raw", "dtype": "<i2", "rate_hz": 1.0, "scale": 0.0}, "scale"),
        ({"format": "raw", "dtype": "<i2", "rate_hz": 1.0, "template": "f/{asset}"}, "channel"),
        ({"format": "json", "dtype": "<i2"}, 'format = "raw"'),
        ({"format": "cbor", "scale": 2.0}, 'format = "raw"'),
        ({"fields": {"value": "a..b"}}, "fields"),
        ({"fields": {"value": []}}, "fields"),
        ({"fields": {"wrong": "a"}}, "wrong"),
        ({"fields": {"channel": "a"}}, "take one"),
        ({"format": "senml-json", "fields": {"value": "a"}}, "fields is for"),
        ({"format": "influx-line", "nulls": "skip"}, "nulls is for"),
        ({"format": "senml-cbor", "time_unit": "s"}, "time_unit is for"),
        ({"format": "raw", "dtype": "<i2", "rate_hz": 1.0, "states": {"ON": 1}}, "states is for"),
        ({"decimal_comma": True}, "numbers_in_text"),
        ({"format": "text", "fields": {"value": "a"}}, "fields is for"),
        ({"format": "text", "template": "f/{asset}"}, "channel"),
        ({"quality_codes": "opc-ua"}, "fields.quality"),
        ({"states": {"ON": "x"}}, "states"),
        ({"compression": "brotli"}, "compression"),
    ],
)
def test_settings_that_do_not_fit_the_format_are_refused(setting: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        Topic.model_validate({"template": "f/{asset}/{channel}"} | setting)
