"""SenML: what its records resolve to, and any pack. What each pack comes to stands in tests/formats."""

from decimal import Decimal
from typing import Any

import cbor2
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.core.decode.senml import decode_senml_cbor, decode_senml_json, resolve
from edge_agent.core.errors import DecodeError
from edge_agent.core.readings import Decoded
from tests.formats.case import ARRIVAL, SECOND
from tests.formats.senml_cases import CBOR, EXAMPLES, JSON, LABELS, as_cbor
from tests.formats.sound import assert_sound


def channels(decoded: Decoded) -> list[tuple[str, int | None, float]]:
    return [(channel, time_ns, value) for (_, channel), time_ns, value, _ in decoded.values]


def test_the_rfcs_cbor_bytes_read_as_its_readings() -> None:
    payload = bytes.fromhex(
        "82a721781b75726e3a6465763a6f773a3130653230373361303130383030363a22fb41d303a15b00106223614120050067766f6c7461676501"
        "615602fb405e066666666666a3006763757272656e74062402fb3ff3333333333333"
    )
    assert (
        channels(decode_senml_cbor(payload, "m1", None, ARRIVAL)) == EXAMPLES["5.1.2 times relative to the base"][1][:2]
    )


def test_each_kind_of_value_resolves_but_text_and_data_are_no_readings() -> None:
    kinds = (
        '[{"bn":"d:","n":"temp","v":23.1},{"n":"label","vs":"Hall"},{"n":"open","vb":false},{"n":"nfc","vd":"aGkgCg"}]'
    )
    records = list(resolve(orjson.loads(kinds)))
    assert [(record.name, record.value) for record in records] == [
        ("d:temp", 23.1),
        ("d:label", "Hall"),
        ("d:open", False),
        ("d:nfc", b"aGkgCg"),
    ]
    for decode, payload in (
        (decode_senml_json, kinds.encode()),
        (decode_senml_cbor, cbor2.dumps([{0: "n", 8: b"hi"}])),
    ):
        with pytest.raises(DecodeError, match="no finite number"):
            decode(payload, "m1", None, ARRIVAL)


def test_a_pack_is_timed_only_if_all_its_times_are_absolute() -> None:
    assert decode_senml_json(b'[{"n":"a","t":1700000000,"v":1}]', "m1", None, ARRIVAL).is_timed
    assert not decode_senml_json(
        b'[{"n":"a","t":1700000000,"v":1},{"n":"a","t":-5,"v":1}]', "m1", None, ARRIVAL
    ).is_timed


def test_a_decimal_fraction_in_cbor_is_exact() -> None:
    payload = cbor2.dumps([{-3: Decimal("1700000000.123456789"), 0: "a", 2: Decimal("0.1")}])
    assert channels(decode_senml_cbor(payload, "m1", None, ARRIVAL)) == [("a", 1_700_000_000_123_456_789, 0.1)]


numbers = st.integers(-(2**64), 2**64) | st.floats() | st.integers(-9, 9)
leaves = numbers | st.booleans() | st.none() | st.text(max_size=4) | st.binary(max_size=4)
any_record = st.dictionaries(st.sampled_from([*LABELS, "l", "x_"]) | st.integers(-8, 10), leaves, max_size=5)
right = st.fixed_dictionaries(
    {"n": st.sampled_from(["a", "b", ""])},
    optional=dict.fromkeys(("v", "s", "t", "bt", "bv", "bs"), numbers)
    | {"vb": st.booleans(), "u": st.text(max_size=3)},
)
packs = st.lists(any_record | right, max_size=4)


@given(packs, st.sampled_from([None, "t"]))
@settings(deadline=None, max_examples=500)
def test_any_pack_is_read_or_refused_with_a_decode_error(pack: list[dict[Any, Any]], channel: str | None) -> None:
    assert_sound(CBOR, as_cbor(pack), channel)
    as_text = (
        orjson.dumps(pack, default=lambda data: data.hex(), option=orjson.OPT_NON_STR_KEYS) if is_json(pack) else b"["
    )
    assert_sound(JSON, as_text, channel)


def is_json(pack: list[dict[Any, Any]]) -> bool:
    return not any(type(value) is int and not -(2**63) <= value < 2**64 for record in pack for value in record.values())


@given(st.integers(2**28 * SECOND, 2**32 * SECOND), st.integers(0, 10**9))
def test_a_time_in_json_is_exact_to_the_nanosecond_however_it_is_split(total_ns: int, part_ns: int) -> None:
    base, part = Decimal(total_ns - part_ns).scaleb(-9), Decimal(part_ns).scaleb(-9)
    payload = f'[{{"bt":{base:f},"t":{part:e},"n":"a","v":1}}]'.encode()
    assert channels(decode_senml_json(payload, "m1", None, ARRIVAL)) == [("a", total_ns, 1.0)]
