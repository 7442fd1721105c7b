"""Topics of Sparkplug B in the configuration: what is allowed, and what the errors say."""

from typing import Any

import pytest
from pydantic import ValidationError

from edge_agent.config import SensorBroker, Topic
from edge_agent.core.sparkplug.topic import SparkplugTemplate


def sparkplug(template: str, **more: Any) -> Topic:
    return Topic.model_validate({"format": "sparkplug-b", "template": template} | more)


@pytest.mark.parametrize(
    ("template", "first", "last"),
    [
        ("spBv1.0/plant-1/#", "spBv1.0/plant-1/NBIRTH/+", "spBv1.0/plant-1/DDEATH/+/+"),
        ("spBv1.0/+/#", "spBv1.0/+/NBIRTH/+", "spBv1.0/+/DDEATH/+/+"),
        ("spBv1.0/Plant One/+/press 7/#", "spBv1.0/Plant One/NBIRTH/press 7", "spBv1.0/Plant One/DDEATH/press 7/+"),
    ],
)
def test_a_group_or_a_node_is_subscribed_to_without_its_commands(template: str, first: str, last: str) -> None:
    filters = SparkplugTemplate.parse(sparkplug(template).template).filters
    assert (len(filters), filters[0], filters[-1]) == (6, first, last)
    assert not any("CMD" in name or "STATE" in name for name in filters)


@pytest.mark.parametrize(
    "template",
    [
        "spBv1.0/#",
        "spBv1.0/plant-1",
        "spBv1.0//#",
        "spAv1.0/plant-1/#",
        "spBv1.0/plant-1/NDATA/#",
        "spBv1.0/plant-1/+/#/#",
        "spBv1.0/{group}/#",
        "spBv1.0/plant#/#",
        "spBv1.0/a/b/c/d/e",
        "factory/{asset}",
        "",
    ],
)
def test_another_template_is_refused_with_what_is_allowed(template: str) -> None:
    with pytest.raises(ValidationError, match=r'allowed are "spBv1\.0/<group>/#"'):
        sparkplug(template)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("dtype", "<i2"), ("texts", "skip"), ("compression", "gzip"), ("fields", {"value": "v"}), ("assets", "node")],
)
def test_settings_of_other_formats_are_refused(setting: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=setting):
        sparkplug("spBv1.0/plant-1/#", **{setting: value})


@pytest.mark.parametrize(("setting", "value"), [("assets", "node.device"), ("reorder_timeout_s", 1.0)])
def test_settings_of_sparkplug_are_refused_elsewhere(setting: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=f'{setting} is for format = "sparkplug-b"'):
        Topic.model_validate({"template": "factory/{asset}", setting: value})


@pytest.mark.parametrize("host_id", ["", "a/b", "a+", "#", "a\0"])
def test_a_host_id_is_one_level_of_a_topic(host_id: str) -> None:
    with pytest.raises(ValidationError, match="sparkplug_host_id"):
        SensorBroker.model_validate({"sparkplug_host_id": host_id})
