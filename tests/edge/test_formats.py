"""Every payload format that shares JSON's shapes, raw samples, and compression: one table of what each must come to."""

import gzip
import json
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import cbor2
import msgspec
import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.msgpack import Ext
from pydantic import ValidationError

from edge_agent.config import EdgeConfig, Topic
from edge_agent.core.decode import DECODERS, decoder_of, simple_decoder_of
from edge_agent.core.errors import DecodeError
from edge_agent.core.intake import Entry, Intake, Message
from edge_agent.core.readings import Decoded, Value

ARRIVAL = 1_760_000_000_000_000_000
SECOND = 1_000_000_000
LIMIT = 1 << 20
NAN, INF = float("nan"), float("inf")
KINDS = ("i1", "i2", "i4", "u1", "u2", "u4", "f4", "f8")


def as_json(content: Any) -> bytes:
    return json.dumps(content).encode()


ENCODERS: dict[str, Callable[[Any], bytes]] = {"json": as_json, "msgpack": msgspec.msgpack.encode, "cbor": cbor2.dumps}
COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}
COLUMN = b"\xa2\x62dt\x01\x66values"  # CBOR: a map of dt = 1 and values, whose item follows


def topic(format_: str = "json", compression: str = "none", **more: Any) -> Topic:
    return Topic.model_validate(
        {"template": "f/{asset}/{channel}", "format": format_, "compression": compression} | more
    )


def raw(dtype: str, **more: Any) -> Topic:
    return topic("raw", dtype=dtype, **({"rate_hz": 1000.0} | more))


def decode(setting: Topic, payload: bytes, channel: str | None = "t") -> Decoded:
    return decoder_of(setting, LIMIT)(payload, "m1", channel, ARRIVAL)


CONTENTS: list[tuple[Any, str | None]] = [
    ({"ts": 1_700_000_000_123, "value": 21.5}, "t"),
    ({"time": 1_700_000_000, "v": -3}, "t"),
    ({"timestamp": "2023-11-14T22:13:20Z", "value": 0}, "t"),
    ({"ts": None, "value": 1e-3}, "t"),
    ({"ts": 1_700_000_000.25, "value": 2**63}, "t"),
    (21.5, "t"),
    ({"ts": 1, "value": 1, "channel": "p"}, None),
    ([{"ts": 2, "value": 1}, {"ts": 1, "v": 2}], "t"),
    ({"ts": 1, "values": {"t": 21.5, "p": 2}}, None),
    ({"ts": 1, "t": 21.5, "p": 2}, None),
    ({"ts": 5, "dt": 0.000078125, "values": [0.5, -1, 3]}, "v"),
    ({"dt": 1, "values": list(range(5000))}, "v"),
]


@pytest.mark.parametrize("compression", COMPRESSORS)
@pytest.mark.parametrize("format_", ENCODERS)
@pytest.mark.parametrize(("content", "channel"), CONTENTS, ids=lambda value: str(value)[:30])
def test_the_same_content_is_the_same_readings_in_every_format_and_compression(
    content: Any, channel: str | None, format_: str, compression: str
) -> None:
    expected = DECODERS["json"](as_json(content), "m1", channel, ARRIVAL)
    payload = COMPRESSORS[compression](ENCODERS[format_](content))
    assert decode(topic(format_, compression), payload, channel) == expected


