"""Any CSV becomes readings, or an error that says where and what is allowed."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.topics import TopicTemplate
from models.contract.topics import clean_name, is_channel_name
from tocsin.errors import UserError
from tocsin.plant.messages import Row, packed, single, timestamp
from tocsin.plant.replay import TOPIC, check_levels, check_topic, level_name, messages
from tocsin.plant.table import Layout, read_table

SKAB = ["datetime;Pressure;Volume Flow RateRMS;anomaly\n", "2020-03-09 10:14:33;0.05;32.0;0.0\n"]
SECOND_NS = 10**9


def read(lines: list[str], layout: Layout) -> list[Row]:
    return [row for rows in read_table(lines, layout, "file.csv") for row in rows]


def test_a_file_with_a_header_gives_each_numeric_column_as_a_channel_of_that_name() -> None:
    rows = read(SKAB, Layout(";", asset="valve1", exclude=("anomaly",)))
    time_ns = 1_583_748_873 * SECOND_NS
    assert rows == [Row("valve1", "Pressure", time_ns, 0.05), Row("valve1", "Volume Flow RateRMS", time_ns, 32.0)]


def test_a_file_without_header_separated_by_blanks_counts_cycles_from_a_start() -> None:
    layout = Layout("space", ("unit", "cycle", "s1"), "cycle", "h", SECOND_NS, "", "unit", "unit-")
    assert read(["1 2  518.7  \n", "\n", "2 1 519\n"], layout) == [
        Row("unit-1", "s1", 7201 * SECOND_NS, 518.7),
        Row("unit-2", "s1", 3601 * SECOND_NS, 519.0),
    ]


def test_empty_cells_and_nan_are_no_readings() -> None:
    assert [row.channel for row in read(["t,a,b,c\n", "1,,nan,3\n"], Layout(time_unit="s"))] == ["c"]


@pytest.mark.parametrize(
    ("lines", "layout", "words"),
    [
        (["t,a\n", "1,2\n", "2,x\n"], Layout(time_unit="s"), "file.csv: line 3, column 'a': 'x' is no number"),
        (["t,a\n", "noon,2\n"], Layout(), "line 2, column 't': 'noon' is no time (allowed: ISO 8601"),
        (["t,a\n", "noon,2\n"], Layout(time_unit="ms"), "allowed: a number of ms"),
        (["t,a\n", "1e40,2\n"], Layout(time_unit="s"), "'1e40' is no time"),
        (["t,a\n", "nan,2\n"], Layout(time_unit="s"), "'nan' is no time"),
        (["t,a\n", "1,2,3\n"], Layout(time_unit="s"), "line 2: 3 cells (allowed: 2"),
        (["t,a\n", "1,2\n"], Layout(time_unit="s", channels=("b",)), "no column 'b' (allowed: t, a)"),
        (["t,a\n", "1,word\n"], Layout(time_unit="s"), "no channel is left"),
        (["t,a,a\n", "1,2,3\n"], Layout(time_unit="s"), "allowed: distinct names"),
        (["t,\x07\n", "1,2\n"], Layout(time_unit="s"), "column '\\x07' is no name of a channel (allowed: 1 to 500"),
        (["t,a\n", "1,2\n"], Layout("::"), "separator '::' (allowed: one character"),
        (["t,a\n", "1,2\n"], Layout(time_unit="s", asset="a/b"), "'a/b' is no name of an asset"),
    ],
)
def test_a_fault_is_named_with_file_line_column_and_what_is_allowed(
    lines: list[str], layout: Layout, words: str
) -> None:
    with pytest.raises(UserError, match=re.escape(words)):
        read(lines, layout)


@given(st.lists(st.tuples(st.integers(0, 2**40), st.floats(allow_nan=False, allow_infinity=False)), max_size=20))
def test_every_number_and_time_comes_through_exactly(cells: list[tuple[int, float]]) -> None:
    lines = ["t,a\n", *(f"{time_ms},{value!r}\n" for time_ms, value in cells)]
    rows = read(lines, Layout(time_unit="ms"))
    assert [(row.time_ns, row.value) for row in rows] == [(time_ms * 10**6, value) for time_ms, value in cells]


@given(st.text(max_size=80))
def test_a_cleaned_name_is_one_safe_topic_level_or_empty(name: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}|", clean_name(name))


@given(st.text(max_size=80).map(str.strip).filter(is_channel_name))
def test_every_name_that_a_channel_may_have_comes_through_and_is_a_level_of_a_topic(name: str) -> None:
    (row,) = read(['t,"' + name.replace('"', '""') + '"\n', "1,2\n"], Layout(time_unit="s"))
    assert row.channel == name
    (message,) = messages((row,), TOPIC, pack=False)
    assert message.topic.count("/") == TOPIC.count("/")
    assert TopicTemplate.parse("factory/{line}/{asset}/{channel}").read(message.topic) == ("replay", level_name(name))
    assert not set("+#") & set(message.topic)
    assert json.loads(next(messages((row,), "f/{asset}", pack=True)).payload)["values"] == {name: 2.0}


def test_two_columns_that_are_one_level_of_a_topic_are_refused() -> None:
    known: dict[str, str] = {}
    check_levels((Row("a", "m/s", 0, 1.0), Row("a", "Température", 0, 1.0)), known)
    assert (level_name("m/s"), level_name("Température")) == ("m_s", "Température")
    with pytest.raises(UserError, match="columns 'm/s' and 'm_s' are both 'm_s' in a topic"):
        check_levels((Row("a", "m_s", 0, 1.0),), known)


@given(st.integers(0, 4 * 10**18))
def test_the_agent_reads_every_time_stamp_as_it_was_meant(time_ns: int) -> None:
    from edge_agent.core.decode.times import parse_time_ns

    exact = time_ns if time_ns >= 10**17 else time_ns // 1000 * 1000
    assert parse_time_ns(timestamp(time_ns)) == exact


def test_a_line_becomes_a_message_a_reading_or_one_packed_message() -> None:
    rows = (Row("a", "x", 10**18, 1.5), Row("a", "y", 10**18, 2.5))
    assert list(messages(rows, TOPIC, pack=False)) == [
        single("factory/replay/a/x", rows[0]),
        single("factory/replay/a/y", rows[1]),
    ]
    assert list(messages(rows, "f/{asset}", pack=True)) == [packed("f/a", rows)]
    assert packed("f/a", rows).payload == b'{"ts":1000000000000,"values":{"x":1.5,"y":2.5}}'


@pytest.mark.parametrize("topic", ["factory/{asset}", "f/{asset}/{channel}/#", "f/{asset}/{channel}/{line}", "f"])
def test_a_topic_template_that_cannot_work_is_refused(topic: str) -> None:
    with pytest.raises(UserError, match="allowed: a topic without wildcards"):
        check_topic(topic, pack=False)
