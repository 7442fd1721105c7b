"""Batches and receipts on the wire: round trips, golden payloads, and refusal of everything else."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from models.contract.batch import (
    MAX_BYTES,
    MAX_ENTRIES,
    VERSION,
    Alarm,
    Batch,
    ContractError,
    Inferences,
    NewerVersionError,
    Readings,
    Receipt,
    Refusal,
    decode_batch,
    decode_receipt,
    encode_batch,
    encode_receipt,
    floats,
    indices,
    ints,
    pack,
    rows,
)

GOLDEN = Path(__file__).parents[2] / "models" / "contract" / "golden"
INT64 = st.integers(-(2**63), 2**63 - 1)
words = st.text(max_size=6)
finite = st.floats(allow_nan=False)


def columns(n: int, kind: st.SearchStrategy[float], dtype: str) -> st.SearchStrategy[bytes]:
    return st.lists(kind, min_size=n, max_size=n).map(lambda values: pack(values, dtype))


def readings(n: int) -> st.SearchStrategy[Readings]:
    return st.builds(
        Readings,
        series=st.lists(st.tuples(words, words), min_size=2, max_size=3),
        index=columns(n, st.integers(0, 1), "<i4"),
        time_ns=columns(n, INT64, "<i8"),
        value=columns(n, st.floats(), "<f8"),
        denoised=columns(n, st.floats(), "<f8"),
        quality=columns(n, st.integers(0, 255), "u1"),
    )


def inferences(n: int) -> st.SearchStrategy[Inferences]:
    return st.builds(
        Inferences,
        series=st.lists(st.tuples(words, words, words), min_size=2, max_size=3),
        index=columns(n, st.integers(0, 1), "<i4"),
        time_ns=columns(n, INT64, "<i8"),
        fields=st.dictionaries(words, columns(n, st.floats(), "<f8"), max_size=3),
    )


alarms = st.builds(
    Alarm, asset=words, code=words, time_ns=INT64, is_open=st.booleans(), severity=finite, id=words, message=words
)
batches = st.builds(
    Batch,
    site=words,
    gateway=words,
    epoch=words,
    seq=INT64,
    readings=st.integers(0, 5).flatmap(readings),
    inferences=st.integers(0, 4).flatmap(inferences),
    alarms=st.lists(alarms, max_size=2),
    gateway_time_ns=INT64,
    gateway_fields=st.dictionaries(words, finite, max_size=2),
)
receipts = st.builds(
    Receipt,
    epoch=words,
    seq=INT64,
    stored=st.booleans(),
    reason=words,
    refused=st.lists(st.builds(Refusal, row=words, reason=words), max_size=2),
)


@given(batches)
@settings(deadline=None)
def test_a_batch_comes_back_equal_and_its_bytes_are_always_the_same(batch: Batch) -> None:
    payload = encode_batch(batch)
    assert decode_batch(payload) == batch
    assert encode_batch(decode_batch(payload)) == payload


@given(receipts)
@settings(deadline=None)
def test_a_receipt_comes_back_equal(receipt: Receipt) -> None:
    assert decode_receipt(encode_receipt(receipt)) == receipt


def wire(content: dict[str, Any]) -> bytes:
    return zstandard.compress(msgspec.msgpack.encode(content))


def sample() -> Batch:
    return Batch(
        site="s",
        gateway="g",
        epoch="e",
        seq=1,
        readings=Readings(
            series=[("a", "t")],
            index=pack([0, 0], "<i4"),
            time_ns=pack([1, 2], "<i8"),
            value=pack([1.0, 2.0]),
            denoised=pack([1.0, math.nan]),
            quality=pack([0, 129], "u1"),
        ),
        inferences=Inferences(
            series=[("a", "m", "1")],
            index=pack([0], "<i4"),
            time_ns=pack([2], "<i8"),
            fields={"health": pack([0.5])},
        ),
        alarms=[Alarm(asset="a", code="c", time_ns=2, is_open=True, severity=0.5, id="i", message="m")],
        gateway_time_ns=3,
        gateway_fields={"readings_total": 2.0},
    )


def test_columns_read_as_the_numbers_that_were_packed() -> None:
    batch = sample()
    assert ints(batch.readings.time_ns).tolist() == [1, 2]
    assert floats(batch.readings.value).tolist() == [1.0, 2.0]
    assert indices(batch.readings.index).tolist() == [0, 0]
    assert not floats(batch.readings.value).flags.writeable
    assert pack([1], "<i4") == b"\x01\0\0\0"
    assert rows(batch) == 2 + 1 + 1 + 1
    assert rows(Batch(site="s", gateway="g", epoch="e", seq=1)) == 0


FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("readings.value", {"value": pack([1.0])}),
    ("readings.time_ns", {"time_ns": pack([1, 2, 3], "<i8")}),
    ("readings.denoised", {"denoised": b""}),
    ("readings.quality", {"quality": b"\0" * 3}),
    ("readings.index", {"index": b"\0" * 7}),
    ("readings.index", {"index": pack([0, 1], "<i4")}),
    ("readings.index", {"index": pack([0, -1], "<i4")}),
    ("readings.index", {"series": []}),
]


@pytest.mark.parametrize(("where", "change"), FAULTS)
def test_columns_that_do_not_fit_are_refused_by_name(where: str, change: dict[str, Any]) -> None:
    batch = sample()
    batch.readings = msgspec.structs.replace(batch.readings, **change)
    with pytest.raises(ContractError, match=where):
        decode_batch(encode_batch(batch))


@pytest.mark.parametrize(
    ("where", "change"),
    [
        ("inferences.health", {"fields": {"health": b""}}),
        ("inferences.time_ns", {"time_ns": b"\0" * 9}),
        ("inferences.index", {"index": pack([1], "<i4")}),
    ],
)
def test_inferences_that_do_not_fit_are_refused_by_name(where: str, change: dict[str, Any]) -> None:
    batch = sample()
    batch.inferences = msgspec.structs.replace(batch.inferences, **change)
    with pytest.raises(ContractError, match=where):
        decode_batch(encode_batch(batch))


LATER: list[dict[str, Any]] = [
    {"version": VERSION + 1, "site": "s", "gateway": "g"},
    {"readings": [1, 2], "site": "s", "gateway": "g", "version": VERSION + 1},
    {"version": 2**64 - 1, "site": "s", "gateway": "g", "epoch": {"a": None}, "seq": "x", "alarms": b"x"},
]


@pytest.mark.parametrize("content", LATER)
def test_a_newer_version_is_told_apart_whatever_its_layout(content: dict[str, Any]) -> None:
    with pytest.raises(NewerVersionError, match=rf"this side reads version {VERSION}") as caught:
        decode_batch(wire(content))
    assert caught.value.version == content["version"]
    assert caught.value.sender == ("s", "g")


def test_a_newer_version_in_the_layout_of_this_one_is_told_apart() -> None:
    batch = sample()
    batch.version = VERSION + 1
    with pytest.raises(NewerVersionError, match=f"version {VERSION + 1}"):
        decode_batch(encode_batch(batch))


@pytest.mark.parametrize("names", [{}, {"site": 1, "gateway": "g"}, {"site": "s"}])
def test_a_newer_version_need_not_name_its_sender_as_this_one_does(names: dict[str, Any]) -> None:
    with pytest.raises(NewerVersionError) as caught:
        decode_batch(wire({"version": VERSION + 1} | names))
    assert caught.value.sender == ("", "")


@pytest.mark.parametrize("version", [0, -1, "2", 2.5, None, True])
def test_what_is_no_version_is_no_newer_one(version: object) -> None:
    content = msgspec.to_builtins(sample(), builtin_types=(bytes,)) | {"version": version}
    with pytest.raises(ContractError) as caught:
        decode_batch(wire(content))
    assert not isinstance(caught.value, NewerVersionError)


def test_a_cut_batch_of_a_newer_version_is_no_batch() -> None:
    content = msgspec.msgpack.encode(LATER[0])
    for end in range(len(content)):
        with pytest.raises(ContractError) as caught:
            decode_batch(zstandard.compress(content[:end]))
        assert not isinstance(caught.value, NewerVersionError)


def test_a_field_that_a_later_side_added_is_no_fault() -> None:
    content = msgspec.to_builtins(sample(), builtin_types=(bytes,)) | {"later": 1}
    assert decode_batch(wire(content)) == sample()


def test_every_cut_of_a_batch_is_refused() -> None:
    payload = encode_batch(sample())
    for end in range(len(payload)):
        with pytest.raises(ContractError):
            decode_batch(payload[:end])


def test_every_cut_of_a_receipt_is_refused() -> None:
    payload = encode_receipt(
        Receipt(epoch="e", seq=1, stored=False, reason="r", refused=[Refusal(row="r", reason="x")])
    )
    for end in range(len(payload)):
        with pytest.raises(ContractError):
            decode_receipt(payload[:end])


@given(st.binary(max_size=60))
@settings(deadline=None)
def test_any_bytes_are_a_batch_or_a_contract_error(content: bytes) -> None:
    for payload in (content, zstandard.compress(content)):
        with pytest.raises(ContractError):
            decode_batch(payload)


@given(st.binary(max_size=60))
@settings(deadline=None)
def test_any_bytes_are_a_receipt_or_a_contract_error(content: bytes) -> None:
    with pytest.raises(ContractError):
        decode_receipt(content)


@given(st.data())
@settings(deadline=None)
def test_a_batch_with_a_changed_byte_is_read_or_refused_with_a_contract_error(data: st.DataObject) -> None:
    content = bytearray(zstandard.decompress(encode_batch(sample())))
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    found: object
    try:
        found = decode_batch(zstandard.compress(bytes(content)))
    except ContractError as error:
        found = error
    assert isinstance(found, Batch | ContractError)


@pytest.mark.parametrize("nested", [b"\x91" * 5000, b"\x81\xa1x" * 5000, b"\x81\xa5later" + b"\x91" * 5000])
def test_deep_nesting_is_refused(nested: bytes) -> None:
    with pytest.raises(ContractError):
        decode_batch(zstandard.compress(nested))
    with pytest.raises(ContractError):
        decode_receipt(nested)


def streamed(blocks: int) -> bytes:
    """A frame of that many MiB that does not tell its size."""
    compressor = zstandard.ZstdCompressor(level=1).compressobj()
    block = b"\0" * (1024 * 1024)
    return b"".join([*(compressor.compress(block) for _ in range(blocks)), compressor.flush()])


def test_a_payload_that_unpacks_to_more_than_the_bound_is_refused() -> None:
    blocks = MAX_BYTES // (1024 * 1024) + 1
    for bomb in (streamed(blocks), zstandard.compress(b"\0" * (blocks * 1024 * 1024))):
        assert len(bomb) < MAX_BYTES // 1000
        with pytest.raises(ContractError, match=f"{MAX_BYTES}"):
            decode_batch(bomb)


def test_a_frame_that_does_not_tell_its_size_is_read() -> None:
    compressor = zstandard.ZstdCompressor(write_content_size=False)
    assert decode_batch(compressor.compress(zstandard.decompress(encode_batch(sample())))) == sample()


@pytest.mark.parametrize("claimed", [0, 1, 10**6, MAX_BYTES, 2**63, 2**64 - 2])
def test_a_frame_that_lies_about_its_size_is_refused(claimed: int) -> None:
    """Its header made anew, with a size of eight bytes (RFC 8878, 3.1.1.1)."""
    honest = zstandard.ZstdCompressor(write_content_size=False, write_checksum=False).compress(b"x" * 300)
    magic, window, blocks = honest[:4], honest[5:6], honest[6:]
    with pytest.raises(ContractError):
        decode_batch(magic + b"\xc0" + window + claimed.to_bytes(8, "little") + blocks)


@pytest.mark.parametrize(
    "change",
    [
        lambda payload: payload + b"x",
        lambda payload: payload + zstandard.compress(b""),
        zstandard.compress,
        lambda payload: b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + payload,  # a skippable frame
        lambda payload: streamed(1) + payload,
    ],
)
def test_anything_but_one_frame_is_refused(change: Callable[[bytes], bytes]) -> None:
    with pytest.raises(ContractError):
        decode_batch(change(encode_batch(sample())))


def array(length: int, item: bytes) -> bytes:
    return b"\xdd" + length.to_bytes(4, "big") + item * length


MANY = MAX_ENTRIES + 1
NAMES = b"\xa4site\xa1s\xa7gateway\xa1g\xa5epoch\xa1e\xa3seq\x01"


@pytest.mark.parametrize(
    "table",
    [
        b"\xa8readings\x81\xa6series" + array(MANY, b"\x92\xa0\xa0"),
        b"\xaainferences\x81\xa6series" + array(MANY, b"\x93\xa0\xa0\xa0"),
        b"\xa6alarms" + array(MANY, b"\x80"),
        b"\xaegateway_fields\xde\x03\xe8" + b"".join(b"\xa4%04d\x01" % number for number in range(1000)),
    ],
)
def test_a_batch_of_more_things_than_any_gateway_has_is_refused_before_they_are_made(table: bytes) -> None:
    with pytest.raises(ContractError, match="length <="):
        decode_batch(zstandard.compress(b"\x85" + NAMES + table))


@pytest.mark.parametrize("name", ["site", "gateway", "epoch"])
def test_a_name_that_no_receipt_should_carry_is_refused(name: str) -> None:
    with pytest.raises(ContractError, match=name):
        decode_batch(encode_batch(msgspec.structs.replace(sample(), **{name: "x" * 65})))


def readable(content: Batch | Receipt) -> dict[str, Any]:
    """As plain JSON: columns as numbers, NaN as null."""
    found = msgspec.to_builtins(content, builtin_types=(bytes,))
    assert isinstance(found, dict)
    if isinstance(content, Batch):
        for table in ("readings", "inferences"):
            part = found[table]
            part["series"] = [list(row) for row in part["series"]]
            part["index"] = indices(part["index"]).tolist()
            part["time_ns"] = ints(part["time_ns"]).tolist()
        for name in ("value", "denoised"):
            found["readings"][name] = plain(found["readings"][name])
        found["readings"]["quality"] = list(found["readings"]["quality"])
        fields = found["inferences"]["fields"]
        found["inferences"]["fields"] = {name: plain(column) for name, column in fields.items()}
    return found


def plain(column: bytes) -> list[float | None]:
    return [None if math.isnan(value) else float(value) for value in floats(column)]


def test_the_golden_batch_of_version_1_reads_as_it_always_did() -> None:
    expected = json.loads((GOLDEN / "batch_v1.json").read_text())
    assert readable(decode_batch((GOLDEN / "batch_v1.bin").read_bytes())) == expected["batch"]


def test_the_golden_receipt_of_version_1_reads_as_it_always_did() -> None:
    expected = json.loads((GOLDEN / "batch_v1.json").read_text())
    assert readable(decode_receipt((GOLDEN / "receipt_v1.bin").read_bytes())) == expected["receipt"]


def test_the_golden_batch_of_a_version_to_come_is_told_apart() -> None:
    with pytest.raises(NewerVersionError) as caught:
        decode_batch((GOLDEN / "batch_newer.bin").read_bytes())
    assert (caught.value.version, caught.value.sender) == (2, ("north", "gw1"))
