"""One bad model file on a gateway: readings and alarms go on, and once it is mended so do scores."""

import json
import signal
from pathlib import Path

import pytest

from models.bundle import read_bundle
from tests.agents import aggregator, edge, eventually, run_cli, sqlite_rows
from tests.publishing import publish
from tests.servers import Mosquitto
from tests.swaps import PERIOD_MS, T0_MS, WINDOW, write_version

pytest.importorskip("onnxruntime")
FRAMES = 2 * WINDOW
ALARMS = "SELECT code, is_open, message FROM alarm ORDER BY time"


def frames(first: int) -> list[tuple[str, object]]:
    """Messages of one asset from number `first` on."""
    numbers = range(first, first + FRAMES)
    return [("factory/line/m1", {"ts": T0_MS + PERIOD_MS * number, "t": 1.0, "p": 2.0}) for number in numbers]


def test_readings_flow_past_a_model_file_that_was_cut_and_scores_come_when_it_is_mended(
    tmp_path: Path, broker: Mosquitto
) -> None:
    bundle, store = tmp_path / "wear.bundle", tmp_path / "store.db"
    write_version(bundle, "1")
    whole = bundle.read_bytes()
    bundle.write_bytes(whole[:-50])
    with (
        edge(tmp_path, broker.port, models=[bundle], period_s=PERIOD_MS / 1000) as agent,
        aggregator(tmp_path, broker.port, f'kind = "sqlite"\npath = "{store}"'),
    ):
        eventually(lambda: agent.says("connected to the sensor broker"), "agent up")
        (line,) = [line for line in agent.log.read_text().splitlines() if "cannot be used" in line]
        said = json.loads(line)
        assert (said["level"], said["file"], said["model"]) == ("error", str(bundle), "wear")
        assert "edge.toml: assets[0].models: " in said["reason"]
        assert run_cli("edge_agent.cli", "check", str(tmp_path / "edge.toml")).returncode == 2
        publish(broker.port, frames(0))
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
        publish(broker.port, frames(FRAMES))
        eventually(lambda: [row[1] for row in sqlite_rows(store, ALARMS)] == [1, 0], "the alarm is over")
        eventually(lambda: bool(sqlite_rows(store, "SELECT 1 FROM inference")), "scores come")
        bundle.unlink()
        agent.kill()  # a power cut
        agent.start()
        eventually(lambda: agent.says("the bundle of before serves"), "up without its file")
        publish(broker.port, frames(2 * FRAMES))
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