MOMENT = 1_700_000_000 * SECOND
TIMES: list[tuple[str, bytes, int]] = [
    ("msgpack", msgspec.msgpack.encode({"ts": datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC), "value": 5}), MOMENT),
    ("msgpack", msgspec.msgpack.encode({"ts": Ext(-1, struct.pack(">I", 7)), "value": 5}), 7 * SECOND),
    ("msgpack", msgspec.msgpack.encode({"ts": Ext(-1, struct.pack(">Q", 9 << 34 | 7)), "value": 5}), 7 * SECOND + 9),
    ("msgpack", msgspec.msgpack.encode([{"ts": Ext(-1, struct.pack(">Iq", 9, -7)), "value": 5}]), -7 * SECOND + 9),
    ("cbor", cbor2.dumps({"ts": datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC), "value": 5}), MOMENT),
    ("cbor", cbor2.dumps({"ts": cbor2.CBORTag(0, "2023-11-14T22:13:20Z"), "value": 5}), MOMENT),
    ("cbor", cbor2.dumps({"ts": cbor2.CBORTag(1, 1_700_000_000), "value": 5}), MOMENT),
    ("cbor", cbor2.dumps({"ts": cbor2.CBORTag(1, 1_700_000_000.1), "value": 5}), MOMENT + SECOND // 10),
    ("cbor", cbor2.dumps({"ts": cbor2.CBORTag(1, 200_000_000_000), "value": 5}), 200_000_000_000 * SECOND),
    ("cbor", cbor2.dumps(cbor2.CBORTag(55799, {"ts": 1_700_000_000, "value": 5})), MOMENT),  # "this is CBOR"
]


@pytest.mark.parametrize(("format_", "payload", "time_ns"), TIMES)
def test_a_formats_own_times_are_read_to_the_nanosecond(format_: str, payload: bytes, time_ns: int) -> None:
    assert decode(topic(format_), payload) == Decoded([Value(("m1", "t"), time_ns, 5.0)], [], is_timed=True)


@pytest.mark.parametrize("dtype", [f"{order}{kind}" for order in "<>" for kind in KINDS])
def test_raw_samples_are_scaled_and_end_when_their_message_arrives(dtype: str) -> None:
    decoded = decode(raw(dtype, scale=0.5, offset=-3.0, rate_hz=12_800.0), np.array([1, 2, 100], dtype).tobytes(), "v")
    (waveform,) = decoded.waveforms
    assert struct.unpack("<3f", waveform.samples) == (-2.5, -2.0, 47.0)
    assert (waveform.channel, waveform.dt_ns, waveform.time_ns) == (("m1", "v"), 78_125, ARRIVAL - 3 * 78_125)
    assert (decoded.values, decoded.is_timed) == ([], False)


