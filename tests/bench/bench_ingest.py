"""Messages per second from Mosquitto at QoS 1, one JSON reading each; publisher, broker and receiver share the cores.

    ./run bench            a table
    ./run bench --json     one JSON object

Receivers, in turn within one run: `mosquitto_sub`, which only counts; the agent's link alone, which decodes nothing;
link ▶ decode ▶ PUBACK without a journal; the same with the journal; and the whole agent, as a process, until its last
full batch is in the outbox. Medians of the passes; the ratios are what counts.
"""

import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from edge_agent import logs
from edge_agent.adapters.journal_sqlite import SqliteJournal
from edge_agent.adapters.link_lean import LeanLink
from edge_agent.adapters.system_clock import SystemClock
from edge_agent.config import EdgeConfig, load
from edge_agent.ingest import Ingest
from edge_agent.metrics import Metrics
from edge_agent.ports import Again, Journal, Stored
from tests.agents import EDGE, Process, eventually
from tests.bench.flood import packets, publish
from tests.bench.machine import machine
from tests.bench.report import print_json, wants_json
from tests.bench.scrape import scraped
from tests.servers import Mosquitto, find_binary, free_port

PASSES = 3
MESSAGES = 200_000
CHANNELS = 200
START_MS = 1_700_000_000_000


def messages() -> list[tuple[str, bytes]]:
    """A thousand readings a second of event time, from the channels in turn."""
    return [
        (
            f"factory/line{i % 4}/machine{i % 20}/channel{i % CHANNELS}",
            b'{"ts": %d, "value": %.3f}' % (START_MS + i, 20 + i % 97 / 10),
        )
        for i in range(MESSAGES)
    ]


class Broker(Mosquitto):
    """Fresh for each pass: nothing waits from the one before."""


def through_mosquitto_sub(broker: Broker, _folder: Path) -> Iterator[None]:
    """Ends when it has counted all."""
    command = [find_binary("mosquitto_sub") or "mosquitto_sub", "-p", str(broker.port), "-q", "1", "-V", "5"]
    with subprocess.Popen(
        [*command, "-t", "factory/#", "-C", str(MESSAGES), "-F", "."], stdout=subprocess.DEVNULL
    ) as sub:
        time.sleep(0.5)
        yield
        sub.wait()


def through_link(broker: Broker, folder: Path) -> Iterator[None]:
    """Takes and acknowledges; looks at nothing."""
    link = _link(_config(broker, folder))
    link.start(["factory/#"])
    while not link.is_connected:
        link.take(0.1)
    link.take(0.5)
    yield
    count = 0
    while count < MESSAGES:
        taken = link.take(1.0)
        link.acknowledge(taken)
        count += len(taken)
    link.stop()


def through_ingest(broker: Broker, folder: Path, journal: Callable[[Path], Journal]) -> Iterator[None]:
    """Link ▶ decode ▶ journal ▶ PUBACK."""
    config, metrics, stopping = _config(broker, folder), Metrics(), threading.Event()
    kept = journal(folder / "journal.db")
    link = _link(config)
    ingest = Ingest(config, link, kept, SystemClock(), metrics, threading.Event())
    thread = threading.Thread(target=ingest.run, args=(stopping,))
    thread.start()
    while not link.is_connected:
        time.sleep(0.05)
    time.sleep(0.5)
    yield
    while metrics.messages._value.get() < MESSAGES:  # noqa: SLF001 - the counter has no public reading
        time.sleep(0.01)
    stopping.set()
    thread.join()
    kept.close()


def through_agent(broker: Broker, folder: Path) -> Iterator[None]:
    """The process, until the last full batch is in the outbox; without an aggregator the last rows wait for more."""
    port = free_port()
    _config(broker, folder, f"[metrics]\nport = {port}")
    with Process(EDGE, ["run", str(folder / "edge.toml")], folder) as agent:
        eventually(lambda: agent.says("connected to the sensor broker"), "agent up")
        time.sleep(1.0)
        yield
        while scraped(port, "tocsin_edge_rows_sealed_total") <= MESSAGES - 5000:
            time.sleep(0.05)
        agent.stop()


