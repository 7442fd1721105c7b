"""How long a killed agent takes until it works again, with 100,000 readings in the journal since its last snapshot.

    ./run bench            a table
    ./run bench --json     one JSON object

Ready means: connected to the sensor broker, and a message that waited there is journalled, through the pipeline and
in the outbox; timed from the start of the process. `cpu`: what the process had used of it until then. All that is in
the journal is sealed already, so it is replayed and its results are thrown away; 20 pumps of ten channels, watched by
a model. Medians of the passes. The parts are timed apart: they need not add up.
"""

import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.adapters.inference import ModelShelf
from edge_agent.adapters.journal_sqlite import SqliteJournal
from edge_agent.adapters.link_lean import LeanLink
from edge_agent.adapters.outbox_sqlite import SqliteOutbox
from edge_agent.adapters.system_clock import SystemClock
from edge_agent.config import EdgeConfig
from edge_agent.core.entries import Configured, Data, JournalEntry, Tick
from edge_agent.core.intake import Intake, Message
from edge_agent.core.recent import pack_keys
from edge_agent.ingest import Ingest
from edge_agent.metrics import Metrics
from edge_agent.processing import Processing
from models.contract.batch import Batch, decode_batch, encode_batch
from models.contract.topics import subscription
from tests.agents import eventually
from tests.bench import gateway, paced
from tests.bench.machine import machine
from tests.bench.report import print_json, wants_json
from tests.servers import Mosquitto

PASSES = 3
READINGS = 100_000
ENTRY_READINGS = (500, 10, 1)  # a flood; some thousand messages a second; a quiet line
RATE = 1000  # readings a second of the gateway's time
TICK_NS = 250_000_000
LOOK_S = 0.005
APPENDED = 1000  # entries a commit, here


class Restart(NamedTuple):
    """One row of the table; all but the first in s."""

    entries: int
    ready: float
    connected: float
    cpu: float
    imports: float
    models: float
    recall: float
    recover: float


def measure(entry_readings: int) -> Restart:
    """Prepare one journal and restart on copies of it."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with Mosquitto(folder / "sensors") as sensors:
            config = prepare(folder, sensors.port, entry_readings)
            shutil.move(config.state_dir, folder / "prepared")
            passes = []
            for number in range(PASSES):
                shutil.copytree(folder / "prepared", config.state_dir)
                passes.append(restart(folder, config, sensors.port, number))
                shutil.rmtree(config.state_dir)
            shutil.copytree(folder / "prepared", config.state_dir)
            parts = timed_parts(config)
        whole = (statistics.median(column) for column in zip(*passes, strict=True))
        return Restart(READINGS // entry_readings, *(round(s, 2) for s in (*whole, imports_s(), *parts)))


def prepare(folder: Path, sensor_port: int, entry_readings: int) -> EdgeConfig:
    """A session at the broker, made by a real agent that is killed; then a journal that is full and sealed."""
    config = gateway.configure(folder, sensor_port, sensor_port)
    with gateway.agent(folder) as agent:
        eventually(lambda: agent.says("connected to the sensor broker"), "agent up")
        time.sleep(0.5)
    journal, outbox = open_files(config)
    batch: list[JournalEntry] = []
    for entry in entries(config, entry_readings):
        batch.append(entry)
        if len(batch) == APPENDED:
            journal.append(batch)
            batch.clear()
    journal.append(batch)

    def build(epoch: str, seq: int) -> bytes:
        return encode_batch(Batch(site=config.site, gateway=config.gateway, epoch=epoch, seq=seq))

    outbox.append(build, time.time_ns(), journal.last())
    journal.close()
    outbox.close()
    return config


def entries(config: EdgeConfig, entry_readings: int) -> Iterator[JournalEntry]:
    """As the agent would have journalled them, up to now, with a tick four times a second."""
    intake = Intake(config)
    begin_ns = ticked_ns = time.time_ns() - READINGS * 1_000_000_000 // RATE
    for first in range(0, READINGS, entry_readings):
        messages = []
        for number in range(first, first + entry_readings):
            now_ns = begin_ns + number * 1_000_000_000 // RATE
            topic, payload = gateway.message(number, now_ns)
            messages.append(Message(topic, payload, now_ns, None, number % 65_535 + 1))
        entry = intake.take(messages)
        yield Data.of(now_ns, entry.readings, entry.waveforms, pack_keys(entry.keys, entry.packet_ids))
        if now_ns - ticked_ns >= TICK_NS:
            ticked_ns = now_ns
            yield Tick(arrival_ns=now_ns, listened_ns=now_ns - begin_ns)


def restart(folder: Path, config: EdgeConfig, sensor_port: int, number: int) -> tuple[float, float, float]:
    """Seconds from the start of the process until it is ready, until it is connected, and its CPU time."""
    sent_ns = [0]
    paced.publish(sensor_port, RATE, lambda _, time_ns: gateway.message(number, time_ns), sent_ns)
    agent = gateway.agent(folder)
    agent.log.unlink(missing_ok=True)
    connected_s = 0.0
    begun_s = time.monotonic()
    with (
        listening(sensor_port),
        agent,
        closing(sqlite3.connect(f"file:{config.state_dir}/outbox.db?mode=ro", uri=True)) as outbox,
    ):
        while not is_sealed(outbox, sent_ns[0]):
            if not connected_s and agent.says("connected to the sensor broker"):
                connected_s = time.monotonic() - begun_s
            time.sleep(LOOK_S)
        ready_s = time.monotonic() - begun_s
        return ready_s, connected_s or ready_s, agent.cpu_s


@contextmanager
def listening(port: int) -> Iterator[None]:
    """Somebody who hears batches and never answers: without anybody the agent waits for more before it seals."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.connect("127.0.0.1", port)
    client.loop_start()
    client.subscribe(subscription("batch"), qos=1)
    try:
        yield
    finally:
        client.disconnect()
        client.loop_stop()


