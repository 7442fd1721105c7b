"""Event times in every notation, and the fast way for the commonest JSON against the usual one."""

import json
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge_agent.core.decode.json import decode_json
from edge_agent.core.decode.json_simple import Together, decode_columns, decode_singles
from edge_agent.core.decode.times import parse_time_ns, parse_times_ns
from edge_agent.core.errors import DecodeError
from tests.formats.case import ARRIVAL, SECOND, rows


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


@given(st.integers(100_000_000, 9_000_000_000))
def test_seconds_milliseconds_microseconds_and_nanoseconds_of_a_moment_are_the_same_time(second: int) -> None:
    assert {parse_time_ns(second * factor) for factor in (1, 1000, 10**6, 10**9)} == {second * SECOND}


@given(st.lists(st.integers(-(2**70), 2**70) | st.integers(0, 10**10) | st.floats(), max_size=5))
def test_many_times_are_read_as_each_of_them(raws: list[float]) -> None:
    try:
        expected = [parse_time_ns(raw) for raw in raws]
    except DecodeError:
        with pytest.raises(DecodeError):
            parse_times_ns(raws)
    else:
        assert parse_times_ns(raws).tolist() == expected


numbers = st.one_of(
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.sampled_from([0, -1, 10**11, 10**14, 10**17, 10**18, 2**62, 2**63, -(2**63), 1e308, -0.0]),
)
odd = st.sampled_from(
    [
        b"",
        b"{}",
        b"1",
        b"null",
        b'{"ts": 1}',
        b'{"ts": 1, "value": 1, "x": 2}',
        b'{"ts": "2025-01-01", "value": 1}',
        b'{"ts":1,"value":NaN}',
        b'{"ts":1,"value":1e999}',
        b'{"ts":1,"ts":2,"value":3}',
        b'{"ts":-0,"value":-0}',
        b'{"ts": 1, "value": true}',
        b'{"ts": true, "value": 1}',
        b' {"value": 1.50, "ts" : 7}\n',
        b'{"ts":1.0,"value":1}',
        b'{"ts":1,"dt":1,"values":[]}',
        b'{"ts":1,"dt":0,"values":[1]}',
        b'{"ts":1,"dt":-1,"values":[1]}',
        b'{"ts":1,"dt":86400,"values":[1]}',
        b'{"ts":1,"dt":1e-300,"values":[1,2]}',
        b'{"ts":1,"dt":1,"values":[1,null]}',
        b'{"ts":1,"dt":1,"values":[1,true]}',
        b'{"ts":1,"dt":1,"values":[1,"2"]}',
        b'{"ts":1,"dt":1,"values":{"a":[1]}}',
        b'{"ts":[1],"values":[1]}',
        b'{"dt":1,"values":[1]}',
        b' {"values":[1,2.5,-0,1e-400,12345678901234567890123],"dt":2,"ts":7}',
        b'{"ts":1,"dt":1,"values":[1],"x":2}',
    ]
)
singles = st.builds(lambda ts, v: json.dumps({"ts": ts, "value": v}).encode(), numbers, numbers)
columns = st.builds(
    lambda ts, dt, values: json.dumps({"ts": ts, "dt": dt, "values": values}).encode(),
    numbers,
    st.floats(0, 90_000) | st.sampled_from([1, 0.1, 1e-9, 86_399]),
    st.lists(numbers, max_size=4),
)


@pytest.mark.parametrize("decode", [decode_singles, decode_columns])
@given(some=st.lists(singles | columns | odd | st.binary(), min_size=1, max_size=4))
@example(some=[b'{"ts": 9223372037, "value": 0}'])  # the first second of 2262 whose ns do not fit an int64
@settings(deadline=None, max_examples=400)
def test_decoding_many_at_once_agrees_with_decoding_one_by_one(
    decode: Callable[[list[bytes]], Together | None], some: list[bytes]
) -> None:
    together = decode(some)
    if together is None:
        return
    one_by_one = [rows(decode_json(payload, "a", "c", ARRIVAL)) for payload in some]
    assert [time_ns for readings in one_by_one for _, time_ns, _, _ in readings] == together.time_ns.tolist()
    assert [value for readings in one_by_one for _, _, value, _ in readings] == together.value.tolist()
    counts = np.ones(len(some)) if together.counts is None else together.counts
    assert counts.tolist() == [len(readings) for readings in one_by_one]


@given(st.lists(st.tuples(st.integers(0, 4_000_000_000), numbers), max_size=4))
def test_the_common_forms_are_decoded_at_once(pairs: list[tuple[int, float]]) -> None:
    plain = all(abs(value) < 1e300 for _, value in pairs)
    single = decode_singles([json.dumps({"ts": ts, "value": value}).encode() for ts, value in pairs])
    column = decode_columns([json.dumps({"ts": ts, "dt": 1, "values": [value]}).encode() for ts, value in pairs])
    assert (single is not None) >= plain
    assert (column is not None) >= plain
