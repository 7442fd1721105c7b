"""A day without the uplink, compressed: what the catch-up does to live data and to the agent's memory.

    ./run bench            a table
    ./run bench --json     one JSON object

While nothing listens on the uplink's port, a day of readings, one a second from 30 channels, is published as fast as
the agent takes it. Then live data begin, 200 messages/s, and a little later uplink broker and aggregator (SQLite)
start. From then on: how long live readings take to be readable in the store, what order the batches come in, and the
agent's memory all along. At the end every reading must be in the store, once.
"""

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from multiprocessing.sharedctypes import RawArray
from pathlib import Path
from typing import NamedTuple

import numpy as np
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from models.contract.topics import subscription
from tests.agents import eventually, sqlite_rows
from tests.bench import flood, gateway, paced
from tests.bench.follower import Follower, sqlite_times
from tests.bench.gateway import Daemon
from tests.bench.machine import machine
from tests.servers import Mosquitto

DAY_S = 86_400
ASSETS, CHANNELS = 3, 10
DAY_ROWS = DAY_S * ASSETS * CHANNELS
RATE = 200  # live messages a second
TAIL_S = 5  # of live data before the uplink is back
CATCH_UP_S = 180  # at most
AFTER_S = 10
ASK_S, LOOK_S = 0.02, 0.5
# With the least credit the link hands over a few messages at a time and each commit is sealed by itself: batches of
# about a second of the day, as a day that lasts a day has them.
EXTRA = """
[outbox]
max_bytes = 4_000_000_000
batch_rows = 1
[limits]
unacked_bytes = 1024
"""


class Outage(NamedTuple):
    """What is measured; memory in 10^6 bytes, the highest of each phase but the first."""

    rows: int
    rows_missing: int
    backlog_batches: int
    backlog_out_of_order: int
    connected_after_s: float
    catch_up_s: float
    rows_per_s: int
    live_p50_ms: float
    live_p99_ms: float
    live_max_ms: float
    resident_at_start: float
    resident_fed: float
    resident_before: float
    resident_catch_up: float
    resident_after: float


