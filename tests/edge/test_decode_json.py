"""JSON payloads and event times: what is read, and what is refused for which reason."""

import struct
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.core.decode import DECODERS
from edge_agent.core.decode.json import decode_json
from edge_agent.core.decode.times import parse_time_ns
from edge_agent.core.errors import DecodeError
from edge_agent.core.readings import Decoded, Value

ARRIVAL = 1_760_000_000_000_000_000
SECOND = 1_000_000_000

VALUES: list[tuple[str, str | None, list[tuple[str, int | None, float]]]] = [
    # One reading; the topic names the channel.
    ('{"ts": 1700000000123, "value": 21.5}', "t", [("t", 1_700_000_000_123_000_000, 21.5)]),
    ('{"time": 1700000000, "v": -3}', "t", [("t", 1_700_000_000 * SECOND, -3.0)]),
    ('{"timestamp": "2023-11-14T22:13:20Z", "value": 0}', "t", [("t", 1_700_000_000 * SECOND, 0.0)]),
    ('{"value": 1e-3}', "t", [("t", None, 0.001)]),
    ('{"ts": null, "value": 1}', "t", [("t", None, 1.0)]),
    ('{"ts": 1, "value": 1, "channel": "other"}', "t", [("t", SECOND, 1.0)]),
    ("21.5", "t", [("t", None, 21.5)]),
    ("7", "t", [("t", None, 7.0)]),
    # One reading that names its channel.
    ('{"ts": 1, "value": 1, "channel": "p"}', None, [("p", SECOND, 1.0)]),
    # Many readings of one channel, in their order.
    ('[{"ts": 2, "value": 1}, {"ts": 1, "v": 2}]', "t", [("t", 2 * SECOND, 1.0), ("t", SECOND, 2.0)]),
    ('[{"ts": 2, "value": 1, "channel": "p"}, {"v": 2, "channel": "q"}]', None, [("p", 2 * SECOND, 1), ("q", None, 2)]),
    # Many channels of an asset, nested and flat.
    ('{"ts": 1, "values": {"t": 21.5, "p": 2}}', None, [("t", SECOND, 21.5), ("p", SECOND, 2.0)]),
    ('{"ts": 1, "t": 21.5, "p": 2}', None, [("t", SECOND, 21.5), ("p", SECOND, 2.0)]),
    ('{"t": 21.5}', None, [("t", None, 21.5)]),
]


@pytest.mark.parametrize(("payload", "channel", "expected"), VALUES)
def test_each_shape_gives_its_readings_in_the_payloads_order(
    payload: str, channel: str | None, expected: list[tuple[str, int | None, float]]
) -> None:
    decoded = decode_json(payload.encode(), "m1", channel, ARRIVAL)
    assert decoded.values == [Value(("m1", name), time_ns, value) for name, time_ns, value in expected]
    assert decoded.waveforms == []


def test_a_column_becomes_one_waveform_of_float32_samples() -> None:
    (waveform,) = decode_json(b'{"ts": 5, "dt": 0.000078125, "values": [0.5, -1, 3]}', "m1", "v", ARRIVAL).waveforms
    assert waveform.channel == ("m1", "v")
    assert (waveform.time_ns, waveform.dt_ns) == (5 * SECOND, 78_125)
    assert struct.unpack("<3f", waveform.samples) == (0.5, -1.0, 3.0)


def test_a_column_without_a_time_gets_the_arrival_time() -> None:
    (waveform,) = decode_json(b'{"dt": 1, "values": [1]}', "m1", "v", ARRIVAL).waveforms
    assert waveform.time_ns == ARRIVAL


NESTED = "[" * 1000 + "]" * 1000  # legal JSON, deeper than Python's own repr can go

REFUSED: list[tuple[str, str | None, str]] = [
    ("", "t", "json"),
    ("{", "t", "json"),
    ('{"value": NaN}', "t", "json"),
    ('{"value": Infinity}', "t", "json"),
    ('{"value": 1e999}', "t", "json"),
    ("[" * 100_000, "t", "json"),
    ("null", "t", "shape"),
    ('"21.5"', "t", "shape"),
    ("21.5", None, "shape"),
    ("{}", "t", "shape"),
    ('{"ts": 1}', "t", "shape"),
    ('{"ts": 1, "values": {}}', "t", "shape"),
    ("[1, 2]", "t", "shape"),
    ('[{"value": 1}, null]', "t", "shape"),
    ('[{"ts": 1}]', "t", "shape"),
    (NESTED, "t", "shape"),
    ('{"ts": 1, "value": 1}', None, "channel"),
    ('{"ts": 1, "value": 1, "channel": 7}', None, "channel"),
    ('{"dt": 1, "values": [1]}', None, "channel"),
    ("true", "t", "value"),
    ('{"value": true}', "t", "value"),
    ('{"value": null}', "t", "value"),
    ('{"value": "21.5"}', "t", "value"),
    ('{"value": [1]}', "t", "value"),
    (f'{{"value": {NESTED}}}', "t", "value"),
    ('{"t": 1, "p": false}', None, "value"),
    ('{"values": {"t": 1, "p": null}}', None, "value"),
    ('[{"value": 1}, {"value": "x"}]', "t", "value"),
    ('{"dt": 1, "values": []}', "v", "value"),
    ('{"dt": 1, "values": [1, true]}', "v", "value"),
    ('{"dt": 1, "values": [1, "2"]}', "v", "value"),
    ('{"dt": 1, "values": [1, null]}', "v", "value"),
    ('{"dt": 1, "values": [1, [2]]}', "v", "value"),
    ('{"dt": 1, "values": [1e300]}', "v", "value"),
    ('{"values": [1]}', "v", "shape"),
    ('{"dt": 0, "values": [1]}', "v", "shape"),
    ('{"dt": -1, "values": [1]}', "v", "shape"),
    ('{"dt": true, "values": [1]}', "v", "shape"),
    ('{"dt": "1", "values": [1]}', "v", "shape"),
    ('{"dt": 86400, "values": [1]}', "v", "shape"),
    (f'{{"dt": {NESTED}, "values": [1]}}', "v", "shape"),
    ('{"ts": true, "value": 1}', "t", "time"),
    ('{"ts": [], "value": 1}', "t", "time"),
    ('{"ts": {}, "value": 1}', "t", "time"),
    ('{"ts": "yesterday", "value": 1}', "t", "time"),
    ('{"ts": "", "value": 1}', "t", "time"),
    ('{"ts": "2024-02-30", "value": 1}', "t", "time"),
    (f'{{"ts": {NESTED}, "value": 1}}', "t", "time"),
]


