"""Line protocol, checked by a reader that shares no code with the writer."""

import math
import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from aggregator.core.batching import merge
from aggregator.core.points import Points, Table
from aggregator.core.rows import MAX_TIME_NS

TAG = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\\"), min_size=1, max_size=20)
NUMBER = st.floats(allow_infinity=False, allow_nan=False)
TIME = st.integers(1, MAX_TIME_NS)


def unescaped(text: str, separator: str) -> list[str]:
    return re.split(rf"(?<!\\){separator}", text)


@given(st.tuples(TAG, TAG, TAG), NUMBER, NUMBER | st.just(math.nan), TIME)
def test_a_line_reads_back_as_the_row(tags: tuple[str, ...], value: float, denoised: float, time_ns: int) -> None:
    table = Table(
        "reading",
        [tags],
        np.zeros(1, np.int32),
        np.array([time_ns]),
        {"value": np.array([value]), "denoised": np.array([denoised]), "quality": np.zeros(1)},
    )
    [line] = table.lines()
    key, fields, time = unescaped(line.decode(), " ")
    name, *pairs = unescaped(key, ",")
    read_tags = [re.sub(r"\\([,= ])", r"\1", unescaped(pair, "=")[1]) for pair in pairs]
    assert (name, tuple(read_tags), int(time)) == ("reading", tags, time_ns)
    read_fields = {name: float(number) for name, number in (field.split("=") for field in fields.split(","))}
    expected = {"value": value, "denoised": denoised, "quality": 0.0}
    assert read_fields == {name: number for name, number in expected.items() if not math.isnan(number)}
    assert not re.search(r"=-?\d+[ ,]", fields + " "), "numbers are written as floats"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_text_field_ends_where_it_should(text: str) -> None:
    table = Table(
        "alarm", [("s", "a", "c")], np.zeros(1, np.int32), np.array([5]), {"is_open": np.ones(1)}, {"message": [text]}
    )
    [line] = table.lines()
    found = re.fullmatch(r'alarm,site=s,asset=a,code=c is_open=1\.0,message="(.*)" 5', line.decode(), re.DOTALL)
    assert found is not None
    assert re.sub(r'\\(["\\])', r"\1", found[1]) == text


@given(st.lists(st.lists(st.integers(), max_size=8)), st.integers(1, 10))
def test_merging_keeps_order_and_size(batches: list[list[int]], max_rows: int) -> None:
    groups = list(merge(batches, max_rows))
    assert [batch for group in groups for batch in group] == batches
    assert all(len(group) == 1 or sum(map(len, group)) <= max_rows for group in groups)


def test_points_add_up() -> None:
    assert len(Points() + Points()) == 0
