"""MessagePack, CBOR, raw samples and compression: what is their own, and what is refused."""

import gzip
import struct
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import cbor2
import msgspec
import numpy as np
import orjson
import zstandard
from msgspec.msgpack import Ext

from edge_agent.config import Topic
from models.contract.quality import Quality
from tests.formats.case import ARRIVAL, LIMIT, SECOND, Case, Row, topic

NAN, INF = float("nan"), float("inf")
KINDS = ("i1", "i2", "i4", "u1", "u2", "u4", "f4", "f8")

ENCODERS: dict[str, Callable[[Any], bytes]] = {
    "json": orjson.dumps,
    "msgpack": msgspec.msgpack.encode,
    "cbor": cbor2.dumps,
}
COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": partial(gzip.compress, mtime=0),  # the same bytes each time: they are part of test names
    "zstd": zstandard.ZstdCompressor().compress,
}
COLUMN = b"\xa2\x62dt\x01\x66values"  # CBOR: a map of dt = 1 and values, whose item follows


def raw(dtype: str, **more: Any) -> Topic:
    return topic("raw", dtype=dtype, **({"rate_hz": 1000.0} | more))


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
    ("cbor", cbor2.dumps({"ts": cbor2.CBORTag(1, 9_000_000_000), "value": 5}), 9_000_000_000 * SECOND),
    ("cbor", cbor2.dumps(cbor2.CBORTag(55799, {"ts": 1_700_000_000, "value": 5})), MOMENT),  # "this is CBOR"
]

SINGLE = orjson.dumps({"ts": 1_700_000_000, "value": 5})
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
    (topic("cbor"), cbor2.dumps({b"a": 2}), None, "channel"),
    (topic("cbor"), cbor2.dumps({"value": 10**30}), "t", "cbor"),  # tag 2
    (topic("cbor"), b"\xc5\x82\x1a\x7f\xff\xff\xff\x01", "t", "cbor"),  # 2 to the power of 2147483647
    (topic("cbor"), b"\xd8\x1c\x81\xd8\x1d\x00", "t", "cbor"),  # a list that holds itself
    (topic("cbor"), b"\xd8\x40\x41a", "t", "cbor"),
    (topic("cbor"), b"\xf7", "t", "shape"),
    (topic("cbor"), cbor2.dumps({"value": b"1"}), "t", "value"),
    (topic("cbor"), cbor2.dumps({"value": INF}), "t", "value"),
    (topic("cbor"), cbor2.dumps({"value": cbor2.CBORTag(1, 1)}), "t", "value"),
    (topic("cbor"), cbor2.dumps({"ts": cbor2.CBORTag(1, 200_000_000_000), "value": 5}), "t", "time"),
    (topic("cbor"), cbor2.dumps({"value": cbor2.CBORTag(55799, 1)}), "t", "cbor"),
    (topic("cbor"), cbor2.dumps({"ts": NAN, "value": 1}), "t", "time"),
    (topic("cbor"), cbor2.dumps({"ts": cbor2.CBORTag(1, NAN), "value": 1}), "t", "cbor"),
    (topic("cbor"), cbor2.dumps({"ts": cbor2.CBORTag(1, "x"), "value": 1}), "t", "cbor"),
    (topic("cbor"), cbor2.dumps({"ts": cbor2.CBORTag(0, 1), "value": 1}), "t", "cbor"),
    (topic("cbor"), cbor2.dumps({"ts": cbor2.CBORTag(0, "x"), "value": 1}), "t", "time"),
    (raw("<i2"), b"", "t", "shape"),
    (raw("<i2"), b"abc", "t", "shape"),
    (raw("<i2"), b"ab", None, "channel"),
    (raw("<f4"), struct.pack("<2f", 1, NAN), "t", "value"),
    (raw("<f8", scale=1e300), struct.pack("<d", 1e30), "t", "value"),
    (raw("<u1", rate_hz=0.001), bytes(11_000_001), "t", "time"),
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


RAW: list[tuple[Topic, bytes, list[float]]] = [
    (
        raw(f"{order}{kind}", scale=0.5, offset=-3.0, rate_hz=12_800.0),
        np.array([1, 2, 100], f"{order}{kind}").tobytes(),
        [-2.5, -2.0, 47.0],
    )
    for order in "<>"
    for kind in KINDS
] + [(raw(">f8", rate_hz=12_800.0), struct.pack(">3d", 1e300, 0.1, -1), [1e300, 0.1, -1.0])]


def _ending(values: list[float]) -> list[Row]:
    """Rows of a block that ends as its message arrives."""
    first_ns = ARRIVAL - (len(values) - 1) * 78_125
    return [("t", first_ns + i * 78_125, value, Quality.UNCERTAIN_ARRIVAL_TIME) for i, value in enumerate(values)]


CASES = [
    *(Case(setting, payload, "t", _ending(values)) for setting, payload, values in RAW),
    *(Case(topic(format_), payload, "t", [("t", time_ns, 5.0)]) for format_, payload, time_ns in TIMES),
    *(Case(*refused) for refused in REFUSED),
]
