"""SenML: the examples of RFC 8428 and what they come to, the rules between the lines, and any bytes."""

from decimal import Decimal
from typing import Any

import cbor2
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.core.decode import DECODERS
from edge_agent.core.decode.senml import decode_senml_cbor, decode_senml_json, resolve
from edge_agent.core.errors import DecodeError
from edge_agent.core.readings import Decoded

SECOND = 1_000_000_000
NOW = 1_760_000_000 * SECOND
DEVICE = "urn:dev:ow:10e2073a01080063"
START = 1_320_067_464 * SECOND

# RFC 8428, 5.1: packs in JSON, and the readings of each as (channel, time in ns or None, value).
EXAMPLES: dict[str, tuple[str, list[tuple[str, int | None, float]]]] = {
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


def channels(decoded: Decoded) -> list[tuple[str, int | None, float]]:
    assert all(value.channel[0] == "m1" and type(value.value) is float for value in decoded.values)
    return [(channel, time_ns, value) for (_, channel), time_ns, value in decoded.values]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_of_the_rfc_resolve_exactly_in_json_and_in_cbor(name: str) -> None:
    text, expected = EXAMPLES[name]
    in_json = decode_senml_json(text.encode(), "m1", None, NOW)
    assert channels(in_json) == expected
    assert in_json.is_timed == all(time_ns is not None for _, time_ns, _ in expected)
    assert decode_senml_cbor(as_cbor(orjson.loads(text)), "m1", None, NOW) == in_json


def test_the_rfcs_cbor_bytes_read_as_its_readings() -> None:
    payload = bytes.fromhex(
        "82a721781b75726e3a6465763a6f773a3130653230373361303130383030363a22fb41d303a15b00106223614120050067766f6c7461676501"
        "615602fb405e066666666666a3006763757272656e74062402fb3ff3333333333333"
    )
    assert channels(decode_senml_cbor(payload, "m1", None, NOW)) == EXAMPLES["5.1.2 times relative to the base"][1][:2]


def test_each_kind_of_value_resolves_but_text_and_data_are_no_readings() -> None:
    kinds = (
        '[{"bn":"d:","n":"temp","v":23.1},{"n":"label","vs":"Hall"},{"n":"open","vb":false},{"n":"nfc","vd":"aGkgCg"}]'
    )
    records = list(resolve(orjson.loads(kinds)))
    assert [(record.name, record.value) for record in records] == [
        ("d:temp", 23.1),
        ("d:label", "Hall"),
        ("d:open", False),
        ("d:nfc", "aGkgCg"),
    ]
    assert reason(decode_senml_json, kinds.encode()) == "value"
    assert reason(decode_senml_cbor, cbor2.dumps([{0: "nfc", 8: b"hi"}])) == "value"


RULES: list[tuple[str, str | None, list[tuple[str, int | None, float]]]] = [
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
    ('[{"n":"a","t":-1.5,"v":1}]', None, [("a", NOW - 1_500_000_000, 1.0)]),
    ('[{"bt":-10,"n":"a","t":4,"v":1}]', None, [("a", NOW - 6 * SECOND, 1.0)]),
    ('[{"n":"a","t":268435455.999999999,"v":1}]', None, [("a", NOW + 2**28 * SECOND - 1, 1.0)]),
    ('[{"n":"a","t":268435456,"v":1}]', None, [("a", 2**28 * SECOND, 1.0)]),
    ('[{"bt":1700000000.123456789,"n":"a","v":1}]', None, [("a", 1_700_000_000_123_456_789, 1.0)]),
    # Unknown fields, links and update times say nothing about the value.
    ('[{"n":"a","v":1,"l":[{"x":1}],"ut":5,"foo":{}}]', None, [("a", None, 1.0)]),
    ('[{"n":"a","bver":10,"v":1e-400}]', None, [("a", None, 0.0)]),
]


@pytest.mark.parametrize(("text", "channel", "expected"), RULES)
def test_base_fields_times_and_names_follow_the_rfc(
    text: str, channel: str | None, expected: list[tuple[str, int | None, float]]
) -> None:
    assert channels(decode_senml_json(text.encode(), "m1", channel, NOW)) == expected


def test_a_pack_is_timed_only_if_all_its_times_are_absolute() -> None:
    assert decode_senml_json(b'[{"n":"a","t":1700000000,"v":1}]', "m1", None, NOW).is_timed
    assert not decode_senml_json(b'[{"n":"a","t":1700000000,"v":1},{"n":"a","t":-5,"v":1}]', "m1", None, NOW).is_timed


def test_a_decimal_fraction_in_cbor_is_exact() -> None:
    payload = cbor2.dumps([{-3: Decimal("1700000000.123456789"), 0: "a", 2: Decimal("0.1")}])
    assert channels(decode_senml_cbor(payload, "m1", None, NOW)) == [("a", 1_700_000_000_123_456_789, 0.1)]


def reason(decode: Any, payload: bytes) -> str:
    with pytest.raises(DecodeError) as caught:
        decode(payload, "m1", None, NOW)
    assert 0 < len(str(caught.value)) < 300
    return caught.value.reason


REFUSED = [
    ("", "json"),
    ("[", "json"),
    ("[" * 100_000, "json"),
    ('[{"n":"a","v":NaN}]', "json"),
    ('[{"n":"a","v":0.' + "1" * 1000 + "}]", "json"),
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


@pytest.mark.parametrize(("text", "expected"), REFUSED, ids=lambda value: str(value)[:30])
def test_what_cannot_be_read_is_refused_with_its_reason(text: str, expected: str) -> None:
    assert reason(decode_senml_json, text.encode()) == expected


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
    (cbor2.dumps([{0: "a", 2: float("nan")}]), "value"),
    (cbor2.dumps([{0: "a", "n": "b", 2: 1}]), "field"),
    (cbor2.dumps([{0: "a", 2: 1, "heed_": 1}]), "field"),
]


@pytest.mark.parametrize(("payload", "expected"), CBOR_REFUSED, ids=lambda value: str(value)[:30])
def test_cbor_that_cannot_be_read_is_refused_with_its_reason(payload: bytes, expected: str) -> None:
    assert reason(decode_senml_cbor, payload) == expected


def decoded_or_reason(name: str, payload: bytes, channel: str | None) -> Decoded | str:
    try:
        return DECODERS[name](payload, "m1", channel, NOW)
    except DecodeError as error:
        return error.reason


def assert_sound(name: str, payload: bytes, channel: str | None) -> None:
    decoded = decoded_or_reason(name, payload, channel)
    if isinstance(decoded, str):
        assert decoded in {"json", "cbor", "shape", "channel", "value", "field", "version", "time"}
        return
    assert decoded.values
    for key, time_ns, value in decoded.values:
        assert key[0] == "m1"
        assert key[1]
        assert time_ns is None or type(time_ns) is int
        assert type(value) is float
        assert value - value == 0  # finite


numbers = st.integers(-(2**64), 2**64) | st.floats() | st.integers(-9, 9)
leaves = numbers | st.booleans() | st.none() | st.text(max_size=4) | st.binary(max_size=4)
any_record = st.dictionaries(st.sampled_from([*LABELS, "l", "x_"]) | st.integers(-8, 10), leaves, max_size=5)
right = st.fixed_dictionaries(
    {"n": st.sampled_from(["a", "b", ""])},
    optional=dict.fromkeys(("v", "s", "t", "bt", "bv", "bs"), numbers)
    | {"vb": st.booleans(), "u": st.text(max_size=3)},
)
packs = st.lists(any_record | right, max_size=4)


@given(st.binary(max_size=60), st.sampled_from([None, "t"]), st.sampled_from(["senml-json", "senml-cbor"]))
@settings(deadline=None, max_examples=500)
def test_any_bytes_are_read_or_refused_with_a_decode_error(payload: bytes, channel: str | None, name: str) -> None:
    assert_sound(name, payload, channel)


@given(packs, st.sampled_from([None, "t"]))
@settings(deadline=None, max_examples=500)
def test_any_pack_is_read_or_refused_with_a_decode_error(pack: list[dict[Any, Any]], channel: str | None) -> None:
    assert_sound("senml-cbor", as_cbor(pack), channel)
    as_text = (
        orjson.dumps(pack, default=lambda data: data.hex(), option=orjson.OPT_NON_STR_KEYS) if is_json(pack) else b"["
    )
    assert_sound("senml-json", as_text, channel)


def is_json(pack: list[dict[Any, Any]]) -> bool:
    return not any(type(value) is int and not -(2**63) <= value < 2**64 for record in pack for value in record.values())


@given(st.integers(2**28 * SECOND, 2**32 * SECOND), st.integers(0, 10**9))
def test_a_time_in_json_is_exact_to_the_nanosecond_however_it_is_split(total_ns: int, part_ns: int) -> None:
    base, part = Decimal(total_ns - part_ns).scaleb(-9), Decimal(part_ns).scaleb(-9)
    payload = f'[{{"bt":{base:f},"t":{part:e},"n":"a","v":1}}]'.encode()
    assert channels(decode_senml_json(payload, "m1", None, NOW)) == [("a", total_ns, 1.0)]
