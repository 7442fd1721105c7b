"""A model that is replaced again and again in a real agent under load, and what was scored: for a test and a benchmark.

A publisher sends frames of some assets in order, each once. The file of the model is exchanged for another version and
the agent gets SIGHUP, over and over; now and then it is killed. Nobody takes what it uplinks: all stays in its outbox.
"""

import json
import signal
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.adapters.outbox_sqlite import SqliteOutbox
from models.bundle import Channel, Manifest, Threshold, write_bundle
from models.contract.batch import decode_batch, indices, ints
from models.training.graph import Graph, to_bytes
from tests.agents import Process, eventually

PERIOD_MS = 100
WINDOW = 4
T0_MS = 1_760_000_000_000
SMALL_BATCHES = "[outbox]\nbatch_rows = 50"  # an agent without an aggregator waits else ten seconds to seal one
_PUSH = 60
_RELOADED = "configuration reloaded"


def write_version(path: Path, version: str, name: str = "largest") -> None:
    """A bundle whose score is the largest value of the window; two versions of it have the same inputs."""
    graph = Graph()
    largest = graph.add("ReduceMax", "window", axes=[1, 2], keepdims=1)
    graph.add("Reshape", largest, graph.constant([-1, 1], "int64"), to="anomaly_score")
    model = graph.model("largest", ("window", ["batch", WINDOW, 2]), {"anomaly_score": ["batch", 1]})
    manifest = Manifest(
        name=name,
        version=version,
        kind="anomaly",
        channels=(Channel(name="t"), Channel(name="p")),
        sample_period_s=PERIOD_MS / 1000,
        window=WINDOW,
        outputs=("anomaly_score",),
        threshold=Threshold(output="anomaly_score", open_at=1e9, close_at=1e9),
        trained_on="nothing",
    )
    write_bundle(path, manifest, to_bytes(model))


class Load:
    """Sends frames of `assets` assets at `rate_hz` until it is left; QoS 1."""

    def __init__(self, port: int, assets: int, rate_hz: float) -> None:
        self.frames, self._assets, self._rate_hz = 0, [f"m{i}" for i in range(assets)], rate_hz
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.max_inflight_messages_set(1000)
        self._client.connect("127.0.0.1", port)
        self._stop, self._thread = threading.Event(), threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._client.loop_start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._client.disconnect()
        self._client.loop_stop()

    def _run(self) -> None:
        begun_s = time.monotonic()
        while not self._stop.is_set():
            for asset in self._assets:
                content = {"ts": T0_MS + PERIOD_MS * self.frames, "t": 1.0, "p": float(self.frames)}
                sent = self._client.publish(f"factory/line/{asset}", json.dumps(content), qos=1)
            self.frames += 1
            self._stop.wait(max(0.0, begun_s + self.frames / self._rate_hz - time.monotonic()))
        for number in range(_PUSH):  # an asset of no interest: what came before is sealed then
            content = {"ts": T0_MS + PERIOD_MS * number, "q": 0.0}
            sent = self._client.publish("factory/line/other", json.dumps(content), qos=1)
        sent.wait_for_publish(30)


class Swapped(NamedTuple):
    """What became of the windows of all assets."""

    windows: int  # that there were
    lost: int
    twice: int
    by_version: dict[str, int]


def swap(agent: Process, versions: tuple[Path, ...], number: int, bundle: Path) -> float:
    """Put the next version in place; returns the seconds until it is taken over."""
    seen = agent.log.read_text().count(_RELOADED)
    partial = bundle.with_suffix(".new")
    partial.write_bytes(versions[number % len(versions)].read_bytes())
    partial.replace(bundle)
    begun_s = time.monotonic()
    agent.signal(signal.SIGHUP)
    eventually(lambda: agent.log.read_text().count(_RELOADED) > seen, f"swap {number}", every_s=0.002)
    return time.monotonic() - begun_s


def scored(folder: Path) -> tuple[Counter[tuple[str, int]], Counter[str]]:
    """(asset, time) and version of each score in the outbox of an agent."""
    rows: Counter[tuple[str, int]] = Counter()
    versions: Counter[str] = Counter()
    with closing(SqliteOutbox(folder / "state" / "outbox.db", 1 << 30)) as outbox:
        for sealed in outbox.pending(0, 1_000_000):
            found = decode_batch(sealed.payload).inferences
            for i, time_ns in zip(indices(found.index).tolist(), ints(found.time_ns).tolist(), strict=True):
                asset, _, version = found.series[i]
                rows[asset, time_ns] += 1
                versions[version] += 1
    return rows, versions


def judged(folder: Path, assets: int, frames: int) -> Swapped:
    """Compare with what there was: a window ends with each frame but the first ones; the last frame is still open."""
    rows, versions = scored(folder)
    every = {
        (f"m{asset}", (T0_MS + PERIOD_MS * frame) * 1_000_000)
        for asset in range(assets)
        for frame in range(WINDOW - 1, frames - 1)
    }
    return Swapped(
        len(every), len(every - rows.keys()), sum(n - 1 for n in rows.values() if n > 1), dict(sorted(versions.items()))
    )
