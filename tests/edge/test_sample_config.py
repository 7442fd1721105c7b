"""The samples in deploy/ say what is true: they can be used, and the defaults they show are the defaults."""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel

from aggregator import config as aggregator
from edge_agent import config as edge

DEPLOY = Path(__file__).parents[2] / "deploy"
DEFAULT = re.compile(r"^# (?=\w+ = )", re.MULTILINE)
EXAMPLE = re.compile(r"^## (?=\w+ = )", re.MULTILINE)

EDGE_SECTIONS: dict[str, type[BaseModel]] = {
    "sensor_broker": edge.SensorBroker,
    "topics": edge.Topic,
    "channels": edge.ChannelRule,
    "assets": edge.AssetRule,
    "uplink": edge.UplinkBroker,
    "journal": edge.Journal,
    "outbox": edge.Outbox,
    "inference": edge.Inference,
    "limits": edge.Limits,
    "metrics": edge.Metrics,
    "log": edge.Log,
}
AGGREGATOR_SECTIONS: dict[str, type[BaseModel]] = {
    "broker": aggregator.Broker,
    "store": aggregator.Influx1,
    "validation": aggregator.Validation,
    "read_back": aggregator.ReadBack,
    "retention": aggregator.Retention,
    "maintenance": aggregator.Maintenance,
    "metrics": aggregator.Metrics,
    "log": aggregator.Log,
}
SAMPLES = pytest.mark.parametrize(
    ("name", "load", "whole", "sections"),
    [
        ("edge.toml", edge.load, edge.EdgeConfig, EDGE_SECTIONS),
        ("aggregator.toml", aggregator.load, aggregator.AggregatorConfig, AGGREGATOR_SECTIONS),
    ],
)
Load = Callable[[Path], BaseModel]


@pytest.fixture(autouse=True)
def _no_secrets_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (aggregator.BROKER_PASSWORD, aggregator.INFLUX_TOKEN):
        monkeypatch.delenv(variable, raising=False)


@SAMPLES
def test_the_defaults_that_a_sample_shows_are_the_defaults(
    name: str, load: Load, whole: type[BaseModel], sections: dict[str, type[BaseModel]], tmp_path: Path
) -> None:
    text = (DEPLOY / name).read_text()
    assert set(whole.model_fields) >= set(sections)
    assert len(DEFAULT.findall(text)) > 10
    for path, content in ((tmp_path / "short.toml", text), (tmp_path / "long.toml", DEFAULT.sub("", text))):
        path.write_text(content)
    shown, real = load(tmp_path / "long.toml"), load(tmp_path / "short.toml")
    assert shown.model_dump() == real.model_dump()


@SAMPLES
def test_a_sample_mentions_every_key(
    name: str, load: Load, whole: type[BaseModel], sections: dict[str, type[BaseModel]]
) -> None:
    del load
    text = (DEPLOY / name).read_text()
    content = tomllib.loads(EXAMPLE.sub("", DEFAULT.sub("", text)))
    assert set(content) == set(whole.model_fields)
    for section, model in sections.items():
        tables = content[section] if isinstance(content[section], list) else [content[section]]
        assert set().union(*tables) == set(model.model_fields), section


def test_the_alternative_stores_of_the_aggregators_sample_can_be_used(tmp_path: Path) -> None:
    text = (DEPLOY / "aggregator.toml").read_text()
    blocks = re.findall(r"^#   \[store\]\n(?:#   .*\n)+", text, re.MULTILINE)
    assert len(blocks) == 3
    for block in blocks:
        lines = [line.removeprefix("#   ") for line in block.splitlines()]
        content = "\n".join(line for line in lines if not line.startswith("token_file"))
        path = tmp_path / "aggregator.toml"
        path.write_text(content)
        assert f'kind = "{aggregator.load(path).store.kind}"' in lines
