"""Snapshots and journal entries as bytes."""

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edge_agent.core import state
from edge_agent.core.entries import (
    Configured,
    Data,
    Engine,
    JournalEntry,
    Refused,
    Tick,
    Withdrawn,
    decode_entry,
    encode_entry,
)
from edge_agent.core.readings import Readings, Waveform

INT64 = st.integers(-(2**63), 2**63 - 1)
arrays = st.sampled_from(["<f8", "<i8", "<i4", "|u1", "|b1"]).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
)
trees = st.recursive(
    st.one_of(st.none(), st.booleans(), INT64, st.floats(allow_nan=False), st.text(max_size=4), arrays),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.text(max_size=4).filter(lambda key: key != "__array__"), inner, max_size=3),
    ),
    max_leaves=6,
)


def assert_same(found: Any, expected: Any) -> None:
    if isinstance(expected, np.ndarray):
        assert isinstance(found, np.ndarray)
        assert found.flags.writeable
        assert (found.dtype, found.shape, found.tobytes()) == (expected.dtype, expected.shape, expected.tobytes())
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        assert type(found) is type(expected)
        assert found == expected


@given(trees)
@settings(deadline=None)
def test_a_snapshot_gives_back_the_tree_with_writable_arrays(tree: Any) -> None:
    assert_same(state.load(state.dump(tree)), tree)


def test_arrays_that_are_not_contiguous_come_back_equal() -> None:
    array = np.arange(12.0).reshape(3, 4).T[::2]
    np.testing.assert_array_equal(state.load(state.dump([array]))[0], array)


def test_what_is_no_plain_value_is_refused_when_dumped() -> None:
    with pytest.raises(TypeError, match="cannot be part of a snapshot"):
        state.dump({"a": object()})


def array_bytes(dtype: Any, shape: Any, data: Any) -> bytes:
    return state.dump({"a": {"__array__": dtype, "shape": shape, "data": data}})


GARBAGE = [
    b"",
    b"\xc1",
    b"\x91",
    b"\x91" * 5000,
    b"\x81\xa1a" * 5000,
    b"\xdd\xff\xff\xff\xff",
    b"\x81\xa1a\xa1\xff",
    array_bytes("<f8", [2], b"12345678"),
    array_bytes("<f8", [1], b"1234567"),
    array_bytes("<f8", [1], "12345678"),
    array_bytes("<f8", [1 << 60], b""),
    array_bytes("<f8", ["x"], b"12345678"),
    array_bytes("O", [1], b"12345678"),
    array_bytes("nonsense", [1], b"1"),
    array_bytes("f8,(", [1], b"1"),
    array_bytes({"a": 1}, [1], b"1"),
    state.dump({"__array__": "<f8"}),
]


@pytest.mark.parametrize("content", GARBAGE)
def test_garbage_is_no_snapshot(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        state.load(content)


@pytest.mark.parametrize("content", GARBAGE)
def test_garbage_is_no_entry(content: bytes) -> None:
    with pytest.raises(ValueError, match="no journal entry"):
        decode_entry(content)


@given(st.binary(max_size=40))
@settings(deadline=None)
def test_any_bytes_are_an_entry_or_a_value_error(content: bytes) -> None:
    found: object
    try:
        found = decode_entry(content)
    except ValueError as error:
        found = error
    assert isinstance(found, Data | Tick | Configured | Withdrawn | ValueError)


keys = st.tuples(st.text(max_size=5), st.text(max_size=5))
waveforms = st.builds(
    Waveform, channel=keys, time_ns=INT64, dt_ns=INT64, samples=st.binary(max_size=12), position=st.integers(0, 9)
)
readings = st.integers(0, 5).flatmap(
    lambda n: st.builds(
        Readings,
        st.lists(keys, min_size=1, max_size=3),
        hnp.arrays(np.int32, n, elements=st.just(0)),
        hnp.arrays(np.int64, n),
        hnp.arrays(np.float64, n),
        hnp.arrays(np.uint8, n),
    )
)
entries: st.SearchStrategy[JournalEntry] = st.one_of(
    st.builds(Tick, arrival_ns=INT64),
    st.builds(
        Configured,
        arrival_ns=INT64,
        config=st.text(max_size=9),
        digests=st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
        engines=st.dictionaries(st.text(max_size=3), st.builds(Engine, st.text(max_size=3), st.text(max_size=3))),
        refused=st.dictionaries(st.text(max_size=3), st.builds(Refused, st.text(max_size=3), st.text(max_size=3))),
    ),
    st.builds(Withdrawn, arrival_ns=INT64, digest=st.text(max_size=3), reason=st.text(max_size=3)),
    st.builds(Data.of, INT64, readings, st.lists(waveforms, max_size=2)),
)


@given(entries)
@settings(deadline=None)
def test_an_entry_comes_back_equal_from_its_bytes(entry: JournalEntry) -> None:
    assert decode_entry(encode_entry(entry)) == entry


def test_a_configuration_of_an_agent_that_knew_neither_engines_nor_refused_files_is_read() -> None:
    content = msgspec.msgpack.encode({"type": "configured", "arrival_ns": 1, "config": "{}", "digests": {"a": "b"}})
    assert decode_entry(content) == Configured(arrival_ns=1, config="{}", digests={"a": "b"})


@given(entries, st.data())
@settings(deadline=None)
def test_a_cut_entry_is_a_value_error(entry: JournalEntry, data: st.DataObject) -> None:
    content = encode_entry(entry)
    with pytest.raises(ValueError, match="no journal entry"):
        decode_entry(content[: data.draw(st.integers(0, len(content) - 1))])


@given(readings)
@settings(deadline=None)
def test_the_columns_of_readings_come_back_bit_for_bit(columns: Readings) -> None:
    found = Data.of(0, columns, []).readings()
    assert found.channels == columns.channels
    for name in ("index", "time_ns", "value", "quality"):
        assert getattr(found, name).tobytes() == getattr(columns, name).tobytes()
