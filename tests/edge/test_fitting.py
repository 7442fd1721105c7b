"""Whether a model's inputs are in the units that its channels have: told, never refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from edge_agent.config import EdgeConfig
from edge_agent.core.fitting import namesakes, unlike_units
from edge_agent.metrics import Metrics
from edge_agent.models import AgentModels
from models.bundle import Bundle, read_bundle, write_bundle
from models.manifest import Channel
from tests import small_models
from tests.agents import run_cli
from tests.edge.models import manifest

MODEL = Path("pump.bundle")


def config(*channels: tuple[str, str], model: Path = MODEL, **asset: Any) -> EdgeConfig:
    """Channels: what they match, and their unit."""
    return EdgeConfig.model_validate(
        {
            "site": "s",
            "gateway": "g",
            "state_dir": "state",
            "topics": [{"template": "{asset}/{channel}"}],
            "channels": [{"match": match, "unit": unit} for match, unit in channels],
            "assets": [{"match": "pump-*", "models": [model], **asset}],
            "inference": {"providers": ["cpu"], "allow_unsigned": True},
        }
    )


def told(settings: EdgeConfig, name: str, unit: str) -> list[str]:
    """Of a model with that one input."""
    model = manifest("m", (name,), 3).model_copy(update={"channels": (Channel(name=name, unit=unit),)})
    return unlike_units(settings, {MODEL: model})


def test_another_unit_is_told_with_file_channel_and_both_units() -> None:
    assert told(config(("*/p", "psi")), "p", "bar") == [
        "pump.bundle was trained on p in bar; the configuration has pump-*/p in psi"
    ]


@pytest.mark.parametrize(
    ("trained", "configured"),
    [("bar", "bar"), ("°C", "degC"), ("℃", "deg C"), ("m/s²", "m/s2"), ("µm", "μm"), ("", "psi"), ("bar", "")],
)
def test_other_signs_for_one_unit_and_a_side_without_one_are_not_told(trained: str, configured: str) -> None:
    assert told(config(("*/p", configured)), "p", trained) == []


def test_different_models_of_one_name_and_version_are_told() -> None:
    one, other = manifest("m", ("p",), 3), manifest("m", ("p",), 4)
    (told,) = namesakes({Path("a.bundle"): one, Path("b.bundle"): other})
    assert told.startswith("a.bundle, b.bundle are different models that are all named m 1: ")
    assert namesakes({Path("a.bundle"): one, Path("copy.bundle"): one}) == []
    assert namesakes({Path("a.bundle"): one, Path("b.bundle"): other.model_copy(update={"version": "9"})}) == []


def test_a_prefix_in_another_case_is_another_unit() -> None:
    assert len(told(config(("*/p", "mW")), "p", "MW")) == 1


def test_the_rule_that_holds_decides_for_each_asset_that_is_named() -> None:
    named = ("pump-1/p", "psi"), ("fan-1/p", "psi"), ("*/p", "bar"), ("pump-2/p", "psi")
    (found,) = told(config(*named), "p", "bar")
    assert "pump-1/p in psi" in found


def test_a_derived_channel_has_the_unit_that_its_rule_says_and_a_feature_none() -> None:
    derived: dict[str, Any] = {"derived": [{"channel": "d", "unit": "Pa", "expression": "p * 100000"}]}
    assert len(told(config(("*/*", "bar"), **derived), "d", "bar")) == 1
    assert told(config(("*/*", "bar"), **derived), "d", "Pa") == []
    assert told(config(("*/*", "bar")), "p.slope_60s", "bar/s") == []


def bundle(path: Path) -> Bundle:
    """One input, in bar, on a grid of 1 s."""
    mean = small_models.mean(4, 1)
    channels = (Channel(name="p", unit="bar"),)
    return write_bundle(path, mean.manifest.model_copy(update={"channels": channels}), mean.model)


def test_the_check_warns_and_the_agent_says_it_once_when_it_takes_the_configuration(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    path = tmp_path / "pump.bundle"
    bundle(path)
    settings = config(("*/p", "psi"), model=path)
    models = AgentModels(tmp_path / "models", settings.inference, Metrics())
    models.load(settings, tmp_path / "edge.toml", is_start=True)
    with capture_logs() as lines:
        models.adopt(1, 0)
    said = "pump.bundle was trained on p in bar; the configuration has pump-*/p in psi"
    assert [line["found"] for line in lines if line["log_level"] == "warning" and "found" in line] == [[said]]
    assert [model.digest for model in models.running] == [read_bundle(path).digest]
    toml = tmp_path / "edge.toml"
    toml.write_text(
        'site = "s"\ngateway = "g"\nstate_dir = "state"\n[[topics]]\ntemplate = "{asset}/{channel}"\n'
        '[[channels]]\nmatch = "*/p"\nunit = "psi"\n[[assets]]\nmatch = "pump-*"\nmodels = ["pump.bundle"]\n'
        "[inference]\nallow_unsigned = true\n"
    )
    done = run_cli("edge_agent.cli", "check", str(toml), "--json")
    assert (done.returncode, json.loads(done.stdout)["warnings"]) == (0, [said])
    assert f"{toml}: warning: {said}" in run_cli("edge_agent.cli", "check", str(toml)).stderr
