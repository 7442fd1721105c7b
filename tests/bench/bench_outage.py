"""A day without the uplink, compressed: what the catch-up does to live data and to the agent's memory.

    ./run bench            a table
    ./run bench --json     one JSON object

While nothing listens on the uplink's port, a day of readings, one a second from 30 channels, is published as fast as
the agent takes it. Then live data begin, 200 messages/s, and a little later uplink broker and aggregator (SQLite)
start. From then on: how long live readings take to be readable in the store, in what order the backlog comes, and the
agent's memory all along. At the end every reading must be in the store, once. In a day that lasts a day the agent
seals each second what it has; batches of ten seconds keep the run short (`--batch-s 1`: ten times as many).
"""

import multiprocessing
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tests.agents import eventually, sqlite_rows
from tests.bench import flood, gateway
from tests.bench.follower import Follower, sqlite_times
from tests.bench.machine import machine
from tests.bench.observers import Batches, Resident
from tests.bench.paced import Paced
from tests.bench.report import parser, print_json
from tests.servers import Mosquitto

ASSETS, CHANNELS = 3, 10
MESSAGE_BYTES = 200  # about
RATE = 200  # live messages a second
LATE_MS = 2000
TAIL_S = 5  # of live data before the uplink is back
CATCH_UP_S = 600  # at most
AFTER_S = 10
QUIET_S = 2.5
ASK_S = 0.02


class Outage(NamedTuple):
    """What is measured. Memory in 10^6 bytes, the highest of each phase."""

    rows: int
    rows_missing: int
    backlog_batches: int
    backlog_out_of_order: int
    reconnected_after_s: float
    catch_up_s: float
    backlog_rows_per_s: int
    live_p50_ms: float
    live_p99_ms: float
    live_max_ms: float
    live_late: int  # beyond LATE_MS
    resident_at_start_mb: float
    resident_fed_mb: float
    resident_before_mb: float
    resident_catch_up_mb: float
    resident_after_mb: float


class Run:
    """The servers and the agent, phase by phase."""

    def __init__(self, folder: Path, running: ExitStack, batch_s: int) -> None:
        self._running = running
        self._sensors = running.enter_context(Mosquitto(folder / "sensors"))
        self._uplink = Mosquitto(folder / "uplink")
        gateway.configure(folder, self._sensors.port, self._uplink.port, extra(batch_s))
        self._sink = gateway.aggregator(folder, self._uplink.port, f'kind = "sqlite"\npath = "{folder}/store.db"')
        self.agent = running.enter_context(gateway.agent(folder))
        self.resident = Resident(self.agent)
        self.outbox, self.store = folder / "state" / "outbox.db", folder / "store.db"
        eventually(lambda: self.agent.says("connected to the sensor broker"), "agent up")
        self.watch(1)

    def feed(self, packets: list[bytes]) -> None:
        """Publish what came during the outage; returns when the agent has nothing to do any more."""
        feeder = multiprocessing.get_context("fork").Process(target=flood.publish, args=(self._sensors.port, packets))
        feeder.start()
        while feeder.is_alive():
            self.watch(0.1)
        newest = -1
        while newest != self.newest():
            newest = self.newest()
            self.watch(QUIET_S)

    def begin_live(self) -> Paced:
        """Live data, which go on."""
        live = Paced(self._sensors.port, RATE, gateway.message, RATE * (TAIL_S + CATCH_UP_S + AFTER_S))
        live.start()
        self._running.callback(live.stop)
        self.watch(TAIL_S)
        return live

    def end_outage(self) -> Batches:
        """Start broker and aggregator; returns once the agent is connected."""
        self.agent.signal(signal.SIGSTOP)  # it is not to be there before the aggregator: that is another outage
        self._running.enter_context(self._uplink)
        self._running.enter_context(self._sink)
        eventually(lambda: self._sink.says("broker connected"), "aggregator up")
        batches = Batches(self._uplink.port)
        self._running.callback(batches.close)
        self.agent.signal(signal.SIGCONT)
        eventually(lambda: self.agent.says("connected to the uplink broker"), "uplink up")
        return batches

    def watch(self, seconds: float, look: Callable[[], None] = lambda: None) -> None:
        """For a while, with an eye on the memory."""
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            self.resident.look()
            look()
            time.sleep(ASK_S)

    def newest(self) -> int:
        """The last batch sealed."""
        return int(sqlite_rows(self.outbox, "SELECT seq FROM sqlite_sequence WHERE name = 'batch'")[0][0])

    def oldest(self) -> int:
        """The first batch without a receipt."""
        return int(sqlite_rows(self.outbox, "SELECT coalesce(min(seq), 1 << 62) FROM batch")[0][0])

    def stored(self, expected: int) -> int:
        """How many readings the store has, once they are all there or no more come."""
        count, before = 0, -1
        while count < expected and count != before:
            before = count
            time.sleep(QUIET_S)
            ((count,),) = sqlite_rows(self.store, "SELECT count(*) FROM reading")
        return count


