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

ASSETS, CHANNELS = 3, 10
RATE = 200  # live messages a second
TAIL_S = 5  # of live data before the uplink is back
CATCH_UP_S = 180  # at most
AFTER_S = 10
LIVE_LIMIT_MS = 2000
ASK_S, LOOK_S = 0.02, 0.5
MESSAGE_BYTES = 200  # about


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
    live_beyond_2_s: int
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


def stretch(length_s: int, end_s: int) -> Iterator[tuple[str, bytes]]:
    """A message a second from each asset, with all its channels."""
    for second in range(length_s):
        for asset in range(ASSETS):
            values = ",".join(f'"channel{i}":{20 + (second + 7 * i) % 97 / 10:.1f}' for i in range(CHANNELS))
            topic = f"factory/line0/day-{asset}"
            yield topic, b'{"ts":%d,"values":{%s}}' % (end_s - length_s + second, values.encode())


def extra(batch_s: int) -> str:
    """A small credit makes commits, and so batches, of about as many seconds as in an outage that lasts that long."""
    return f"""
[outbox]
max_bytes = 4_000_000_000
batch_rows = {batch_s * ASSETS * CHANNELS}
[limits]
unacked_bytes = {max(1024, batch_s * ASSETS * MESSAGE_BYTES)}
"""


def measure(hours: float, batch_s: int) -> Outage:
    """The whole run."""
    say(f"making messages of {hours:g} h")
    length_s = round(3600 * hours)
    messages = flood.packets(list(stretch(length_s, int(time.time()) - 3600)))
    fed_rows = length_s * ASSETS * CHANNELS
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as running:
        folder = Path(scratch)
        sensors, uplink = running.enter_context(Mosquitto(folder / "sensors")), Mosquitto(folder / "uplink")
        gateway.configure(folder, sensors.port, uplink.port, extra(batch_s))
        agent = running.enter_context(gateway.agent(folder))
        resident = Resident(agent)
        eventually(lambda: agent.says("connected to the sensor broker"), "agent up")
        time.sleep(1)
        at_start = resident.highest()
        outbox, store = folder / "state" / "outbox.db", folder / "store.db"

        begun_s = time.monotonic()
        say(f"feeding {fed_rows:,} readings")
        feeder = multiprocessing.get_context("fork").Process(target=flood.publish, args=(sensors.port, messages))
        feeder.start()
        while feeder.is_alive() or not is_used(folder):
            resident.look()
            time.sleep(0.1)
        fed = resident.highest()
        say(f"fed in {time.monotonic() - begun_s:.1f} s")

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
        rows = stored(store, fed_rows + sent)
        live_ms = follower.latencies_s(first, last) * 1e3
        p50, p99, slowest = np.percentile(live_ms, (50, 99, 100)).round(1).tolist()
        return Outage(
            rows,
            fed_rows + sent - rows,
            newest,
            watcher.out_of_order(newest),
            round(connected_s - begun_s, 1),
            round(caught_up_s, 1),
            round(fed_rows / caught_up_s),
            p50,
            p99,
            slowest,
            int((live_ms > LIVE_LIMIT_MS).sum()),
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
    parser.add_argument("--hours", type=float, default=24.0, help="of the outage (24)")
    parser.add_argument("--batch-s", type=int, default=10, help="of the outage in a batch (10)")
    arguments = parser.parse_args()
    measured = measure(arguments.hours, arguments.batch_s)
    if arguments.json:
        report = {"bench": "outage", "machine": machine(), "hours": arguments.hours}
        sys.stdout.write(json.dumps(report | measured._asdict()) + "\n")
        return
    sys.stdout.write(f"{arguments.hours:g} h offline, then {RATE} live messages/s; {machine()}\n")
    for name, value in measured._asdict().items():
        sys.stdout.write(f"{name:<22} {value:>14,}\n")


if __name__ == "__main__":
    main()