SINGLE = as_json({"ts": 1_700_000_000, "value": 5})
GZIP, ZSTD = COMPRESSORS["gzip"](SINGLE), COMPRESSORS["zstd"](SINGLE)
WIDE = zstandard.ZstdCompressor(compression_params=zstandard.ZstdCompressionParameters(window_log=27)).compressobj()
REFUSED: list[tuple[Topic, bytes, str | None, str]] = [
    (topic("msgpack"), b"", "t", "msgpack"),
    (topic("msgpack"), b"\x01\x02", "t", "msgpack"),
    (topic("msgpack"), b"\xa2\xff\xff", "t", "msgpack"),
    (topic("msgpack"), b"\x81\xa6values\xdd\x00\x10\x00\x00\x01", "t", "msgpack"),
    (topic("msgpack"), b"\xdd\xff\xff\xff\xff\x01", "t", "shape"),  # four thousand million items, it says
    (topic("msgpack"), b"\x91" * 100_000, "t", "shape"),
    (topic("msgpack"), b"\xc4\x01a", "t", "shape"),  # binary
    (topic("msgpack"), msgspec.msgpack.encode({"value": b"a"}), "t", "shape"),
    (topic("msgpack"), msgspec.msgpack.encode({1: 2}), None, "shape"),
    (topic("msgpack"), msgspec.msgpack.encode([]), "t", "shape"),
    (topic("msgpack"), msgspec.msgpack.encode({"value": Ext(5, b"abcd")}), "t", "value"),
    (topic("msgpack"), msgspec.msgpack.encode({"value": NAN}), "t", "value"),
    (topic("msgpack"), msgspec.msgpack.encode({"value": "1"}), "t", "value"),
    (topic("msgpack"), msgspec.msgpack.encode({"ts": Ext(5, b"abcd"), "value": 1}), "t", "time"),
    (topic("msgpack"), msgspec.msgpack.encode({"ts": Ext(-1, b"abc"), "value": 1}), "t", "time"),
    (topic("msgpack"), msgspec.msgpack.encode({"ts": Ext(-1, b"\xff" * 8), "value": 1}), "t", "time"),
    (topic("msgpack"), msgspec.msgpack.encode({"ts": INF, "value": 1}), "t", "time"),
    (topic("msgpack"), msgspec.msgpack.encode({"dt": NAN, "values": [1]}), "t", "shape"),
    (topic("cbor"), b"", "t", "cbor"),
    (topic("cbor"), b"\x01\x02", "t", "cbor"),
    (topic("cbor"), b"\x81" * 100_000, "t", "cbor"),
    (topic("cbor"), b"\x62\xff\xff", "t", "cbor"),
    (topic("cbor"), b"\x9b\x00\x00\x00\x00\x10\x00\x00\x00\x01", "t", "cbor"),
    (topic("cbor"), b"\x5b" + b"\xff" * 8, "t", "cbor"),
    (topic("cbor"), COLUMN + b"\x9b\x7f" + b"\xff" * 7, "t", "cbor"),
    (topic("cbor"), cbor2.dumps({1: 2}), None, "cbor"),
    (topic("cbor"), cbor2.dumps({b"a": 2}), None, "shape"),
    (topic("cbor"), cbor2.dumps({"value": 10**30}), "t", "cbor"),  # tag 2
    (topic("cbor"), b"\xc5\x82\x1a\x7f\xff\xff\xff\x01", "t", "cbor"),  # 2 to the power of 2147483647
    (topic("cbor"), b"\xd8\x1c\x81\xd8\x1d\x00", "t", "cbor"),  # a list that holds itself
    (topic("cbor"), b"\xd8\x40\x41a", "t", "cbor"),
    (topic("cbor"), b"\xf7", "t", "shape"),
    (topic("cbor"), cbor2.dumps({"value": b"1"}), "t", "value"),
    (topic("cbor"), cbor2.dumps({"value": INF}), "t", "value"),
    (topic("cbor"), cbor2.dumps({"value": cbor2.CBORTag(1, 1)}), "t", "value"),
    (topic("cbor"), cbor2.dumps({"ts": NAN, "value": 1}), "t", "time"),
    (topic("cbor"), cbor2.dumps({"ts": cbor2.CBORTag(1, NAN), "value": 1}), "t", "cbor"),
    (topic("cbor"), cbor2.dumps({"ts": cbor2.CBORTag(1, "x"), "value": 1}), "t", "cbor"),
    (topic("cbor"), cbor2.dumps({"ts": cbor2.CBORTag(0, 1), "value": 1}), "t", "cbor"),
    (topic("cbor"), cbor2.dumps({"ts": cbor2.CBORTag(0, "x"), "value": 1}), "t", "time"),
    (raw("<i2"), b"", "t", "shape"),
    (raw("<i2"), b"abc", "t", "shape"),
    (raw("<i2"), b"ab", None, "channel"),
    (raw("<f4"), struct.pack("<2f", 1, NAN), "t", "value"),
    (raw(">f8"), struct.pack(">d", 1e300), "t", "value"),
    (raw("<f4", scale=1e300), struct.pack("<f", 1e30), "t", "value"),
    (topic(compression="gzip"), b"", "t", "compression"),
    (topic(compression="gzip"), SINGLE, "t", "compression"),
    (topic(compression="gzip"), zlib.compress(SINGLE), "t", "compression"),
    (topic(compression="gzip"), GZIP[:-1], "t", "compression"),
    (topic(compression="gzip"), GZIP[:-8] + bytes(8), "t", "compression"),
    (topic(compression="gzip"), GZIP + GZIP, "t", "compression"),
    (topic(compression="gzip"), COMPRESSORS["gzip"](b"{"), "t", "json"),
    (topic(compression="gzip"), COMPRESSORS["gzip"](bytes(LIMIT + 1)), "t", "too_large"),
    (topic(compression="zstd"), b"", "t", "compression"),
    (topic(compression="zstd"), SINGLE, "t", "compression"),
    (topic(compression="zstd"), ZSTD[:-1], "t", "compression"),
    (topic(compression="zstd"), ZSTD + ZSTD, "t", "compression"),
    (topic(compression="zstd"), WIDE.compress(SINGLE) + WIDE.flush(), "t", "compression"),  # asks for 128 MiB
    (topic(compression="zstd"), COMPRESSORS["zstd"](bytes(LIMIT + 1)), "t", "too_large"),
]