def is_sealed(outbox: sqlite3.Connection, time_ns: int) -> bool:
    """Whether a reading of that time is in the last batch but the prepared one."""
    for (payload,) in outbox.execute("SELECT payload FROM batch WHERE seq > 1"):
        if time_ns in np.frombuffer(decode_batch(payload).readings.time_ns, "<i8"):
            return True
    return False


def imports_s() -> float:
    """Of all modules that the process needs at once."""
    begun_s = time.monotonic()
    subprocess.run([sys.executable, "-c", "import edge_agent.cli, edge_agent.app"], check=True)
    return time.monotonic() - begun_s


def timed_parts(config: EdgeConfig) -> tuple[float, float, float]:
    """Seconds to load the model, to recall the last messages, and to replay the journal."""
    journal, outbox = open_files(config)
    clock, metrics = SystemClock(), Metrics()
    moments = [time.monotonic()]
    shelf = ModelShelf(config.state_dir / "models", config.inference)
    digests = {str(path): shelf.adopt(path).digest for rule in config.assets for path in rule.models}
    moments.append(time.monotonic())
    link = LeanLink(config.sensor_broker, "bench", None, config.limits.unacked_bytes, clock.stamps)
    Ingest(config, link, journal, clock, metrics, threading.Event())
    moments.append(time.monotonic())
    processing = Processing(journal, outbox, clock, metrics, shelf.find, lambda: False)
    configured = Configured(arrival_ns=clock.now_ns(), config=config.model_dump_json(), digests=digests)
    processing.recover(config, configured)
    moments.append(time.monotonic())
    if processing.cursor != journal.last():
        raise RuntimeError("the journal was not replayed to its end")
    journal.close()
    outbox.close()
    models_s, recall_s, recover_s = np.diff(moments).tolist()
    return models_s, recall_s, recover_s


def open_files(config: EdgeConfig) -> tuple[SqliteJournal, SqliteOutbox]:
    """Those of the agent."""
    folder = config.state_dir
    journal = SqliteJournal(folder / "journal.db", config.journal.max_bytes, config.journal.max_age_s, 100)
    return journal, SqliteOutbox(folder / "outbox.db", config.outbox.max_bytes)


def main() -> None:
    """Measure all sizes of entries and print."""
    as_json = wants_json(__doc__)
    measured = []
    for entry_readings in ENTRY_READINGS:
        sys.stderr.write(f"bench_restart: {READINGS:,} readings, {entry_readings} an entry\n")
        measured.append(measure(entry_readings))
    if as_json:
        print_json("restart", readings=READINGS, unit="s", cases=measured)
        return
    sys.stdout.write(f"restart with {READINGS:,} readings to replay, median of {PASSES}, s; {machine()}\n")
    sys.stdout.write(" ".join(f"{column:>10}" for column in Restart._fields) + "\n")
    for row in measured:
        sys.stdout.write(" ".join(f"{cell:>10,}" for cell in row) + "\n")


if __name__ == "__main__":
    main()