@pytest.mark.parametrize(("payload", "channel", "reason"), REFUSED, ids=lambda value: str(value)[:30])
def test_what_cannot_be_read_is_refused_with_its_reason(payload: str, channel: str | None, reason: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_json(payload.encode(), "m1", channel, ARRIVAL)
    assert caught.value.reason == reason
    assert 0 < len(str(caught.value)) < 300


numbers = st.one_of(
    st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 2_000_000_000)
)
leaves = st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=5), st.just("2024-01-01T00:00:00Z"))
keys = st.one_of(
    st.sampled_from(["ts", "time", "timestamp", "value", "v", "values", "dt", "channel"]), st.text(max_size=5)
)
json_values = st.recursive(
    leaves, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)), max_leaves=8
)


def decoded_or_reason(payload: bytes, channel: str | None) -> Decoded | str:
    try:
        return DECODERS["json"](payload, "m1", channel, ARRIVAL)
    except DecodeError as error:
        return error.reason


def assert_sound(payload: bytes, channel: str | None) -> None:
    decoded = decoded_or_reason(payload, channel)
    if isinstance(decoded, str):
        assert decoded in {"json", "shape", "channel", "value", "time"}
        return
    for key, time_ns, value in decoded.values:
        assert key[0] == "m1"
        assert time_ns is None or type(time_ns) is int
        assert type(value) is float
        assert value - value == 0  # finite
    for waveform in decoded.waveforms:
        assert waveform.dt_ns > 0
        assert len(waveform.samples) % 4 == 0
        assert waveform.samples


@given(st.binary(max_size=60), st.sampled_from([None, "t"]))
@settings(deadline=None)
def test_any_bytes_are_read_or_refused_with_a_decode_error(payload: bytes, channel: str | None) -> None:
    assert_sound(payload, channel)


@given(json_values, st.sampled_from([None, "t"]))
@settings(deadline=None, max_examples=300)
def test_any_json_is_read_or_refused_with_a_decode_error(content: Any, channel: str | None) -> None:
    assert_sound(orjson.dumps(content), channel)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (0, 0),
        (1_700_000_000, 1_700_000_000 * SECOND),
        (1_700_000_000_123, 1_700_000_000_123_000_000),
        (1_700_000_000_123_456, 1_700_000_000_123_456_000),
        (1_700_000_000_123_456_789, 1_700_000_000_123_456_789),
        (7_258_118_400, 7_258_118_400 * SECOND),  # 2200
        (7_258_118_400_000, 7_258_118_400 * SECOND),
        (-1, -SECOND),
        (0.1, 100_000_000),
        (1_700_000_000.5, 1_700_000_000_500_000_000),
        (1_700_000_000.1, 1_700_000_000_100_000_000),
        (1_700_000_000_123.5, 1_700_000_000_123_500_000),
        ("1970-01-01T00:00:00", 0),
        ("2023-11-14T22:13:20", 1_700_000_000 * SECOND),
        ("2023-11-14T22:13:20.123456Z", 1_700_000_000_123_456_000),
        ("2023-11-15T00:13:20+02:00", 1_700_000_000 * SECOND),
        (" 2023-11-14 22:13:20+00:00 ", 1_700_000_000 * SECOND),
        ("2200-01-01", 7_258_118_400 * SECOND),
        ("1969-12-31T23:59:59Z", -SECOND),
    ],
)
def test_a_time_in_any_notation_is_nanoseconds_since_1970(raw: object, expected: int) -> None:
    assert parse_time_ns(raw) == expected


@given(st.integers(100_000_000, 99_999_999_999))
def test_seconds_milliseconds_microseconds_and_nanoseconds_of_a_moment_are_the_same_time(second: int) -> None:
    assert {parse_time_ns(second * factor) for factor in (1, 1000, 10**6, 10**9)} == {second * SECOND}
