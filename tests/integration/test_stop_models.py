"""SIGTERM and SIGHUP while models load and while a run hangs: a real agent ends in order, and soon."""

import json
import signal
from contextlib import closing
from pathlib import Path

import pytest
from paho.mqtt import publish

from edge_agent.adapters.outbox_sqlite import SqliteOutbox
from models.bundle import write_bundle
from models.contract.batch import decode_batch, ints
from tests import small_models
from tests.agents import EDGE, Process, edge, eventually
from tests.servers import Mosquitto
from tests.swaps import PERIOD_MS, T0_MS, write_version

SLOW = """
import time
from edge_agent import models
load, number = models.AgentModels.load, 0
def slow(self, config, source, **more):
    global number
    number += 1
    if number {when}:
        print("loading slowly", flush=True)
        time.sleep({s})
    return load(self, config, source, **more)
models.AgentModels.load = slow
"""
# A loop, which no check of a bundle lets through. It lasts ten minutes, as do slow loads: who waits for them fails.
UNCHECKED = """
import models.bundle
models.bundle.check_graph = lambda *_: None
from edge_agent.adapters.inference import model
score = model.OnnxModel.score
def telling(self, *windows):
    print("scoring", flush=True)
    return score(self, *windows)
model.OnnxModel.score = telling
"""


def agent(folder: Path, port: int, before: str, inference: str = "allow_unsigned = true") -> Process:
    """An agent with one model; `before`: Python that runs first."""
    bundle = folder / "model.bundle"
    if not bundle.exists():
        write_version(bundle, "1")
    extra = "[outbox]\nbatch_rows = 10"
    edge(folder, port, models=[bundle], extra=extra, period_s=PERIOD_MS / 1000, inference=inference)
    return Process(before + EDGE, ["run", str(folder / "edge.toml")], folder)


def test_an_agent_that_loads_its_models_stops_at_once(tmp_path: Path, broker: Mosquitto) -> None:
    with agent(tmp_path, broker.port, SLOW.format(when="== 1", s=600)) as process:
        eventually(lambda: process.says("loading slowly"), "it loads")
        assert process.stop() == 0
        assert process.says('"event": "stopped"')
        assert not process.says('"event": "started"')
    with agent(tmp_path, broker.port, "") as process:
        eventually(lambda: process.says("connected to the sensor broker"), "up after all")


def test_an_agent_that_loads_models_for_a_reload_stops_at_once(tmp_path: Path, broker: Mosquitto) -> None:
    with agent(tmp_path, broker.port, SLOW.format(when="== 2", s=600)) as process:
        eventually(lambda: process.says('"event": "started"'), "up")
        process.signal(signal.SIGHUP)
        eventually(lambda: process.says("loading slowly"), "it loads")
        assert process.stop() == 0
        assert process.says('"event": "stopped"')


def test_signals_to_reload_while_it_starts_and_two_at_once_are_one_reload_each(
    tmp_path: Path, broker: Mosquitto
) -> None:
    with agent(tmp_path, broker.port, SLOW.format(when="< 3", s=1)) as process:
        eventually(lambda: process.says("loading slowly"), "it loads")
        for _ in range(3):
            process.signal(signal.SIGHUP)
        eventually(lambda: process.says("configuration reloaded"), "reloaded after the start")
        assert process.log.read_text().index('"event": "started"') < process.log.read_text().index("reloaded")
        write_version(tmp_path / "model.bundle", "2")
        for _ in range(2):
            process.signal(signal.SIGHUP)
        eventually(lambda: process.log.read_text().count("configuration reloaded") >= 2, "reloaded again")
        assert process.stop() == 0


def test_an_agent_whose_model_hangs_stops_in_order_and_its_next_life_loses_nothing(
    tmp_path: Path, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.bundle.check_graph", lambda *_: None)
    manifest = small_models.manifest("hanging", 4, 2, sample_period_s=PERIOD_MS / 1000)
    write_bundle(tmp_path / "model.bundle", manifest, small_models.hanging(below=50).model)
    with agent(tmp_path, broker.port, UNCHECKED, "allow_unsigned = true\nrun_timeout_s = 600") as process:
        eventually(lambda: process.says("connected to the sensor broker"), "up")
        for number in range(12):
            content = {"ts": T0_MS + PERIOD_MS * number, "c0": 60.0, "c1": 60.0}
            publish.single("factory/line/a1", json.dumps(content), qos=1, port=broker.port)
        eventually(lambda: process.says("scoring"), "a run that does not end")
        assert process.stop() == 0
        assert process.says("the pipeline does not stop in time")
    monkeypatch.undo()
    write_version(tmp_path / "model.bundle", "1")
    well = "allow_unsigned = true\nrun_timeout_s = 0.3"
    with agent(tmp_path, broker.port, UNCHECKED, well) as process:
        eventually(lambda: readings_in_outbox(tmp_path) == 12 * 2, "all readings are sealed", every_s=0.2)
        assert process.stop() == 0


def readings_in_outbox(folder: Path) -> int:
    with closing(SqliteOutbox(folder / "state" / "outbox.db", 1 << 30)) as outbox:
        batches = [decode_batch(sealed.payload) for sealed in outbox.pending(0, 1000)]
    return sum(len(ints(batch.readings.time_ns)) for batch in batches)