class Watcher:
    """Sees which batches come, in which order."""

    def __init__(self, port: int) -> None:
        self.seqs: list[int] = []
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self._client.on_message = self._note
        self._client.connect("127.0.0.1", port)
        self._client.subscribe(subscription("batch"))
        self._client.loop_start()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def out_of_order(self, newest: int) -> int:
        """How many of the first arrivals of batches up to `newest` came behind a younger one."""
        first = np.array(list(dict.fromkeys(seq for seq in self.seqs if seq <= newest)))
        return int((np.diff(first) < 0).sum())

    def _note(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        correlation = getattr(message.properties, "CorrelationData", b"")
        self.seqs.append(int(correlation.decode().rpartition(":")[2]))


class Resident:
    """The highest memory of the agent since the last look."""

    def __init__(self, agent: Daemon) -> None:
        self._agent, self._due_s, self._highest = agent, 0.0, 0.0

    def look(self) -> None:
        """Twice a second."""
        if time.monotonic() >= self._due_s:
            self._due_s = time.monotonic() + LOOK_S
            self._highest = max(self._highest, self._agent.resident_mb)

    def highest(self) -> float:
        """And begin anew."""
        self._due_s = 0.0
        self.look()
        highest, self._highest = self._highest, 0.0
        return round(highest, 1)


def day(begin_s: int) -> Iterator[tuple[str, bytes]]:
    """A message a second from each asset, with all its channels."""
    for second in range(DAY_S):
        for asset in range(ASSETS):
            values = ",".join(f'"channel{i}":{20 + (second + 7 * i) % 97 / 10:.1f}' for i in range(CHANNELS))
            topic = f"factory/line0/day-{asset}"
            yield topic, b'{"ts":%d,"values":{%s}}' % (begin_s + second, values.encode())


def measure() -> Outage:
    """The whole run."""
    say("making a day of messages")
    messages = flood.packets(list(day(int(time.time()) - DAY_S - 600)))
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as running:
        folder = Path(scratch)
        sensors, uplink = running.enter_context(Mosquitto(folder / "sensors")), Mosquitto(folder / "uplink")
        gateway.configure(folder, sensors.port, uplink.port, EXTRA)
        agent = running.enter_context(gateway.agent(folder))
        resident = Resident(agent)
        eventually(lambda: agent.says("connected to the sensor broker"), "agent up")
        time.sleep(1)
        at_start = resident.highest()
        outbox, store = folder / "state" / "outbox.db", folder / "store.db"

        say(f"feeding {DAY_ROWS:,} readings")
        feeder = multiprocessing.get_context("fork").Process(target=flood.publish, args=(sensors.port, messages))
        feeder.start()
        while feeder.is_alive() or not is_used(folder):
            resident.look()
            time.sleep(0.1)
        fed = resident.highest()

        say("live data begin")
        sent_ns = RawArray("q", RATE * (TAIL_S + CATCH_UP_S + AFTER_S))
        publisher = paced.start(sensors.port, RATE, gateway.message, sent_ns)
        running.callback(publisher.terminate)
        wait(resident, TAIL_S)
        before = resident.highest()
        ((newest,),) = sqlite_rows(outbox, "SELECT max(seq) FROM batch")

        say("the uplink is back")
        sink = gateway.aggregator(folder, uplink.port, f'kind = "sqlite"\npath = "{store}"')
        begun_s = time.monotonic()
        running.enter_context(uplink)
        watcher = Watcher(uplink.port)
        running.callback(watcher.close)
        running.enter_context(sink)
        while not (agent.says("connected to the uplink broker") and sink.says("broker connected")):
            resident.look()
            time.sleep(0.02)
        connected_s = time.monotonic()
        first = int(np.count_nonzero(np.frombuffer(sent_ns, np.int64)))

        say(f"connected after {connected_s - begun_s:.1f} s; {newest} batches to catch up")
        follower = Follower(sqlite_times(store), sent_ns, first)
        oldest = 0
        while oldest <= newest and time.monotonic() < connected_s + CATCH_UP_S:
            oldest = next(iter(sqlite_rows(outbox, "SELECT coalesce(min(seq), 1 << 62) FROM batch")))[0]
            for _ in range(10):
                resident.look()
                follower.poll()
                time.sleep(ASK_S)
        caught_up_s = time.monotonic() - connected_s
        last = int(np.count_nonzero(np.frombuffer(sent_ns, np.int64))) - 1
        catch_up = resident.highest()

        say(f"caught up in {caught_up_s:.1f} s")
        until_s = time.monotonic() + AFTER_S
        while time.monotonic() < until_s:
            resident.look()
            follower.poll()
            time.sleep(ASK_S)
        after = resident.highest()
        publisher.terminate()
        publisher.join()
        sent = int(np.count_nonzero(np.frombuffer(sent_ns, np.int64)))
        rows = stored(store, DAY_ROWS + sent)
        live_ms = follower.latencies_s(first, last) * 1e3
        p50, p99, slowest = np.percentile(live_ms, (50, 99, 100)).round(1).tolist()
        return Outage(
            rows,
            DAY_ROWS + sent - rows,
            newest,
            watcher.out_of_order(newest),
            round(connected_s - begun_s, 1),
            round(caught_up_s, 1),
            round(DAY_ROWS / caught_up_s),
            p50,
            p99,
            slowest,
            at_start,
            fed,
            before,
            catch_up,
            after,
        )


def is_used(folder: Path) -> bool:
    """Whether the results of all that is journalled as data are sealed: nothing came for a second."""
    outbox = folder / "state" / "outbox.db"
    newest = sqlite_rows(outbox, "SELECT max(seq) FROM batch")
    time.sleep(2.5)
    return sqlite_rows(outbox, "SELECT max(seq) FROM batch") == newest


def wait(resident: Resident, seconds: float) -> None:
    """With an eye on the memory."""
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        resident.look()
        time.sleep(0.1)


def stored(store: Path, expected: int) -> int:
    """How many readings the store has, once they are all there or no more come."""
    count, before = 0, -1
    while count < expected and count != before:
        before = count
        time.sleep(2)
        ((count,),) = sqlite_rows(store, "SELECT count(*) FROM reading")
    return count


def say(text: str) -> None:
    """Progress."""
    sys.stderr.write(f"bench_outage: {text}\n")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    as_json = parser.parse_args().json
    measured = measure()
    if as_json:
        sys.stdout.write(json.dumps({"bench": "outage", "machine": machine()} | measured._asdict()) + "\n")
        return
    sys.stdout.write(f"a day offline, {DAY_ROWS:,} readings, then {RATE} live messages/s; {machine()}\n")
    for name, value in measured._asdict().items():
        sys.stdout.write(f"{name:<22} {value:>14,}\n")


if __name__ == "__main__":
    main()
