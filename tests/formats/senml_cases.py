"""SenML: the examples of RFC 8428 and what they come to, the rules between the lines, and what is refused."""

from typing import Any

import cbor2
import orjson

from tests.formats.case import ARRIVAL, SECOND, Case, Row, topic

DEVICE = "urn:dev:ow:10e2073a01080063"
START = 1_320_067_464 * SECOND

# RFC 8428, 5.1: packs in JSON, and the readings of each as (channel, time in ns or None, value).
EXAMPLES: dict[str, tuple[str, list[Row]]] = {
    "5.1.1 single datapoint": (
        '[{"n":"urn:dev:ow:10e2073a01080063","u":"Cel","v":23.1}]',
        [(DEVICE, None, 23.1)],
    ),
    "5.1.2 multiple datapoints": (
        '[{"bn":"urn:dev:ow:10e2073a01080063:","n":"voltage","t":0,"u":"V","v":120.1},{"n":"current","u":"A","v":1.2}]',
        [(f"{DEVICE}:voltage", None, 120.1), (f"{DEVICE}:current", None, 1.2)],
    ),
    "5.1.2 times relative to the base": (
        (
            '[{"bn":"urn:dev:ow:10e2073a0108006:","bt":1.276020076001e+09,"bu":"A","bver":5,"n":"voltage","u":"V",'
            '"v":120.1},{"n":"current","t":-5,"v":1.2},{"n":"current","t":-4,"v":1.3},{"n":"current","v":0.17e1}]'
        ),
        [
            ("urn:dev:ow:10e2073a0108006:voltage", 1_276_020_076_001_000_000, 120.1),
            ("urn:dev:ow:10e2073a0108006:current", 1_276_020_071_001_000_000, 1.2),
            ("urn:dev:ow:10e2073a0108006:current", 1_276_020_072_001_000_000, 1.3),
            ("urn:dev:ow:10e2073a0108006:current", 1_276_020_076_001_000_000, 1.7),
        ],
    ),
    "5.1.3 one channel over time": (
        '[{"bn":"urn:dev:ow:10e2073a01080063","bt":1320067464,"bu":"%RH","v":21.2},{"t":10,"v":21.3},{"t":91,"v":21.5}]',
        [(DEVICE, START, 21.2), (DEVICE, START + 10 * SECOND, 21.3), (DEVICE, START + 91 * SECOND, 21.5)],
    ),
    "5.1.4 one name, several units": (
        (
            '[{"bn":"urn:dev:ow:10e2073a01080063","bt":1.320067464e+09,"bu":"%RH","v":20},{"u":"lon","v":24.30621},'
            '{"u":"lat","v":60.07965},{"t":60,"v":20.3},{"u":"%EL","t":150,"v":98}]'
        ),
        [
            (f"{DEVICE}.%RH", START, 20.0),
            (f"{DEVICE}.lon", START, 24.30621),
            (f"{DEVICE}.lat", START, 60.07965),
            (f"{DEVICE}.%RH", START + 60 * SECOND, 20.3),
            (f"{DEVICE}.%EL", START + 150 * SECOND, 98.0),
        ],
    ),
    "5.1.6 several devices": (
        (
            '[{"bn":"2001:db8::2/","bt":1320078429,"n":"temperature","v":25.2,"u":"Cel"},{"n":"humidity","v":30,"u":"%RH"},'
            '{"bn":"2001:db8::1/","n":"temperature","v":12.3,"u":"Cel"},{"n":"humidity","v":67,"u":"%RH"}]'
        ),
        [
            ("2001:db8::2/temperature", 1_320_078_429 * SECOND, 25.2),
            ("2001:db8::2/humidity", 1_320_078_429 * SECOND, 30.0),
            ("2001:db8::1/temperature", 1_320_078_429 * SECOND, 12.3),
            ("2001:db8::1/humidity", 1_320_078_429 * SECOND, 67.0),
        ],
    ),
}
LABELS = {"bver": -1, "bn": -2, "bt": -3, "bu": -4, "bv": -5, "bs": -6} | {
    name: label for label, name in enumerate(["n", "u", "v", "vs", "vb", "s", "t", "ut", "vd"])
}


def as_cbor(content: list[dict[str, Any]]) -> bytes:
    return cbor2.dumps([{LABELS.get(key, key): value for key, value in record.items()} for record in content])


