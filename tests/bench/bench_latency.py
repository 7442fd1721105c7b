"""From a sensor's publish to the row in the store, at 2,000 messages/s, with all servers beside.

    ./run bench            a table
    ./run bench --json     one JSON object

Single readings as JSON, QoS 1, from 200 channels of 20 pumps that a model watches. On the same cores: publisher,
sensor broker, agent, uplink broker, aggregator, store, and the reader that looks for the rows. A message's time is
taken when it is sent; its row counts once a question to the store has returned it. The time between two questions
is printed: on average half of it is the reader's.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tests.agents import eventually
from tests.bench import gateway
from tests.bench.follower import Follower, Times, influx1_times, sqlite_times
from tests.bench.machine import machine
from tests.bench.paced import Paced
from tests.bench.report import parser, print_json
from tests.servers import Influx1, Mosquitto

RATE = 2000  # messages a second
WARM_UP_S = 5
MEASURED_S = 20
ASK_S = 0.005
GIVE_UP_S = 30


class Latency(NamedTuple):
    """One row of the table."""

    store: str
    messages_per_s: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    asked_every_ms: float
    followed: int
    missing: int


class Store(NamedTuple):
    """For the aggregator, as TOML; and how to follow each `step`-th row."""

    table: str
    times: Times
    step: int


@contextmanager
def sqlite(folder: Path) -> Iterator[Store]:
    """The embedded store."""
    path = folder / "store.db"
    yield Store(f'kind = "sqlite"\npath = "{path}"', sqlite_times(path), 1)


@contextmanager
def influx1(folder: Path) -> Iterator[Store]:
    """A server of its own."""
    with Influx1(folder / "influx") as server:
        times = influx1_times(server.port, "bench", gateway.asset(0))
        yield Store(f'kind = "influx1"\nurl = "{server.url}"\ndatabase = "bench"', times, gateway.ASSETS)


STORES = {"sqlite": sqlite, "influx1": influx1}


def measure(name: str) -> Latency:
    """One run, the warm-up not counted."""
    count, first = RATE * (WARM_UP_S + MEASURED_S), RATE * WARM_UP_S
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with (
            Mosquitto(folder / "sensors") as sensors,
            Mosquitto(folder / "uplink") as uplink,
            STORES[name](folder) as store,
            gateway.aggregator(folder, uplink.port, store.table) as sink,
        ):
            gateway.configure(folder, sensors.port, uplink.port)
            with gateway.agent(folder) as agent:
                eventually(lambda: sink.says("broker connected"), "aggregator up")
                eventually(lambda: agent.says("connected to the uplink broker"), "uplink up")
                eventually(lambda: agent.says("connected to the sensor broker"), "agent up")
                publisher = Paced(sensors.port, RATE, gateway.message, count)
                publisher.start()
                follower = Follower(store.times, publisher.sent_ns, 0, store.step)
                follow(follower, time.monotonic() + WARM_UP_S + MEASURED_S + GIVE_UP_S)
                publisher.stop()
    latencies_ms = follower.latencies_s(first) * 1e3
    p50, p99 = np.percentile(latencies_ms, (50, 99))
    followed = len(range(first, count, store.step))
    return Latency(
        name,
        round(MEASURED_S * RATE / ((publisher.sent_ns[count - 1] - publisher.sent_ns[first]) / 1e9)),
        round(float(p50), 1),
        round(float(p99), 1),
        round(float(latencies_ms.max()), 1),
        round(follower.asked_every_s * 1e3, 1),
        followed,
        followed - len(latencies_ms),
    )


def follow(follower: Follower, deadline_s: float) -> None:
    """Until each row was seen, or the deadline."""
    while not follower.is_done and time.monotonic() < deadline_s:
        begun_s = time.monotonic()
        follower.poll()
        time.sleep(max(0.0005, ASK_S - (time.monotonic() - begun_s)))


def main() -> None:
    """Measure with each store and print."""
    options = parser(__doc__)
    options.add_argument("--store", choices=STORES, action="append", help="only this one")
    arguments = options.parse_args()
    measured = []
    for name in arguments.store or STORES:
        sys.stderr.write(f"bench_latency: {name}: {WARM_UP_S} s warm-up, {MEASURED_S} s\n")
        measured.append(measure(name))
    if arguments.json:
        print_json("latency", stores=measured)
        return
    sys.stdout.write(f"from publish to a readable row, {RATE:,} messages/s, {MEASURED_S} s; {machine()}\n")
    columns = ("store", "messages/s", "p50 ms", "p99 ms", "max ms", "asked every ms", "followed", "missing")
    sys.stdout.write(" ".join(f"{column:>14}" for column in columns) + "\n")
    for row in measured:
        sys.stdout.write(" ".join(f"{cell:>14}" for cell in row) + "\n")


if __name__ == "__main__":
    main()