class NoJournal:
    """Keeps nothing: what acknowledging costs without durability."""

    def append(self, _entries: object, _deadletters: object = (), _done: object = ()) -> int:
        return 0

    def again(self, _limit: int) -> list[Again]:
        return []

    def read(self, _after: int, _limit: int = 64) -> list[Stored]:
        return []

    def last(self) -> int:
        return 0

    def newest(self) -> Iterator[Stored]:
        return iter(())

    def skip_to(self, _position: int) -> None:
        pass

    def trim(self, _used_through: int, _now_ns: int) -> bool:
        return False

    @property
    def is_short_of_room(self) -> bool:
        return False

    def close(self) -> None:
        pass


def _journal(path: Path) -> Journal:
    return SqliteJournal(path, 1 << 30, 1e9, 100)


RECEIVERS: dict[str, Callable[[Broker, Path], Iterator[None]]] = {
    "mosquitto_sub": through_mosquitto_sub,
    "link": through_link,
    "ingest, no journal": lambda broker, folder: through_ingest(broker, folder, lambda _path: NoJournal()),
    "ingest, journal": lambda broker, folder: through_ingest(broker, folder, _journal),
    "agent": through_agent,
}


def one_pass(name: str, flood: list[bytes]) -> float:
    """Messages per second, from the first publish to the last reception."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with Broker(folder / "broker") as broker:
            receiving = RECEIVERS[name](broker, folder)
            next(receiving)
            publisher = multiprocessing.get_context("fork").Process(target=publish, args=(broker.port, flood))
            since_s = time.perf_counter()
            publisher.start()
            next(receiving, None)
            took_s = time.perf_counter() - since_s
            publisher.join()
            return MESSAGES / took_s


def _link(config: EdgeConfig) -> LeanLink:
    return LeanLink(config.sensor_broker, "bench", None, config.limits.unacked_bytes, SystemClock().stamps)


def _config(broker: Broker, folder: Path, extra: str = "") -> EdgeConfig:
    path = folder / "edge.toml"
    path.write_text(
        f"""
site = "bench"
gateway = "bench"
state_dir = "state"
topics = [{{ template = "factory/{{line}}/{{asset}}/{{channel}}" }}]
channels = [{{ match = "*/*", range = [0, 1000], denoise = [{{ filter = "hampel", window = 7 }}] }}]
assets = [{{ match = "*" }}]
sensor_broker = {{ port = {broker.port} }}
uplink = {{ port = {free_port()} }}
{extra}
"""
    )
    config = load(path)
    logs.set_up(config.log)  # of what is measured in this process: away from the standard output
    return config


def main() -> None:
    """Measure all receivers in turn and print them."""
    as_json = wants_json(__doc__)
    flood = packets(messages())
    rates: dict[str, list[float]] = {name: [] for name in RECEIVERS}
    for number in range(PASSES):
        for name in RECEIVERS:
            sys.stderr.write(f"bench_ingest: pass {number + 1} of {PASSES}: {name}\n")
            rates[name].append(one_pass(name, flood))
    median = {name: statistics.median(found) for name, found in rates.items()}
    reference = median["mosquitto_sub"]
    if as_json:
        print_json("ingest", messages_per_s={name: round(rate) for name, rate in median.items()})
        return
    sys.stdout.write(f"QoS 1 from Mosquitto, {MESSAGES:,} messages, median of {PASSES}; {machine()}\n")
    sys.stdout.write(f"{'receiver':<22} {'messages/s':>12} {'of mosquitto_sub':>18}\n")
    for name, rate in median.items():
        sys.stdout.write(f"{name:<22} {rate:>12,.0f} {100 * rate / reference:>16.0f} %\n")
    durable = median["ingest, journal"] / median["ingest, no journal"]
    sys.stdout.write(f"the journal costs {100 * (1 - durable):.0f} % of the rate without it\n")


if __name__ == "__main__":
    main()
