"""Bodies made column by column hold the same rows as lines made one by one."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.core.lines import blocks, body
from aggregator.core.points import Points, Table
from models.contract.schema import MEASUREMENTS

NUMBER = st.floats(allow_infinity=False, allow_nan=False) | st.sampled_from([0.0, -0.0, 1.0, 65.0, 255.0, 256.0, -1.0])
NAME = st.text("ab ,=°温", min_size=1, max_size=4)

Read = tuple[str, frozenset[tuple[str, float]], str]


def read(line: bytes) -> Read:
    """Key, fields and time; numbers by value, for there is more than one short way to write some."""
    head, _, time = line.decode().rpartition(" ")
    key, _, fields = head.rpartition(" ")
    pairs = frozenset((name, float(number)) for name, number in (field.split("=") for field in fields.split(",")))
    assert all("." in field or "e" in field for field in fields.split(",")), "numbers are written as floats"
    return key, pairs, time


@st.composite
def tables(draw: st.DrawFn) -> Table:
    name = draw(st.sampled_from(["reading", "inference", "gateway"]))
    tags, fields, _ = MEASUREMENTS[name]
    series = draw(st.lists(st.tuples(*[NAME] * len(tags)), min_size=1, max_size=3))
    n = draw(st.integers(0, 12))
    used = draw(st.lists(st.sampled_from(fields), min_size=1, unique=True))
    columns = {field: np.array([draw(NUMBER | st.just(math.nan)) for _ in range(n)]) for field in used}
    columns[used[0]] = np.array([draw(NUMBER) for _ in range(n)])  # each row has a field
    index = np.array([draw(st.integers(0, len(series) - 1)) for _ in range(n)], dtype=np.int32)
    time_ns = np.array([draw(st.integers(1, 2**63 - 2)) for _ in range(n)], dtype=np.int64)
    return Table(name, series, index, time_ns, columns)


@given(tables())
def test_a_body_holds_the_rows_of_its_table(table: Table) -> None:
    text = body(table)
    assert text == b"" or text.endswith(b"\n")
    assert Counter(map(read, text.splitlines())) == Counter(map(read, table.lines()))


@given(st.lists(tables(), max_size=6), st.integers(1, 10))
def test_blocks_hold_all_rows_once_and_are_as_few_as_can_be(several: list[Table], max_rows: int) -> None:
    points = Points(tuple(several))
    found = blocks(points, max_rows)
    assert [len(block) for block in found[:-1]] == [max_rows] * (len(found) - 1)
    assert len(found) == math.ceil(len(points) / max_rows)
    expected = Counter(map(read, points.lines()))
    assert sum((Counter(map(read, block.body.split(b"\n"))) for block in found), Counter()) == expected
    assert sum((Counter(map(read, block.lines())) for block in found), Counter()) == expected


def test_texts_with_newlines_stand_in_a_body_as_they_are() -> None:
    table = Table(
        "alarm",
        [("s", "a", "c")],
        np.zeros(2, np.int32),
        np.array([5, 6]),
        {"is_open": np.ones(2)},
        {"id": ["x", "y"], "message": ["one\ntwo", 'say "no"']},
    )
    [block] = blocks(Points((table,)))
    assert block.body == b"\n".join(table.lines())
    assert b'message="one\ntwo" 5' in block.body


@pytest.mark.filterwarnings("error")
def test_large_numbers_are_no_small_ones() -> None:
    values = [1e300, -5.0, 256.0, 1e16, 0.1, 5e-324]
    table = Table("reading", [("s", "a", "c")], np.zeros(6, np.int32), np.arange(1, 7), {"value": np.array(values)})
    assert [read(line)[1] for line in body(table).splitlines()] == [{("value", value)} for value in values]


def test_nothing_is_no_block() -> None:
    assert blocks(Points()) == []
