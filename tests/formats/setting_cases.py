"""What topics set: columns and other shapes by `fields`, time units, qualities, and which values count as numbers."""

from typing import Any

import cbor2
import orjson

from models.contract.quality import Quality
from tests.formats.binary_cases import ENCODERS
from tests.formats.case import ARRIVAL, SECOND, Case, Row, topic

GOOD, UNCERTAIN, BAD = Quality.GOOD, Quality.UNCERTAIN_SOURCE, Quality.BAD_SOURCE
T = 1_700_000_000 * SECOND

KEPWARE = {"items": "values", "time": "t", "channel": "id", "value": "v", "quality": "q"}
SITEWISE = {
    "items": "entries.*.propertyValues",
    "channel": "propertyAlias",
    "time": "timestamp",
    "value": ["value.doubleValue", "value.integerValue"],
    "quality": "quality",
}
NESTED = {"time": "meta.ts", "value": "data.v", "channel": "tag"}
MACHINES = {"items": "machines", "asset": "id", "values": "data"}
COLUMNS = {"channel": "id", "dt": "step", "values": "samples", "time": "start", "quality": "ok"}

# Settings, content, the topic's channel, what comes of it, and how many values are left out.
READ: list[tuple[dict[str, Any], Any, str | None, list[Row], int]] = [
    # Where the payload keeps what.
    ({"fields": NESTED}, {"meta": {"ts": 5}, "data": {"v": 1}, "tag": "p"}, None, [("p", 5 * SECOND, 1.0)], 0),
    (
        {"fields": NESTED},
        [{"meta": {"ts": 5}, "data": {"v": 1}, "tag": "p"}, {"data": {"v": 2}, "tag": "q"}],
        None,
        [("p", 5 * SECOND, 1.0), ("q", None, 2.0)],
        0,
    ),
    ({"fields": {"time": "0", "value": "1"}}, {"0": 5, "1": 2.5}, "t", [("t", 5 * SECOND, 2.5)], 0),
    ({"fields": {"time": "d.0", "value": "d.1"}}, {"d": [5, 2.5]}, "t", [("t", 5 * SECOND, 2.5)], 0),
    (
        {"fields": {"value": ["a.x", "b"]}},
        [{"a": {}, "b": 1}, {"a": {"x": 2}}],
        "t",
        [("t", None, 1), ("t", None, 2)],
        0,
    ),
    (
        {"fields": KEPWARE},
        {
            "timestamp": 1_700_000_001_000,
            "values": [
                {"id": "Channel1.Device1.Tag1", "v": 42, "q": True, "t": 1_700_000_000_000},
                {"id": "Channel1.Device1.Tag2", "v": 0.5, "q": False, "t": 1_700_000_000_001},
            ],
        },
        None,
        [("Channel1.Device1.Tag1", T, 42.0), ("Channel1.Device1.Tag2", T + 1_000_000, 0.5, BAD)],
        0,
    ),
    (  # What stands around the items holds for each of them.
        {"fields": KEPWARE | {"time": "timestamp"}},
        {"timestamp": 1_700_000_000, "values": [{"id": "a", "v": 1}, {"id": "b", "v": 2, "timestamp": 1_700_000_001}]},
        None,
        [("a", T, 1.0), ("b", T + SECOND, 2.0)],
        0,
    ),
    (
        {"fields": SITEWISE},
        {
            "entries": [
                {
                    "propertyAlias": "/plant/pump/rpm",
                    "propertyValues": [
                        {
                            "value": {"doubleValue": 7.5},
                            "timestamp": {"timeInSeconds": 1_700_000_000, "offsetInNanos": 5},
                            "quality": "GOOD",
                        },
                        {"value": {"integerValue": 8}, "timestamp": {"timeInSeconds": 1_700_000_001}, "quality": "BAD"},
                    ],
                },
                {
                    "propertyAlias": "/plant/pump/bar",
                    "propertyValues": [{"value": {"doubleValue": 1}, "timestamp": {"timeInSeconds": 1}}],
                },
            ]
        },
        None,
        [("/plant/pump/rpm", T + 5, 7.5), ("/plant/pump/rpm", T + SECOND, 8.0, BAD), ("/plant/pump/bar", SECOND, 1.0)],
        0,
    ),
    (  # ThingsBoard's telemetry
        {"fields": {"time": "ts", "values": "values"}},
        [{"ts": 1_700_000_000_000, "values": {"a": 1, "b": 2}}, {"ts": 1_700_000_001_000, "values": {"a": 3}}],
        None,
        [("a", T, 1.0), ("b", T, 2.0), ("a", T + SECOND, 3.0)],
        0,
    ),
    (
        {"fields": MACHINES},
        {"ts": 5, "machines": [{"id": "m8", "data": {"a": 1}}, {"id": "m9", "data": {"a": 2}}]},
        None,
        [("m8|a", 5 * SECOND, 1.0), ("m9|a", 5 * SECOND, 2.0)],
        0,
    ),
    (
        {"fields": COLUMNS},
        {"step": 0.5, "start": 5, "samples": [1, 2], "id": "v", "ok": "Uncertain_LastUsable"},
        None,
        [("v", 5 * SECOND, 1.0, UNCERTAIN), ("v", 5 * SECOND + SECOND // 2, 2.0, UNCERTAIN)],
        0,
    ),
    (
        {"fields": COLUMNS | {"items": "blocks"}},
        {"step": 1, "start": 5, "blocks": [{"samples": [1], "id": "a"}, {"samples": [2, 3], "id": "b", "step": 2}]},
        None,
        [("a", 5 * SECOND, 1.0), ("b", 5 * SECOND, 2.0), ("b", 7 * SECOND, 3.0)],
        0,
    ),
    # Units of time.
    ({"time_unit": "s"}, {"ts": 5_000_000_000, "value": 1}, "t", [("t", 5 * 10**18, 1.0)], 0),
    ({"time_unit": "ms"}, {"ts": 5, "value": 1}, "t", [("t", 5_000_000, 1.0)], 0),
    ({"time_unit": "us"}, {"ts": 5.5, "value": 1}, "t", [("t", 5_500, 1.0)], 0),
    ({"time_unit": "ns"}, {"ts": 5, "t": 1, "p": 2}, None, [("t", 5, 1.0), ("p", 5, 2.0)], 0),
    ({"time_unit": "ms"}, {"ts": "2023-11-14T22:13:20Z", "value": 1}, "t", [("t", T, 1.0)], 0),
    ({"time_unit": "ms"}, {"ts": [1, 2], "values": [5, 6]}, "t", [("t", 1_000_000, 5.0), ("t", 2_000_000, 6.0)], 0),
    # Which values count as numbers.
    ({"numbers_in_text": True}, {"ts": 1, "value": " -1.5e1 "}, "t", [("t", SECOND, -15.0)], 0),
    (
        {"numbers_in_text": True},
        {"a": "1", "b": "+.5", "c": "2."},
        None,
        [("a", None, 1), ("b", None, 0.5), ("c", None, 2)],
        0,
    ),
    (
        {"numbers_in_text": True, "decimal_comma": True},
        {"a": "21,5", "b": "3"},
        None,
        [("a", None, 21.5), ("b", None, 3)],
        0,
    ),
    (
        {"booleans": "number"},
        {"a": True, "b": False, "c": 3},
        None,
        [("a", None, 1), ("b", None, 0), ("c", None, 3)],
        0,
    ),
    ({"nulls": "skip"}, {"ts": 1, "a": None, "b": 2}, None, [("b", SECOND, 2.0)], 1),
    ({"nulls": "skip"}, {"ts": 1, "value": None}, "t", [], 1),
    ({"texts": "skip"}, {"ts": 1, "a": "x", "b": 2, "c": "y"}, None, [("b", SECOND, 2.0)], 2),
    ({"states": {"OFF": 0, "ON": 1.5}}, {"a": "ON", "b": "OFF"}, None, [("a", None, 1.5), ("b", None, 0.0)], 0),
    ({"states": {"1": 7}, "numbers_in_text": True}, {"a": "1", "b": "2"}, None, [("a", None, 7), ("b", None, 2)], 0),
    ({"states": {"ON": 1}, "texts": "skip"}, {"a": "ON", "b": "?"}, None, [("a", None, 1)], 1),
    # … within columns too: what is left out leaves the times of the others as they are.
    (
        {"nulls": "skip"},
        {"ts": 5, "dt": 1, "values": [1, None, 3]},
        "t",
        [("t", 5 * SECOND, 1.0), ("t", 7 * SECOND, 3.0)],
        1,
    ),
    ({"nulls": "skip"}, {"ts": [5, 6], "values": {"a": [1, None], "b": [None, None]}}, None, [("a", 5 * SECOND, 1)], 3),
    ({"booleans": "number"}, {"ts": [5], "values": [True]}, "t", [("t", 5 * SECOND, 1.0)], 0),
    ({"numbers_in_text": True}, {"ts": [5], "values": ["2.5"]}, "t", [("t", 5 * SECOND, 2.5)], 0),
    # A value alone.
    ({"states": {"IDLE": 0, "RUNNING": 1}}, "RUNNING", "t", [("t", None, 1.0)], 0),
    ({"numbers_in_text": True}, "21.7", "t", [("t", None, 21.7)], 0),
    ({"numbers_in_text": True, "decimal_comma": True}, "21,7", "t", [("t", None, 21.7)], 0),
    ({"booleans": "number"}, True, "t", [("t", None, 1.0)], 0),
    ({"texts": "skip"}, "x", "t", [], 1),
    ({"nulls": "skip"}, None, "t", [], 1),
]

# What a payload says of the quality, as what it is read when numbers are of OPC UA, and of classic OPC; None: refused.
QUALITIES: list[tuple[Any, Quality | None, Quality | None]] = [
    (True, GOOD, GOOD),
    (False, BAD, BAD),
    (None, GOOD, GOOD),
    ("good", GOOD, GOOD),
    ("GoodClamped", GOOD, GOOD),
    (" Uncertain ", UNCERTAIN, UNCERTAIN),
    ("Bad [Non-Specific]", BAD, BAD),
    (0, GOOD, BAD),
    ("0", GOOD, BAD),
    (192, GOOD, GOOD),
    (216.0, GOOD, GOOD),
    ("192", GOOD, GOOD),
    (64, UNCERTAIN, UNCERTAIN),
    (24, BAD, BAD),
    (0x40000000, UNCERTAIN, UNCERTAIN),
    (0x408F0000, UNCERTAIN, UNCERTAIN),
    (0x80000000, BAD, BAD),
    (0x80000000 - 2**32, BAD, BAD),
    (0x00960000, GOOD, GOOD),
    (2**32, None, None),
    (0.5, None, None),
    ("stale", None, None),
    ([], None, None),
]

REFUSED: list[tuple[dict[str, Any], Any, str | None, str]] = [
    ({"fields": NESTED}, {"meta": {"ts": 5}, "data": {}, "tag": "p"}, None, "shape"),
    ({"fields": NESTED}, {"ts": 1, "a": 5}, None, "shape"),
    ({"fields": NESTED}, {"data": {"v": 1}}, None, "channel"),
    ({"fields": NESTED}, {"data": {"v": 1}, "tag": ""}, None, "channel"),
    ({"fields": NESTED}, {"data": {"v": 1}, "tag": "a\n"}, None, "channel"),
    ({"fields": NESTED}, {"data": {"v": 1}, "tag": 5}, None, "channel"),
    ({"fields": NESTED}, {"data": {"v": 1}, "tag": "p", "meta": {"ts": []}}, None, "time"),
    ({"fields": NESTED}, {"data": {"v": {}}, "tag": "p"}, None, "value"),
    ({"fields": NESTED}, 5, "t", "shape"),
    ({"fields": KEPWARE}, {}, None, "shape"),
    ({"fields": KEPWARE}, {"values": []}, None, "shape"),
    ({"fields": KEPWARE}, {"values": [1]}, None, "shape"),
    ({"fields": KEPWARE}, {"values": [[{"id": "a", "v": 1}]]}, None, "shape"),
    ({"fields": KEPWARE}, {"values": [{"id": "a", "v": 1, "q": "?"}]}, None, "quality"),
    ({"fields": KEPWARE}, {"values": [{"id": "a", "v": 1, "q": 0}]}, None, "quality"),
    ({"fields": SITEWISE}, {"entries": {}}, None, "shape"),
    ({"fields": SITEWISE}, {"entries": [{"propertyValues": [{"value": {"doubleValue": 1}}]}]}, None, "channel"),
    ({"fields": MACHINES}, {"machines": [{"data": {"a": 1}}]}, None, "channel"),
    ({"time_unit": "s"}, {"ts": 10**10, "value": 1}, "t", "time"),
    ({"time_unit": "s"}, {"ts": [10**10], "values": [1]}, "t", "time"),
    ({"numbers_in_text": True}, {"a": "1_0"}, None, "value"),
    ({"numbers_in_text": True}, {"a": "21,5"}, None, "value"),
    ({"numbers_in_text": True}, {"a": "nan"}, None, "value"),
    ({"numbers_in_text": True}, {"a": "1e999"}, None, "value"),
    ({"numbers_in_text": True}, {"a": ""}, None, "value"),
    ({"numbers_in_text": True}, {"a": "1" * 500}, None, "value"),
    ({"numbers_in_text": True, "decimal_comma": True}, {"a": "21.5"}, None, "value"),
    ({"booleans": "refuse"}, {"a": True}, None, "value"),
    ({"nulls": "skip"}, {"a": []}, None, "value"),
    ({"texts": "skip"}, {"a": None}, None, "value"),
    ({"states": {"ON": 1}}, {"a": "OFF"}, None, "value"),
    ({"states": {"ON": 1}}, "OFF", "t", "value"),
    ({"states": {"ON": 1}}, "ON", None, "shape"),
    ({"states": {"ON": 1}, "fields": {"value": "v"}}, "ON", "t", "shape"),
]

SENML: list[tuple[dict[str, Any], list[dict[str, Any]], list[Row] | str, int]] = [
    ({"texts": "skip"}, [{"n": "a", "vs": "x"}, {"n": "b", "v": 1}], [("b", None, 1.0)], 1),
    ({"texts": "skip"}, [{"n": "a", "vs": "x", "s": 5}], [("a.sum", None, 5.0)], 1),
    ({"texts": "skip"}, [{"n": "a", "vd": "MTI"}, {"n": "b", "vb": True}], [("b", None, 1.0)], 1),
    ({"states": {"ON": 1}}, [{"n": "a", "vs": "ON"}], [("a", None, 1.0)], 0),
    ({"numbers_in_text": True}, [{"n": "a", "vs": "2.5"}, {"n": "b", "v": "3"}], [("a", None, 2.5), ("b", None, 3)], 0),
    ({"numbers_in_text": True}, [{"n": "a", "bv": 1, "v": "3"}], "value", 0),
    ({"numbers_in_text": True}, [{"n": "a", "vd": "12"}], "value", 0),
    ({"booleans": "refuse"}, [{"n": "a", "vb": True}], "value", 0),
]

LINE: list[tuple[dict[str, Any], bytes, list[Row] | str, int]] = [
    ({"texts": "skip"}, b'm f="x",g=1 5', [("m.g", 5, 1.0)], 1),
    ({"states": {'a"b\\': 1}}, rb'm f="a\"b\\" 5', [("m.f", 5, 1.0)], 0),
    ({"states": {"ON": 1}}, b'm f="OFF" 5', "value", 0),
    ({"numbers_in_text": True}, b'm f="2.5" 5', [("m.f", 5, 2.5)], 0),
    ({"booleans": "refuse"}, b"m f=t 5", "value", 0),
    ({"time_unit": "s"}, b"m f=1 5", [("m.f", 5 * SECOND, 1.0)], 0),
    ({"time_unit": "ms"}, b"m f=1 9223372036854775807", "time", 0),
]


def _of_qualities() -> list[Case]:
    fields = {"value": "v", "quality": "q"}
    return [
        Case(
            topic("json", fields=fields, quality_codes=codes),
            orjson.dumps({"v": 1, "q": raw}),
            "t",
            "quality" if expected is None else [("t", None, 1.0, expected)],
        )
        for raw, *both in QUALITIES
        for codes, expected in zip(("opc-ua", "opc-classic"), both, strict=True)
    ]


CASES = [
    *(
        Case(topic(format_, **settings), encode(content), channel, expected, skipped)
        for settings, content, channel, expected, skipped in READ
        for format_, encode in ENCODERS.items()
    ),
    *(
        Case(topic(format_, **settings), encode(content), channel, reason)
        for settings, content, channel, reason in REFUSED
        for format_, encode in ENCODERS.items()
    ),
    *_of_qualities(),
    *(Case(topic("senml-json", **settings), orjson.dumps(pack), None, rows, n) for settings, pack, rows, n in SENML),
    *(Case(topic("influx-line", **settings), payload, None, rows, n) for settings, payload, rows, n in LINE),
    Case(
        topic("senml-cbor", texts="skip"),
        cbor2.dumps([{0: "a", 8: b"12"}, {0: "b", 2: 1}]),
        None,
        [("b", None, 1.0)],
        1,
    ),
    Case(topic("cbor", texts="skip"), cbor2.dumps({"a": b"12", "b": 1}), None, [("b", None, 1.0)], 1),
    Case(
        topic("json", nulls="skip"),
        b'{"dt": 1, "values": [null, 2]}',
        "t",
        [("t", ARRIVAL, 2.0, Quality.UNCERTAIN_ARRIVAL_TIME)],
        1,
    ),
]
