"""Payloads of Sparkplug B: the bytes that the specification wants, and no others."""

import math
import struct
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge_agent.core.errors import DecodeError
from edge_agent.core.sparkplug.outgoing import HostState, rebirth
from edge_agent.core.sparkplug.payload import MAX_DEPTH, MAX_METRICS, parse
from edge_agent.core.sparkplug.values import is_reading, number
from models.contract.quality import Quality
from tests.sparkplug_node import CODES, M, payload

# By hand: tag = field number << 3 | wire type; 0 varint, 1 eight bytes, 2 length and content, 5 four bytes.
TEMPERATURE = b"".join(
    (
        b"\x0a\x01T",  # 1 name
        b"\x10\x07",  # 2 alias 7
        b"\x18\x90\x4e",  # 3 timestamp 10000
        b"\x20\x09",  # 4 datatype Float
        b"\x28\x01",  # 5 is_historical
        b"\x4a\x10\x0a\x07Quality\x12\x05\x08\x03\x18\xf4\x03",  # 9 properties: Quality, an Int32, 500
        b"\x65" + struct.pack("<f", 21.5),  # 12 float_value
    )
)
COUNT = b"\x10\x08" + b"\x20\x03" + b"\x50" + b"\xfe\xff\xff\xff\x0f"  # alias 8, Int32, 10 int_value: -2
FLAG = b"\x0a\x01F" + b"\x20\x0b" + b"\x70\x01"  # Boolean, 14 boolean_value
NOTHING = b"\x0a\x01N" + b"\x20\x0a" + b"\x38\x01"  # Double, 7 is_null
MESSAGE = (
    b"\x08\x88\x27" + b"".join(bytes([0x12, len(m)]) + m for m in (TEMPERATURE, COUNT, FLAG, NOTHING)) + b"\x18\x05"
)


def test_the_encoder_of_the_tests_writes_what_was_written_by_hand() -> None:
    metrics = [
        M(21.5, "Float", "T", 7, 10_000, quality=500, is_historical=True),
        M(-2, "Int32", alias=8),
        M(True, "Boolean", "F"),
        M(None, "Double", "N"),
    ]
    assert payload(metrics, seq=5, time_ms=5000) == MESSAGE


def test_what_was_written_by_hand_is_read() -> None:
    said = parse(MESSAGE)
    assert (said.time_ms, said.seq, said.bd_seq) == (5000, 5, None)
    temperature, count, flag, nothing = said.metrics
    assert (temperature.name, temperature.alias, temperature.time_ms, temperature.value) == ("T", 7, 10_000, 21.5)
    assert temperature.quality == Quality.UNCERTAIN_STALE
    assert (count.name, count.alias, count.field) == (None, 8, "int_value")
    assert number(3, "int_value", count.value, "c") == -2
    assert (flag.datatype, flag.value) == (11, True)
    assert (nothing.field, nothing.quality) == (None, Quality.GOOD)


def test_the_command_for_births_is_as_the_specification_writes_it() -> None:
    metric = b"\x0a\x14Node Control/Rebirth" + b"\x18\x88\x27" + b"\x20\x0b" + b"\x70\x01"
    assert rebirth(5000) == b"\x08\x88\x27" + bytes([0x12, len(metric)]) + metric


@pytest.mark.parametrize("payload", [b"", b"offline", b"[]", b"{}", b'{"online": true}', b"\xff", b"[" * 100_000])
def test_only_the_offline_state_denies_a_host(payload: bytes) -> None:
    state = HostState("tocsin")
    assert not state.says_offline(payload)
    assert state.says_offline(state.payload(is_online=False))


@pytest.mark.parametrize(
    ("kind", "field", "sent", "value"),
    [
        ("Int8", "int_value", 0xFFFF_FF80, -128),  # the sign is extended to the field …
        ("Int8", "int_value", 0x80, -128),  # … or not
        ("Int8", "int_value", 127, 127),
        ("Int8", "long_value", 2**64 - 1, -1),
        ("Int16", "int_value", 0xFFFF, -1),
        ("Int16", "int_value", 0x7FFF, 32_767),
        ("Int32", "int_value", 2**32 - 1, -1),
        ("Int32", "int_value", 2**31 - 1, 2**31 - 1),
        ("Int32", "long_value", 2**32 - 5, -5),
        ("Int64", "long_value", 2**64 - 2, -2),
        ("Int64", "int_value", 2**32 - 1, 2**32 - 1),  # 32 bits say nothing of a sign of 64
        ("UInt8", "int_value", 255, 255),
        ("UInt32", "int_value", 2**32 - 1, 2**32 - 1),
        ("UInt32", "long_value", 2**32 - 1, 2**32 - 1),  # as older libraries send it
        ("UInt64", "long_value", 2**64 - 1, 2**64 - 1),
        ("DateTime", "long_value", 1_700_000_000_000, 1_700_000_000_000),
        ("Float", "float_value", 1.5, 1.5),
        ("Double", "double_value", -1e300, -1e300),
        ("Double", "float_value", 1.5, 1.5),
        ("Boolean", "boolean_value", True, 1),
        ("Boolean", "int_value", 0, 0),
        ("Unknown", "int_value", 7, 7),
        ("Unknown", "boolean_value", False, 0),
    ],
)
def test_a_value_comes_back_from_its_form_on_the_wire(kind: str, field: str, sent: Any, value: float) -> None:
    assert is_reading(CODES[kind], field)
    assert number(CODES[kind], field, sent, "m") == float(value)


