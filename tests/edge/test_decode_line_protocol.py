"""InfluxDB line protocol: what is read, what is refused for which reason, and any bytes."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.core.points import Table
from edge_agent.core.decode import DECODERS
from edge_agent.core.decode.line_protocol import decode_line_protocol
from edge_agent.core.errors import DecodeError
from edge_agent.core.readings import Decoded

NOW = 1_760_000_000_000_000_000

READ: list[tuple[str, list[tuple[str, int | None, float]]]] = [
    ("m f=1", [("m.f", None, 1.0)]),
    ("m f=1 5", [("m.f", 5, 1.0)]),
    ("m f=1 -5", [("m.f", -5, 1.0)]),
    ("m f=1,g=2.5 5\n", [("m.f", 5, 1.0), ("m.g", 5, 2.5)]),
    ("weather,location=hall,sensor=a t=21.5 5", [("weather.hall.a.t", 5, 21.5)]),
    ("weather,sensor=a,location=hall t=21.5 5", [("weather.hall.a.t", 5, 21.5)]),
    (
        "m f=-3i,g=7u,h=+1.5e-3,i=.5,j=2.,k=1E2",
        [("m." + k, None, v) for k, v in zip("fghijk", (-3, 7, 0.0015, 0.5, 2, 100), strict=True)],
    ),
    ("m a=t,b=T,c=true,d=True,e=TRUE", [("m." + k, None, 1.0) for k in "abcde"]),
    ("m a=f,b=F,c=false,d=False,e=FALSE", [("m." + k, None, 0.0) for k in "abcde"]),
    ("m f=9223372036854775807i,g=18446744073709551615u", [("m.f", None, 2.0**63), ("m.g", None, 2.0**64)]),
    # Several lines, blank ones, comments, both kinds of line end, spaces at the ends.
    (
        "# about\n\n m f=1 5 \r\n   # more\nm f=2 6\r\nm f=3\r\n# end",
        [("m.f", 5, 1.0), ("m.f", 6, 2.0), ("m.f", None, 3.0)],
    ),
    ("m  f=1   5", [("m.f", 5, 1.0)]),
    # Escapes.
    (r"my\ me\,as f=1", [("my me,as.f", None, 1.0)]),
    ("me=as f=1", [("me=as.f", None, 1.0)]),
    (r"m,a\ k=v\,1,b\=k=v\=2 f\ x\,y\=z=1", [("m.v,1.v=2.f x,y=z", None, 1.0)]),
    (r"m,a=C:\temp\new f=1", [(r"m.C:\temp\new.f", None, 1.0)]),
    (r"m\n,a=x\\\ y f=1", [(r"m\n.x\\ y.f", None, 1.0)]),
    (r'm,a="q" f"g=1', [('m."q".f"g', None, 1.0)]),
    ("mé,a=Halle\\ Süd f=1", [("mé.Halle Süd.f", None, 1.0)]),
]


@pytest.mark.parametrize(("text", "expected"), READ)
def test_a_payload_gives_its_readings_in_its_order(text: str, expected: list[tuple[str, int | None, float]]) -> None:
    decoded = decode_line_protocol(text.encode(), "m1", "unused", NOW)
    assert [(key[1], time_ns, value) for key, time_ns, value in decoded.values] == expected
    assert {key[0] for key, _, _ in decoded.values} == {"m1"}
    assert decoded.waveforms == []
    assert decoded.is_timed == all(time_ns is not None for _, time_ns, _ in expected)


REFUSED = [
    (b"", "shape"),
    (b"\n# only a comment", "shape"),
    (b"\xff f=1", "line"),
    (b"m", "line"),
    (b"m ", "line"),
    (b"m f", "line"),
    (b"m f=", "line"),
    (b"m =1", "line"),
    (b"m f=1,", "line"),
    (b"m f=1 ,g=2", "line"),
    (b",a=b f=1", "line"),
    (b"m,a f=1", "line"),
    (b"m,a= f=1", "line"),
    (b"m,=b f=1", "line"),
    (b"m,a=1,a=2 f=1", "line"),
    (b"m f=1 5 6", "line"),
    (b"m f=1 5.0", "line"),
    (b"m f=1 now", "line"),
    (b'm f="open', "line"),
    (b'm f="a" b"', "line"),
    (b"m f=1 12345678901234567890", "line"),
    (b"m f=1 9223372036854775808", "time"),
    (b'm f="text"', "value"),
    (rb'm f="a \" , = \\ b" 5', "value"),
    (b'm f=1,g="over\ntwo lines" 5', "value"),
    (b"m f=1\nm f=nan", "value"),
    (b"m f=inf", "value"),
    (b"m f=1e999", "value"),
    (b"m f=0x10", "value"),
    (b"m f=1_0", "value"),
    ("m f=\N{ARABIC-INDIC DIGIT ONE}".encode(), "value"),
    (b"m f=1.5i", "value"),
    (b"m f=-1u", "value"),
    (b"m f=9223372036854775808i", "value"),
    (b"m f=18446744073709551616u", "value"),
    (b"m f=tRUE", "value"),
    (b"m\t f=1", "channel"),
    (b"a" * 100_000, "line"),
    (b"a,a=" * 50_000, "line"),
    (b'a b="' + b"\\" * 100_000, "line"),
]


@pytest.mark.parametrize(("payload", "reason"), REFUSED, ids=lambda value: str(value)[:30])
def test_what_cannot_be_read_is_refused_with_its_reason(payload: bytes, reason: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_line_protocol(payload, "m1", None, NOW)
    assert caught.value.reason == reason
    assert 0 < len(str(caught.value)) < 300


def decoded_or_reason(payload: bytes) -> Decoded | str:
    try:
        return DECODERS["influx-line"](payload, "m1", None, NOW)
    except DecodeError as error:
        return error.reason


def assert_sound(payload: bytes) -> None:
    decoded = decoded_or_reason(payload)
    if isinstance(decoded, str):
        assert decoded in {"line", "shape", "value", "time", "channel"}
        return
    assert decoded.values
    for key, time_ns, value in decoded.values:
        assert key[1].isprintable()
        assert time_ns is None or -(2**63) <= time_ns < 2**63
        assert type(value) is float
        assert value - value == 0  # finite


@given(st.binary(max_size=60))
@settings(deadline=None, max_examples=300)
def test_any_bytes_are_read_or_refused_with_a_decode_error(payload: bytes) -> None:
    assert_sound(payload)


@given(st.text(alphabet='mf=, \\"\n\r#1i.-te', max_size=40))
@settings(deadline=None, max_examples=1000)
def test_any_text_near_the_format_is_read_or_refused_with_a_decode_error(text: str) -> None:
    assert_sound(text.encode())


# What the aggregator writes: no tag is empty, holds a control character or ends in a backslash.
tag = st.text(min_size=1, max_size=12).filter(lambda text: text.isprintable() and not re.search(r"\\$", text))
row = st.tuples(
    st.tuples(tag, tag, tag), st.integers(-(2**62), 2**62), st.floats(allow_nan=False, allow_infinity=False)
)


@given(st.lists(row, min_size=1, max_size=5))
@settings(deadline=None)
def test_what_the_aggregator_writes_is_read_back_exactly(rows: list[tuple[tuple[str, str, str], int, float]]) -> None:
    tags, times, values = (list(column) for column in zip(*rows, strict=True))
    index = np.arange(len(rows), dtype=np.int32)
    table = Table("reading", tags, index, np.array(times, np.int64), {"value": np.array(values)})
    decoded = decode_line_protocol(b"\n".join(table.lines()), "m1", None, NOW)
    expected = [
        (("m1", f"reading.{asset}.{channel}.{site}.value"), time_ns, value)
        for (site, asset, channel), time_ns, value in rows
    ]
    assert [tuple(value) for value in decoded.values] == expected
