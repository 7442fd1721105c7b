"""Topic templates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.topics import TemplateError, TopicTemplate


@pytest.mark.parametrize(
    ("template", "subscribed", "topic", "found"),
    [
        ("f/{line}/{asset}/{channel}", "f/+/+/+", "f/l1/pump-7/temp", ("pump-7", "temp")),
        ("f/{line}/{asset}/{channel}", "f/+/+/+", "f/l1/pump-7", None),
        ("f/{line}/{asset}/{channel}", "f/+/+/+", "f/l1/pump-7/temp/x", None),
        ("f/{line}/{asset}/{channel}", "f/+/+/+", "g/l1/pump-7/temp", None),
        ("f/{line}/{asset}/{channel}", "f/+/+/+", "f/l1//temp", None),
        ("f/{line}/{asset}/{channel}", "f/+/+/+", "f/l1/pump-7/temp\n", ("pump-7", "temp\n")),
        ("{channel}/{asset}", "+/+", "t/a", ("a", "t")),
        ("{asset}", "+", "a", ("a", None)),
        ("f/{asset}/data", "f/+/data", "f/a/data", ("a", None)),
        ("f/{asset}/data", "f/+/data", "f/a/DATA", None),
        ("f.x/{asset}", "f.x/+", "f.x/a", ("a", None)),
        ("f.x/{asset}", "f.x/+", "f-x/a", None),  # a dot is a dot, not any character
        ("Werk 1/{asset}", "Werk 1/+", "Werk 1/Ölpumpe", ("Ölpumpe", None)),
    ],
)
def test_a_template_subscribes_to_its_filter_and_reads_asset_and_channel(
    template: str, subscribed: str, topic: str, found: tuple[str, str | None] | None
) -> None:
    parsed = TopicTemplate.parse(template)
    assert parsed.filter == subscribed
    assert parsed.read(topic) == found


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("", "allowed are"),
        ("f//{asset}", "allowed are"),
        ("/{asset}", "allowed are"),
        ("{asset}/", "allowed are"),
        ("f/+/{asset}", "allowed are"),
        ("{asset}/#", "allowed are"),
        ("f/{asset}x", "allowed are"),
        ("f/x{asset}", "allowed are"),
        ("f/{asset}{channel}", "allowed are"),
        ("f/{Asset}", "allowed are"),
        ("f/{asset", "allowed are"),
        ("f/{}", "allowed are"),
        ("f/{channel}", "{asset} is missing"),
        ("f/x", "{asset} is missing"),
        ("{asset}/{asset}", "stands twice"),
        ("{asset}/{line}/{line}", "stands twice"),
    ],
)
def test_a_template_that_cannot_be_used_is_refused_with_the_reason(template: str, why: str) -> None:
    with pytest.raises(TemplateError) as caught:
        TopicTemplate.parse(template)
    assert why in str(caught.value)
    assert repr(template) in str(caught.value)


@given(st.text(max_size=12), st.text(max_size=12))
def test_any_text_is_a_template_or_refused_and_any_topic_is_read_or_not(template: str, topic: str) -> None:
    try:
        parsed = TopicTemplate.parse(template + "/{asset}")
    except TemplateError:
        return
    found = parsed.read(topic)
    assert found is None or (found[0] and found[0] in topic)
