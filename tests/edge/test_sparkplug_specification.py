"""The examples of the specification, where they lie beside the project."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.config import EdgeConfig
from edge_agent.core.intake import Intake, Message
from edge_agent.core.sparkplug.host import Host
from models.contract.quality import Quality
from tests.sparkplug_node import M, payload

EXAMPLES = Path(__file__).parents[3] / "shared/data/sparkplug_b/spec_examples.json"
pytestmark = [pytest.mark.realdata, pytest.mark.skipif(not EXAMPLES.exists(), reason="no examples here")]
CONFIG = EdgeConfig.model_validate(
    {
        "site": "s",
        "gateway": "g",
        "state_dir": "state",
        "topics": [{"template": "spBv1.0/Sparkplug B Devices/#", "format": "sparkplug-b"}],
        "channels": [{"match": "*/*"}],
        "assets": [{"match": "*"}],
    }
)


def examples() -> Iterator[tuple[str, dict[str, Any]]]:
    for example in json.loads(EXAMPLES.read_text()):
        if example["topic"] is not None:
            yield example["topic"], example["payload"]


def encoded(content: dict[str, Any]) -> bytes:
    metrics = [
        M(metric["value"], metric["dataType"], metric["name"], metric.get("alias"), metric["timestamp"])
        for metric in content.get("metrics", ())
    ]
    return payload(metrics, seq=content.get("seq"), time_ms=content["timestamp"])


def test_the_examples_give_the_readings_that_they_show() -> None:
    host = Host()
    intake = Intake(CONFIG, host=host)
    found: list[tuple[str, str, float]] = []
    refused: list[str] = []
    for at, (topic, content) in enumerate(examples()):
        entry = intake.take([Message(topic, encoded(content), content["timestamp"] * 1_000_000 + at)])
        refused += [letter.topic.split("/")[2] for letter in entry.deadletters]
        r = entry.readings
        marks = [(*r.channels[i], value) for i, value in zip(r.index, r.value.tolist(), strict=True)]
        if "DEATH" in topic:
            assert r.quality.tolist() == [Quality.UNCERTAIN_STALE] * len(r.quality)
            assert len(marks) == (14 if "NDEATH" in topic else 0)  # the device dies with the node, which comes first
        else:
            expected = [
                (topic.split("/")[-1], metric["name"].replace("/", "."), float(metric["value"]))
                for metric in content.get("metrics", ())
                if metric["dataType"] != "String" and metric["name"] != "bdSeq" and "Control/" not in metric["name"]
            ]
            if "CMD" not in topic:
                assert [row[:2] for row in marks] == [row[:2] for row in expected]
                assert [row[2] for row in marks] == pytest.approx([row[2] for row in expected])
        found += marks
    assert refused == ["NCMD", "DCMD"]  # commands are not subscribed to
    assert len(found) > 20