@pytest.mark.parametrize(("setting", "payload", "channel", "reason"), REFUSED)
def test_what_cannot_be_read_is_refused_with_its_reason(
    setting: Topic, payload: bytes, channel: str | None, reason: str
) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(setting, payload, channel)
    assert caught.value.reason == reason
    assert 0 < len(str(caught.value)) < 300


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


SETTINGS = st.sampled_from(
    [topic(form, compression) for form in ("json", "msgpack", "cbor") for compression in COMPRESSORS]
    + [raw("<f4"), raw(">i2"), topic("raw", "gzip", dtype="<f8", rate_hz=1.0)]
)
texts = st.sampled_from(["ts", "time", "value", "v", "values", "dt", "channel"]) | st.text(max_size=4)
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


def decoded_or_reason(setting: Topic, payload: bytes, channel: str | None) -> Decoded | str:
    try:
        return decode(setting, payload, channel)
    except DecodeError as error:
        return error.reason


def assert_sound(setting: Topic, payload: bytes, channel: str | None) -> None:
    decoded = decoded_or_reason(setting, payload, channel)
    if isinstance(decoded, str):
        assert decoded in {setting.format, "compression", "shape", "channel", "value", "time"}
        return
    assert all(type(v.value) is float and np.isfinite(v.value) for v in decoded.values)
    assert all(v.time_ns is None or type(v.time_ns) is int for v in decoded.values)
    assert all(np.isfinite(np.frombuffer(w.samples, "<f4")).all() for w in decoded.waveforms)


@given(SETTINGS, st.binary(max_size=60), st.booleans(), st.sampled_from([None, "t"]))
@settings(deadline=None, max_examples=400)
def test_any_bytes_are_read_or_refused_with_a_decode_error(
    setting: Topic, payload: bytes, is_packed: bool, channel: str | None
) -> None:
    assert_sound(setting, COMPRESSORS[setting.compression](payload) if is_packed else payload, channel)


@given(st.sampled_from(["msgpack", "cbor"]), contents, st.data(), st.sampled_from([None, "t"]))
@settings(deadline=None, max_examples=400)
def test_any_content_even_with_a_wrong_byte_is_read_or_refused_with_a_decode_error(
    format_: str, content: Any, data: st.DataObject, channel: str | None
) -> None:
    payload = bytearray(ENCODERS[format_](content))
    assert_sound(topic(format_), bytes(payload), channel)
    payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    assert_sound(topic(format_), bytes(payload), channel)


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
    assert (struct.unpack("<2f", waveform.samples), waveform.time_ns) == ((1.0, -1.0), ARRIVAL - SECOND // 5)


def test_a_bomb_becomes_a_dead_letter_by_the_limit_of_the_configuration() -> None:
    for compression in ("gzip", "zstd"):
        (dead,) = take(COMPRESSORS[compression](SINGLE.ljust(4097)), compression=compression).deadletters
        assert dead.reason == "too_large"


def test_the_fast_way_for_plain_json_is_not_taken_for_compressed_topics() -> None:
    assert simple_decoder_of(topic()) is not None
    assert simple_decoder_of(topic(compression="gzip")) is None


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
        ({"compression": "brotli"}, "compression"),
    ],
)
def test_settings_that_do_not_fit_the_format_are_refused(setting: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        Topic.model_validate({"template": "f/{asset}/{channel}"} | setting)