@pytest.mark.parametrize(
    ("kind", "field", "sent"),
    [
        ("Int8", "int_value", 300),
        ("UInt8", "int_value", 256),
        ("UInt16", "int_value", 0xFFFF_FFFF),
        ("UInt32", "long_value", 2**32),
        ("Boolean", "int_value", 2),
        ("Boolean", "float_value", 1.0),
        ("Float", "int_value", 1),
        ("Double", "string_value", "1"),
        ("Int32", "double_value", 1.0),
        ("Int32", "bytes_value", b"1"),
    ],
)
def test_a_value_that_contradicts_its_type_is_refused(kind: str, field: str, sent: Any) -> None:
    with pytest.raises(DecodeError) as caught:
        number(CODES[kind], field, sent, "m")
    assert caught.value.reason == "value"


@given(st.sampled_from(["Int8", "Int16", "Int32", "Int64"]), st.data())
def test_signed_numbers_survive_the_wire(kind: str, data: st.DataObject) -> None:
    bits = int(kind[3:])
    value = data.draw(st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1))
    (metric,) = parse(payload([M(value, kind, "m")])).metrics
    assert metric.field is not None
    assert number(metric.datatype, metric.field, metric.value, "m") == float(value)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_what_is_not_finite_is_no_value(value: float) -> None:
    assert math.isnan(number(CODES["Double"], "double_value", value, "m"))


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (192, Quality.GOOD),
        (216, Quality.GOOD),
        (0, Quality.BAD_SOURCE),
        (500, Quality.UNCERTAIN_STALE),
        (64, Quality.UNCERTAIN_SOURCE),
        (512, Quality.BAD_SOURCE),
        (2**32 - 1, Quality.BAD_SOURCE),
    ],
)
def test_the_property_quality_becomes_ours(said: int, meant: Quality) -> None:
    assert parse(payload([M(1.0, name="m", quality=said)])).metrics[0].quality == meant


@settings(max_examples=500)
@given(st.binary(max_size=300))
@example(MESSAGE[:-1])
@example(MESSAGE[:40])
@example(b"\x12\x04\x0a\x02\xc3\x28")  # a name that is no UTF-8
@example(b"\x12\x03\x0a\x01\x00")  # one that cannot be printed
@example(b"\x22\x02\xc3\x28")  # a uuid that is no UTF-8
@example(b"\x12\x0c\x4a\x0a\x0a\x02\xc3\x28\x12\x04\x42\x02\xc3\x28")  # a property
@example(b"\x12\x05\x4a\x03\x0a\x01k")  # keys without values
def test_any_bytes_are_a_payload_or_refused(content: bytes) -> None:
    with suppress(DecodeError):
        parse(content)


@settings(max_examples=300)
@given(st.data())
def test_damaged_payloads_are_payloads_or_refused(data: st.DataObject) -> None:
    content = bytearray(MESSAGE)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with suppress(DecodeError):
        parse(bytes(content[: data.draw(st.integers(0, len(content)))]))


def nested(depth: int) -> M:
    inner = M(1.0, "Double", "v")
    for _ in range(depth):
        inner = M((inner,), "Template", "t")
    return inner


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def test_templates_are_nested_so_deep_and_no_deeper() -> None:
    assert parse(payload([nested(MAX_DEPTH)])).metrics[0].members is not None
    with pytest.raises(DecodeError):
        parse(payload([nested(MAX_DEPTH + 1)]))
    content = b""
    for _ in range(1000):
        template = b"\x92\x01" + varint(len(content)) + content
        content = b"\x12" + varint(len(template)) + template
    with pytest.raises(DecodeError):
        parse(content)


def test_more_metrics_than_a_payload_may_have_are_refused_wherever_they_stand() -> None:
    template = b"\x92\x01" + varint(2 * MAX_METRICS) + b"\x12\x00" * MAX_METRICS
    for content in (b"\x12\x00" * (MAX_METRICS + 1), b"\x12" + varint(len(template)) + template):
        with pytest.raises(DecodeError) as caught:
            parse(content)
        assert caught.value.reason == "too_many"


@pytest.mark.parametrize("content", [b"\x18\x80\x02", b"\x22\x12SPBV1.0_COMPRESSED\x2a\x01x"])
def test_a_sequence_number_beyond_255_and_a_compressed_body_are_refused(content: bytes) -> None:
    with pytest.raises(DecodeError):
        parse(content)
