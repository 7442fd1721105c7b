"""One bad model file on a gateway: readings and alarms go on, and once it is mended so do scores."""

import json
import signal
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from models.bundle import read_bundle
from tests.agents import aggregator, edge, eventually, run_cli, sqlite_rows
from tests.servers import Mosquitto
from tests.swaps import PERIOD_MS, T0_MS, WINDOW, write_version

pytest.importorskip("onnxruntime")
FRAMES = 2 * WINDOW
ALARMS = "SELECT code, is_open, message FROM alarm ORDER BY time"


def publish(port: int, first: int) -> None:
    """Frames of one asset from number `first` on."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", port)
    client.loop_start()
    for number in range(first, first + FRAMES):
        content = {"ts": T0_MS + PERIOD_MS * number, "t": 1.0, "p": 2.0}
        last = client.publish("factory/line/m1", json.dumps(content), qos=1)
    last.wait_for_publish(30)
    client.disconnect()
    client.loop_stop()


def test_readings_flow_past_a_model_file_that_was_cut_and_scores_come_when_it_is_mended(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    assert mosquitto.port  # it is installed; the agent has a broker of its own, for its session would stay
    bundle, store = tmp_path / "wear.bundle", tmp_path / "store.db"
    write_version(bundle, "1")
    whole = bundle.read_bytes()
    bundle.write_bytes(whole[:-50])
    with (
        Mosquitto(tmp_path / "broker") as broker,
        edge(tmp_path, broker.port, models=[bundle], period_s=PERIOD_MS / 1000) as agent,
        aggregator(tmp_path, broker.port, f'kind = "sqlite"\npath = "{store}"'),
    ):
        eventually(lambda: agent.says("connected to the sensor broker"), "agent up")
        (line,) = [line for line in agent.log.read_text().splitlines() if "cannot be used" in line]
        said = json.loads(line)
        assert (said["level"], said["file"], said["model"]) == ("error", str(bundle), "wear")
        assert "edge.toml: assets[0].models: " in said["reason"]
        assert run_cli("edge_agent.cli", "check", str(tmp_path / "edge.toml")).returncode == 2
        publish(broker.port, 0)
        count = "SELECT count(*) FROM reading"
        eventually(lambda: sqlite_rows(store, count) == [(2 * FRAMES,)], "readings are stored")
        eventually(lambda: len(sqlite_rows(store, ALARMS)) == 1, "and the alarm")
        ((code, is_open, message),) = sqlite_rows(store, ALARMS)
        assert (code, is_open) == ("model-out-of-service/wear", 1)
        assert "wear: scores no windows: " in message
        assert "wear.bundle: no bundle, or one that was cut or changed" in message
        bundle.write_bytes(whole)
        agent.signal(signal.SIGHUP)
        eventually(lambda: agent.says("configuration reloaded"), "reloaded")
        publish(broker.port, FRAMES)
        eventually(lambda: [row[1] for row in sqlite_rows(store, ALARMS)] == [1, 0], "the alarm is over")
        eventually(lambda: bool(sqlite_rows(store, "SELECT 1 FROM inference")), "scores come")
        bundle.unlink()
        agent.kill()  # a power cut
        agent.start()
        eventually(lambda: agent.says("the bundle of before serves"), "up without its file")
        publish(broker.port, 2 * FRAMES)
        scores = "SELECT count(*) FROM inference"
        eventually(lambda: sqlite_rows(store, scores)[0][0] > FRAMES + WINDOW, "the kept bundle scores")
        *_, (code, is_open, message) = sqlite_rows(store, ALARMS)
        assert (code, is_open) == ("model-out-of-service/largest", 1)
        (bundle.parent / "again.bundle").write_bytes(whole)
        digest = read_bundle(bundle.parent / "again.bundle").digest
        assert f"largest: {digest[:12]} of before serves: " in message


def test_an_agent_that_cannot_start_says_so_in_one_line_of_json(tmp_path: Path) -> None:
    with edge(tmp_path, 1, inference='trusted_keys = ["gone.pub.pem"]') as agent:
        assert agent.wait() == 2
    said = json.loads(agent.log.read_text())
    assert (said["event"], said["level"], said["exit_code"]) == ("the agent cannot start", "error", 2)
    assert "gone.pub.pem: cannot be read" in said["error"]