def measure(hours: float, batch_s: int) -> Outage:
    """The whole run."""
    say(f"making the messages of {hours:g} h")
    length_s = round(3600 * hours)
    packets = flood.packets(list(stretch(length_s, int(time.time()) - 3600)))
    fed = length_s * ASSETS * CHANNELS
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as running:
        run = Run(Path(scratch), running, batch_s)
        resident_mb = [run.resident.highest_mb()]
        say(f"feeding {fed:,} readings")
        run.feed(packets)
        resident_mb.append(run.resident.highest_mb())
        live = run.begin_live()
        resident_mb.append(run.resident.highest_mb())

        newest, begun_s = run.newest(), time.monotonic()
        say(f"{newest:,} batches wait; the uplink is back")
        batches = run.end_outage()
        connected_s, first = time.monotonic(), live.count
        follower = Follower(sqlite_times(run.store), live.sent_ns, first)
        while run.oldest() <= newest and time.monotonic() < connected_s + CATCH_UP_S:
            run.watch(0.2, follower.poll)
        catch_up_s, last = time.monotonic() - connected_s, live.count - 1
        resident_mb.append(run.resident.highest_mb())

        say(f"caught up in {catch_up_s:.1f} s")
        run.watch(AFTER_S, follower.poll)
        resident_mb.append(run.resident.highest_mb())
        live.stop()
        rows, expected = run.stored(fed + live.count), fed + live.count
        live_ms = follower.latencies_s(first, last) * 1e3
        p50, p99, slowest = np.percentile(live_ms, (50, 99, 100)).round(1).tolist()
        late = int((live_ms > LATE_MS).sum()) + (last + 1 - first - len(live_ms))  # those never seen are late, too
        counts = (rows, expected - rows, newest, batches.out_of_order(newest))
        seconds = (round(connected_s - begun_s, 1), round(catch_up_s, 1), round(fed / catch_up_s))
        return Outage._make((*counts, *seconds, p50, p99, slowest, late, *resident_mb))


def extra(batch_s: int) -> str:
    """A small credit makes commits, and so batches, of about as many seconds as in an outage that lasts that long."""
    return f"""
[outbox]
max_bytes = 4_000_000_000
batch_rows = {batch_s * ASSETS * CHANNELS}
[limits]
unacked_bytes = {max(1024, batch_s * ASSETS * MESSAGE_BYTES)}
"""


def stretch(length_s: int, end_s: int) -> Iterator[tuple[str, bytes]]:
    """A message a second from each asset, with all its channels."""
    for second in range(length_s):
        for asset in range(ASSETS):
            values = ",".join(f'"channel{i}":{20 + (second + 7 * i) % 97 / 10:.1f}' for i in range(CHANNELS))
            content = b'{"ts":%d,"values":{%s}}' % (end_s - length_s + second, values.encode())
            yield f"factory/line0/machine-{asset}", content


def say(text: str) -> None:
    """Progress."""
    sys.stderr.write(f"bench_outage: {text}\n")


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--hours", type=float, default=24.0, help="of the outage (24)")
    options.add_argument("--batch-s", type=int, default=10, help="of the outage in a batch (10)")
    arguments = options.parse_args()
    measured = measure(arguments.hours, arguments.batch_s)
    if arguments.json:
        print_json("outage", hours=arguments.hours, batch_s=arguments.batch_s, **measured._asdict())
        return
    sys.stdout.write(f"{arguments.hours:g} h offline, then {RATE} live messages/s; {machine()}\n")
    for name, value in measured._asdict().items():
        sys.stdout.write(f"{name:<22} {value:>14,}\n")


if __name__ == "__main__":
    main()
