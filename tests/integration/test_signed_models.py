"""The real agent runs the models of those whom it trusts: at its start, when it reads its configuration again, in
its check and in a replay."""

import json
import re
import shutil
import signal
from pathlib import Path

import pytest

from models.bundle import read_bundle
from models.signing import sign
from tests.agents import EDGE, Process, edge, eventually, run_cli
from tests.bundles import STRANGER, sign_files
from tests.servers import Mosquitto

pytest.importorskip("onnxruntime")
ZOO = Path(__file__).parents[2] / "models" / "zoo"


def test_an_agent_runs_what_is_signed_and_refuses_what_is_not(tmp_path: Path, mosquitto: Mosquitto) -> None:
    assert mosquitto.port  # it is installed; the agent has a broker of its own, for its session would stay
    model = tmp_path / "pump.bundle"
    shutil.copy(ZOO / "pump.bundle", model)
    trusted = sign_files(tmp_path, model)
    signed = model.read_bytes()
    config = tmp_path / "edge.toml"
    with (
        Mosquitto(tmp_path / "broker") as broker,
        edge(tmp_path, broker.port, models=[model], inference=trusted, period_s=0.5) as agent,
    ):
        eventually(lambda: agent.says("connected to the sensor broker"), "agent up with a signed model")
        assert not agent.says("allow_unsigned")
        assert agent.says(f"({read_bundle(model).digest[:12]}) on ")
        sign(read_bundle(model), STRANGER).save(model)
        agent.signal(signal.SIGHUP)
        eventually(lambda: agent.says("a stranger's; trusted are"), "a stranger's model is refused")
        model.write_bytes(signed[:500] + b"x" + signed[501:])
        agent.signal(signal.SIGHUP)
        eventually(lambda: agent.says("one that was cut or changed"), "a model that was tampered with is refused")
        model.write_bytes(signed)
        assert agent.stop() == 0
    assert json.loads(run_cli("edge_agent.cli", "check", str(config), "--json").stdout)["ok"]
    shutil.copy(ZOO / "pump.bundle", model)
    checked = run_cli("edge_agent.cli", "check", str(config), "--json")
    (fault,) = json.loads(checked.stdout)["faults"]
    assert (checked.returncode, "pump.bundle: is not signed; trusted are" in fault) == (2, True)
    recorded = tmp_path / "d.csv"
    recorded.write_text("time,speed\n2024-01-01T00:00:00,1\n")
    replayed = run_cli("tocsin.edge", "replay", str(config), str(recorded))
    assert (replayed.returncode, "pump.bundle: is not signed" in replayed.stderr) == (2, True)


def test_a_key_that_is_taken_back_takes_its_models_out_of_a_running_agent_and_out_of_what_it_keeps(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    assert mosquitto.port
    (tmp_path / "other").mkdir()
    model = Path(shutil.copy(ZOO / "pump.bundle", tmp_path))
    leaked, other = sign_files(tmp_path, model), sign_files(tmp_path / "other")
    config = tmp_path / "edge.toml"
    with (
        Mosquitto(tmp_path / "broker") as broker,
        edge(tmp_path, broker.port, models=[model], inference=leaked, period_s=0.5) as agent,
    ):
        eventually(lambda: agent.says("connected to the sensor broker"), "agent up")
        shutil.copy(ZOO / "pump.bundle", model)
        agent.kill()
        agent.start()
        eventually(lambda: agent.says("the bundle of before serves"), "the kept copy is signed")
        eventually(lambda: agent.log.read_text().count('"event": "started"') == 2, "agent up again")
        config.write_text(config.read_text().replace(leaked, other))
        agent.signal(signal.SIGHUP)
        eventually(lambda: agent.says("it scores nothing"), "neither file nor copy serves")
        eventually(lambda: agent.says('{"models": [], "event": "configuration reloaded"'), "the reload is taken over")
        assert agent.stop() == 0


def test_a_model_of_the_journal_that_is_trusted_no_more_keeps_no_agent_from_starting(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    assert mosquitto.port
    with Mosquitto(tmp_path / "broker") as broker:
        first = run_once(tmp_path, broker, "pump")
        assert "is not scored" not in first
        second = run_once(tmp_path, broker, "motor").removeprefix(first)
    assert "what the journal has for this model is not scored" in second
    assert "a stranger's; trusted are" in second
    assert "the snapshot cannot be used" not in second


def test_a_model_of_the_journal_that_runs_on_no_provider_any_more_keeps_no_agent_from_starting(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    assert mosquitto.port
    with Mosquitto(tmp_path / "broker") as broker:
        first = run_once(tmp_path, broker, "pump")
        toml = tmp_path / "edge.toml"
        without = re.sub("models = .*]", "models = []}]", toml.read_text()).replace('["cpu"]', '["tensorrt"]')
        toml.write_text(without)
        second = ran(Process(EDGE, ["run", str(toml)], tmp_path))
    assert "what the journal has for this model is not scored" in second.removeprefix(first)
    assert "runs on none of inference.providers: tensorrt: " in second


def run_once(tmp_path: Path, broker: Mosquitto, kind: str) -> str:
    """An agent with one model, signed by a key of its own, which it alone trusts; its log after an orderly end."""
    folder = tmp_path / kind
    folder.mkdir()
    model = Path(shutil.copy(ZOO / f"{kind}.bundle", folder))
    return ran(edge(tmp_path, broker.port, models=[model], inference=sign_files(folder, model), period_s=0.5))


def ran(agent: Process) -> str:
    """The log of all agents so far, once this one has come up and ended in order."""
    before = agent.log.read_text() if agent.log.exists() else ""
    with agent:
        up = "connected to the sensor broker"
        eventually(lambda: up in agent.log.read_text().removeprefix(before), "agent up")
        assert agent.stop() == 0
    return agent.log.read_text()
