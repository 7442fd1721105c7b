"""InfluxDB line protocol: any text near it, and what the aggregator writes. What is read stands in tests/formats."""

import re

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.core.points import Table
from edge_agent.core.decode.line_protocol import decode_line_protocol
from tests.formats.case import ARRIVAL, topic
from tests.formats.sound import assert_sound

LINE = topic("influx-line")


@given(st.text(alphabet='mf=, \\"\n\r#1i.-te', max_size=40))
@settings(deadline=None, max_examples=1000)
def test_any_text_near_the_format_is_read_or_refused_with_a_decode_error(text: str) -> None:
    assert_sound(LINE, text.encode(), None)


# What the aggregator writes: no tag is empty, holds a control character or ends in a backslash.
tag = st.text(min_size=1, max_size=12).filter(lambda text: text.isprintable() and not re.search(r"\\$", text))
row = st.tuples(
    st.tuples(tag, tag, tag), st.integers(-(2**62), 2**62), st.floats(allow_nan=False, allow_infinity=False)
)


@given(st.lists(row, min_size=1, max_size=5))
@settings(deadline=None)
def test_what_the_aggregator_writes_is_read_back_exactly(rows: list[tuple[tuple[str, str, str], int, float]]) -> None:
    tags, times, values = (list(column) for column in zip(*rows, strict=True))
    index = np.arange(len(rows), dtype=np.int32)
    table = Table("reading", tags, index, np.array(times, np.int64), {"value": np.array(values)})
    decoded = decode_line_protocol(b"\n".join(table.lines()), "m1", None, ARRIVAL)
    expected = [
        (("m1", f"reading.{asset}.{channel}.{site}.value"), time_ns, value)
        for (site, asset, channel), time_ns, value in rows
    ]
    assert [value[:3] for value in decoded.values] == expected
