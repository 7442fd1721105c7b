"""The doctor's templates: levels of the topics that vary become names, and formats are kept apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.doctor.formats import Reading
from edge_agent.core.doctor.templates import group_topics
from edge_agent.core.topics import TopicTemplate

SINGLE, MANY = Reading("json", names_channels=False), Reading("json")


@pytest.mark.parametrize(
    ("topics", "expected"),
    [
        ({"f/l1/pump1/temp": SINGLE, "f/l2/pump2/speed": SINGLE}, {"f/{level_b}/{asset}/{channel}"}),
        ({"f/pump1/temp": SINGLE, "f/pump2/temp": SINGLE}, {"f/{asset}/{channel}"}),
        ({f"t{c}/pump{c}": SINGLE for c in "abcdefghijk"}, {"{asset}/{channel}"}),
        ({"f/pump1": MANY, "f/pump2": MANY}, {"f/{asset}"}),
        ({"f/pump1/telemetry": MANY, "f/pump2/status": MANY}, {"f/{asset}/{level_c}"}),
        ({"f/pump1/telemetry": MANY}, {"f/{asset}/telemetry"}),
        ({"f/pump1/temp": SINGLE}, {"f/{asset}/{channel}"}),
        (
            {"f/pump1/temp": SINGLE, "f/pump2/rpm": SINGLE, "f/pump1/state": MANY},
            {"f/{asset}/{channel}", "f/{asset}/state"},
        ),
        ({"pump1": MANY}, {"{asset}"}),
        ({"f/p{1}/temp": SINGLE, "f/p{2}/flow": SINGLE}, {"f/{asset}/{channel}"}),
        ({"f/{x}/pump1": MANY, "f/{x}/pump2": MANY}, {"f/{level_b}/{asset}"}),
    ],
)
def test_levels_that_vary_become_names(topics: dict[str, Reading], expected: set[str]) -> None:
    groups = group_topics(topics)
    assert groups.inexpressible == {}
    assert {group.template for group in groups.groups} == expected


@pytest.mark.parametrize("topic", ["a//b", "/a/b", "a/b/"])
def test_topics_with_an_empty_level_are_said_to_be_out_of_reach(topic: str) -> None:
    assert list(group_topics({topic: MANY}).inexpressible) == [topic]


def test_formats_that_no_template_tells_apart_leave_the_rarer_one_out() -> None:
    readings = {f"f/pump{i}/temp": SINGLE for i in range(5)} | {"f/pump1/flow": Reading("cbor", names_channels=False)}
    groups = group_topics(readings)
    assert list(groups.inexpressible) == ["f/pump1/flow"]


_TOPIC = st.lists(st.sampled_from(["a", "b", "p1", "p2", "{x}", "é"]), min_size=1, max_size=4).map("/".join)
_READING = st.builds(
    Reading, st.sampled_from(["json", "cbor", "influx-line"]), st.just("none"), st.booleans(), st.just(())
)


@given(readings=st.dictionaries(_TOPIC, _READING, max_size=12))
def test_each_topic_finds_a_group_that_reads_it_or_is_said_to_find_none(readings: dict[str, Reading]) -> None:
    groups = group_topics(readings)
    placed = [topic for group in groups.groups for topic in group.topics]
    assert sorted([*placed, *groups.inexpressible]) == sorted(readings)
    for topic in placed:
        first = next(g for g in groups.groups if TopicTemplate.parse(g.template).read(topic))
        assert first.reading.format == readings[topic].format
        assert readings[topic].names_channels or "{channel}" in first.template
