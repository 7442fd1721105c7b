"""A thousand gateways, one batch a second each, on one aggregator, with Mosquitto and InfluxDB beside it.

    ./run bench                                                         a minute, as a table
    .venv/bin/python -m tests.bench.bench_fleet --minutes 10 --json     one JSON object

Each gateway is a connection of its own (MQTT 5, QoS 1) and sends 30 to 50 readings of its 10 to 50 series a batch
(`--readings 80`: twice as many), made on the fly; all of them live in one process. Lag is the time from a batch's
publish to its receipt, that is, until the database has it. What has no receipt after 10 s is sent again, as agents do.
Memory is looked at each 10 s: the highest, and the slope of a line through all but the first third of the run. At the
end InfluxDB puts all into its final files, for their size.
"""

import asyncio
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tests.agents import eventually
from tests.bench import gateway
from tests.bench.machine import machine
from tests.bench.procfs import Broker, Database
from tests.bench.report import parser, print_json
from tests.bench.simulated import SECOND_NS, Gateway, Source

READINGS = 40
TICK_S = 0.01
LOOK_S = 10.0
DRAIN_S = 30.0
CONNECT_AT_ONCE = 50
QUIET_S = 4.0


class Fleet(NamedTuple):
    """What is measured. CPU in cores; memory in 10^6 bytes; lags in ms."""

    gateways: int
    readings: int  # of a batch, on average
    minutes: float
    batches: int
    points: int
    batches_per_s: float
    points_per_s: float
    series: int
    lag_p50_ms: float
    lag_p99_ms: float
    lag_max_ms: float
    without_receipt: int
    sent_again: int
    complaints: int
    resident_before_mb: float  # connected, nothing received yet
    resident_max_mb: float
    resident_slope_mb_per_min: float
    aggregator_cores: float
    broker_cores: float
    database_cores: float
    gateways_cores: float  # of all simulated ones
    sent_bytes_per_batch: float  # MQTT, to the broker
    received_bytes_per_batch: float  # receipt and PUBACK
    disk_bytes_per_point: float  # in the database's final files


class Cores(NamedTuple):
    """CPU time of the parts."""

    aggregator: float
    broker: float
    database: float
    gateways: float


class Run:
    """The servers, the aggregator and the gateways."""

    def __init__(self, folder: Path, broker: Broker, database: Database, count: int, readings: int) -> None:
        self._broker, self._database = broker, database
        store = f'kind = "influx1"\nurl = "{database.url}"\ndatabase = "fleet"'
        self.aggregator = gateway.aggregator(folder, broker.port, store)
        quarter = readings // 4  # 1 to 5 of them series, 3 to 5 of them rows
        self.sizes = [(quarter + i % (4 * quarter + 1), 3 * quarter + i % (2 * quarter + 1)) for i in range(count)]
        self.gateways: list[Gateway] = []
        self.resident_mb: list[float] = []

    async def connect(self) -> None:
        """All gateways, some at a time."""
        start_ns = time.time_ns() - SECOND_NS
        for number, (series, rows) in enumerate(self.sizes):
            name = f"gw-{number:05}"
            self.gateways.append(Gateway(name, Source(name, series, rows, start_ns).batch))
        for begin in range(0, len(self.gateways), CONNECT_AT_ONCE):
            await asyncio.gather(
                *(one.open(self._broker.port) for one in self.gateways[begin : begin + CONNECT_AT_ONCE])
            )

    async def work(self, seconds: float) -> None:
        """One batch of each gateway a second, evenly spread; behind its time it sends without a pause."""
        begun_s = time.perf_counter()
        total, sent, look_s = round(seconds * len(self.gateways)), 0, LOOK_S
        while sent < total:
            due = min(total, int((time.perf_counter() - begun_s) * len(self.gateways)))
            for number in range(sent, due):
                self.gateways[number % len(self.gateways)].send()
            sent = max(sent, due)
            if time.perf_counter() - begun_s >= look_s:
                look_s += LOOK_S
                self._look()
            await asyncio.sleep(TICK_S)

    def _look(self) -> None:
        self.resident_mb.append(self.aggregator.resident_mb)
        for one in self.gateways:
            one.send_again()

    async def drain(self) -> None:
        """Until each batch has its receipt, or for so long."""
        until_s = time.perf_counter() + DRAIN_S
        while any(one.waiting for one in self.gateways) and time.perf_counter() < until_s:
            await asyncio.sleep(TICK_S)

    def cpu_s(self) -> Cores:
        """So far, in seconds."""
        return Cores(self.aggregator.cpu_s, self._broker.cpu_s, self._database.cpu_s, time.process_time())