RULES: list[tuple[str, str | None, list[Row]]] = [
    ('[{"v":1}]', "t", [("t", None, 1.0)]),
    ('[{"n":"p","v":1}]', "t", [("p", None, 1.0)]),
    ('[{"n":"open","vb":true},{"n":"shut","vb":false}]', None, [("open", None, 1.0), ("shut", None, 0.0)]),
    # Decimal: in float64, 0.1 + 0.2 is another number.
    ('[{"bv":0.1,"n":"a","v":0.2},{"n":"b","v":1}]', None, [("a", None, 0.3), ("b", None, 1.1)]),
    ('[{"bv":5,"bs":7,"n":"a"}]', None, [("a", None, 5.0), ("a.sum", None, 7.0)]),
    (
        '[{"bs":100,"n":"e","v":1,"s":2.5},{"n":"e","s":3}]',
        None,
        [("e", None, 1), ("e.sum", None, 102.5), ("e.sum", None, 103)],
    ),
    # Below 2**28 s a time is relative to the arrival.
    ('[{"n":"a","t":-1.5,"v":1}]', None, [("a", ARRIVAL - 1_500_000_000, 1.0)]),
    ('[{"bt":-10,"n":"a","t":4,"v":1}]', None, [("a", ARRIVAL - 6 * SECOND, 1.0)]),
    ('[{"n":"a","t":268435455.999999999,"v":1}]', None, [("a", ARRIVAL + 2**28 * SECOND - 1, 1.0)]),
    ('[{"n":"a","t":268435456,"v":1}]', None, [("a", 2**28 * SECOND, 1.0)]),
    ('[{"bt":1700000000.123456789,"n":"a","v":1}]', None, [("a", 1_700_000_000_123_456_789, 1.0)]),
    # Unknown fields, links and update times say nothing about the value.
    ('[{"n":"a","v":1,"l":[{"x":1}],"ut":5,"foo":{}}]', None, [("a", None, 1.0)]),
    ('[{"n":"a","bver":10,"v":1e-400}]', None, [("a", None, 0.0)]),
]

REFUSED = [
    ("", "json"),
    ("[", "json"),
    ("[" * 100_000, "json"),
    ('[{"n":"a","v":NaN}]', "json"),
    ('[{"n":"a","v":0.' + "1" * 1000 + "}]", "json"),
    ('[{"n":"a","v":1e9999999999999999999}]', "json"),
    ("[]", "shape"),
    ('{"n":"a","v":1}', "shape"),
    ("[1]", "shape"),
    ('[{"v":1}]', "channel"),
    ('[{"n":"a"}]', "value"),
    ('[{"n":"a","v":1},{"n":"b"}]', "value"),
    ('[{"n":"a","v":1,"vb":true}]', "value"),
    ('[{"n":"a","v":1,"s":2,"vs":"x"}]', "value"),
    ('[{"n":"a","v":"1"}]', "value"),
    ('[{"n":"a","v":true}]', "value"),
    ('[{"n":"a","v":null}]', "value"),
    ('[{"n":"a","v":1e309}]', "value"),
    ('[{"n":"a","v":1e999999999}]', "value"),
    ('[{"n":"a","vb":1}]', "value"),
    ('[{"n":"a","vs":1}]', "value"),
    ('[{"n":"a","vs":"x"}]', "value"),
    ('[{"n":"a","s":"1"}]', "value"),
    ('[{"n":7,"v":1}]', "field"),
    ('[{"n":"a\\n","v":1}]', "field"),
    ('[{"n":"a","u":7,"v":1}]', "field"),
    ('[{"n":"a","v":1,"heed_":0}]', "field"),
    ('[{"n":"a","v":1,"bver":11}]', "version"),
    ('[{"n":"a","v":1,"t":1e12}]', "time"),
    ('[{"n":"a","v":1,"t":"now"}]', "value"),
]

CBOR_REFUSED = [
    (b"", "cbor"),
    (b"\x9b" + b"\x0f" * 8, "cbor"),  # a list of 10**18 items
    (b"\x5b" + b"\x0f" * 8, "cbor"),  # a string of as many bytes
    (b"\x81" * 100_000, "cbor"),
    (cbor2.dumps([{0: "a", 2: 1}]) + b"\x00", "cbor"),
    (cbor2.dumps([{0: "a", 2: 2**70}]), "cbor"),
    (b"\xd8\x1c\x81\xd8\x1d\x00", "cbor"),  # a list that holds itself
    (b"\x81\xa1\x02\xc4\x82\x1a\x7f\xff\xff\xff\x01", "cbor"),  # 1 * 10**2147483647
    (b"\x81\xa1\x02\xc4\x01", "cbor"),
    (cbor2.dumps([{0: "a", 2: cbor2.CBORTag(55799, 1)}]), "cbor"),  # nested: a tag other than 4
    (cbor2.dumps([{0: "a", 2: cbor2.CBORTag(1, 1)}]), "cbor"),
    (cbor2.dumps([{0: "a", 2: float("nan")}]), "value"),
    (cbor2.dumps([{0: "a", "n": "b", 2: 1}]), "field"),
    (cbor2.dumps([{0: "a", 2: 1, "heed_": 1}]), "field"),
]

JSON, CBOR = topic("senml-json"), topic("senml-cbor")
CASES = [
    *(Case(JSON, text.encode(), None, expected) for text, expected in EXAMPLES.values()),
    *(Case(CBOR, as_cbor(orjson.loads(text)), None, expected) for text, expected in EXAMPLES.values()),
    *(Case(JSON, text.encode(), channel, expected) for text, channel, expected in RULES),
    *(Case(JSON, text.encode(), None, reason) for text, reason in REFUSED),
    *(Case(CBOR, payload, None, reason) for payload, reason in CBOR_REFUSED),
]