async def drive(run: Run, seconds: float) -> tuple[float, Cores]:
    """Memory before the first batch, and the cores that each part kept busy."""
    await run.connect()
    resident_mb = run.aggregator.resident_mb
    before, since_s = run.cpu_s(), time.perf_counter()
    await run.work(seconds)
    await run.drain()
    took_s = time.perf_counter() - since_s
    cores = Cores._make(round((late - early) / took_s, 3) for early, late in zip(before, run.cpu_s(), strict=True))
    for one in run.gateways:
        one.close()
    return resident_mb, cores


def measure(count: int, readings: int, minutes: float) -> Fleet:
    """The whole run."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with Database(folder / "influx") as database, Broker(folder / "broker") as broker:
            run = Run(folder, broker, database, count, readings)
            with run.aggregator as process:
                eventually(lambda: process.log.exists() and process.says("broker connected"), "aggregator up")
                resident_mb, cores = asyncio.run(drive(run, 60 * minutes))
            disk_bytes = final_bytes(database)
    done, senders = run.gateways, list(zip(run.gateways, run.sizes, strict=True))
    lags_ms = 1e3 * np.concatenate([np.array(one.lags_s) for one in done])
    p50, p99, slowest = np.percentile(lags_ms, (50, 99, 100)).round(1).tolist()
    points = sum(one.seq * rows for one, (_, rows) in senders)
    stored = sum(len(one.lags_s) * rows for one, (_, rows) in senders)
    batches = sum(one.seq for one in done)
    return Fleet(
        count,
        readings,
        minutes,
        batches,
        points,
        round(batches / 60 / minutes, 1),
        round(points / 60 / minutes, 1),
        sum(series for series, _ in run.sizes),
        p50,
        p99,
        slowest,
        sum(len(one.waiting) for one in done),
        sum(one.sent_again for one in done),
        sum(one.complaints for one in done),
        round(resident_mb, 1),
        round(max(run.resident_mb, default=0.0), 1),
        slope_mb_per_min(run.resident_mb),
        cores.aggregator,
        cores.broker,
        cores.database,
        cores.gateways,
        round(sum(one.traffic_bytes[0] for one in done) / batches, 1),
        round(sum(one.traffic_bytes[1] for one in done) / batches, 1),
        round(disk_bytes / stored, 2),
    )


def slope_mb_per_min(resident_mb: list[float]) -> float:
    """Of a line through all but the first third."""
    settled = np.array(resident_mb[len(resident_mb) // 3 :])
    if len(settled) < 2:
        return 0.0
    minutes = np.arange(len(settled)) * LOOK_S / 60
    return round(float(np.polyfit(minutes, settled, 1)[0]), 2)


def final_bytes(database: Database) -> int:
    """Of the database's files, once nothing waits to be put into them and none changes any more."""
    database.is_compacting = True
    database.stop()
    database.start()
    before, size = -1, _size(database.folder)
    while size != before:
        time.sleep(QUIET_S)
        before, size = size, _size(database.folder)
    return size


def _size(folder: Path) -> int:
    return sum(
        path.stat().st_size for place in ("data", "wal") for path in (folder / place).rglob("*") if path.is_file()
    )


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--gateways", type=int, default=1000, help="how many (1000)")
    options.add_argument("--readings", type=int, default=READINGS, help=f"of a batch, on average ({READINGS})")
    options.add_argument("--minutes", type=float, default=1.0, help="of batches (1)")
    arguments = options.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)  # a socket each
    sys.stderr.write(f"bench_fleet: {arguments.gateways} gateways, {arguments.minutes:g} minutes\n")
    measured = measure(arguments.gateways, arguments.readings, arguments.minutes)
    if arguments.json:
        print_json("fleet", **measured._asdict())
        return
    sys.stdout.write(f"{arguments.gateways:,} gateways, one batch a second each; {machine()}\n")
    for name, value in measured._asdict().items():
        sys.stdout.write(f"{name:<26} {value:>14,}\n")


if __name__ == "__main__":
    main()
