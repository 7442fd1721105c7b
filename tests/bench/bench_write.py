"""Lines per second into a real InfluxDB, and what a line costs the aggregator.

    ./run bench            a table
    ./run bench --json     one JSON object

In turn within one run, each on an InfluxDB of its own: a bare loader, which sends bodies made beforehand (5,000 lines,
gzip level 1: those that the aggregator itself would send) over N connections; and the whole aggregator as a process,
with a store of N connections, fed through Mosquitto with batches as fast as receipts come back. The same readings,
medians of the passes, and of the ratios of each pass. CPU time is that of all threads of the aggregator, user and
system: of the process, MQTT included; and without MQTT, from a batch's bytes to the bytes of a request that a server in
another process answers with 204. A point is a line with three fields.
"""

import asyncio
import http.client
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.agents import eventually
from tests.bench import gateway, inside
from tests.bench.machine import machine
from tests.bench.procfs import Broker, Database
from tests.bench.report import print_json, wants_json
from tests.bench.simulated import DECIMALS, Gateway, Source
from tests.bench.sink import sink

PASSES = 3
ROWS = 1_000_000
BATCH_ROWS = (5000, 100)
CONNECTIONS = (1, 2)
SERIES = 200
IN_FLIGHT_ROWS, IN_FLIGHT_BATCHES = 80_000, 400  # at most
DIGITS = {DECIMALS: "4 decimals", 16: "all digits"}
START_NS = 1_760_000_000_000_000_000
NAME = "gw-0"


class Written(NamedTuple):
    """The whole aggregator against the bare loader. A ratio is the median of those of the passes."""

    connections: int
    batch_rows: int
    bare_lines_per_s: int
    lines_per_s: int
    ratio: float
    process_points_per_cpu_s: int  # MQTT included


class Inside(NamedTuple):
    """The aggregator without MQTT, in CPU time."""

    batch_rows: int
    digits: str
    points_per_cpu_s: int
    body_bytes_per_point: float  # on the wire to the database, compressed
    payload_bytes_per_point: float  # on the wire from the gateway, compressed


def batches(batch_rows: int, decimals: int = DECIMALS) -> list[bytes]:
    """All readings of a pass."""
    source = Source(NAME, SERIES, batch_rows, START_NS, decimals)
    return [source.batch(seq) for seq in range(1, ROWS // batch_rows + 1)]


def bare(connections: int, bodies: Sequence[bytes]) -> float:
    """Lines per second of the loader."""
    with tempfile.TemporaryDirectory() as scratch, Database(Path(scratch)) as database:
        request(http.client.HTTPConnection("127.0.0.1", database.port), "/query?q=CREATE+DATABASE+bench", b"")
        waiting = iter(bodies)

        def load() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", database.port)
            while (body := next(waiting, None)) is not None:
                request(connection, "/write?db=bench&precision=ns", body)
            connection.close()

        threads = [threading.Thread(target=load) for _ in range(connections)]
        since_s = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return ROWS / (time.perf_counter() - since_s)


def request(connection: http.client.HTTPConnection, path: str, body: bytes) -> None:
    """One request, which must go well."""
    connection.request("POST", path, body, {"Content-Encoding": "gzip"} if body else {})
    answer = connection.getresponse()
    text = answer.read()
    assert answer.status in {200, 204}, text


def whole(connections: int, payloads: Sequence[bytes]) -> tuple[float, float]:
    """Lines per second of the aggregator, and seconds of CPU time a line. The first batch only warms up."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with Database(folder / "influx") as database, Broker(folder / "broker") as broker:
            store = f'kind = "influx1"\nurl = "{database.url}"\ndatabase = "bench"\nconnections = {connections}'
            with gateway.aggregator(folder, broker.port, store) as process:
                eventually(lambda: process.log.exists() and process.says("broker connected"), "aggregator up")
                return asyncio.run(feed(process, broker.port, payloads))


async def feed(process: gateway.Daemon, port: int, payloads: Sequence[bytes]) -> tuple[float, float]:
    """All batches, so many under way at a time; until the last receipt."""
    batch_rows = ROWS // len(payloads)
    window = min(IN_FLIGHT_BATCHES, IN_FLIGHT_ROWS // batch_rows)
    sender = Gateway(NAME, lambda seq: payloads[seq - 1], window)
    done = asyncio.Event()
    last = 1  # the warm-up

    def fill() -> None:
        while sender.seq < last and len(sender.waiting) < window:
            sender.send()
        if not sender.waiting:
            done.set()

    sender.on_receipt = fill
    await sender.open(port)
    fill()
    await done.wait()
    done.clear()
    last, cpu_s, since_s = len(payloads), process.cpu_s, time.perf_counter()
    fill()
    await done.wait()
    took_s, used_s = time.perf_counter() - since_s, process.cpu_s - cpu_s
    assert not sender.complaints, f"{sender.complaints} receipts complain"
    rows = ROWS - batch_rows
    return rows / took_s, used_s / rows


def measure_written() -> list[Written]:
    """All numbers of connections and sizes of batches, in turn."""
    payloads = {batch_rows: batches(batch_rows) for batch_rows in BATCH_ROWS}
    bodies = inside.bodies(NAME, payloads[max(BATCH_ROWS)])
    found: dict[tuple[int, int], list[tuple[float, float, float]]] = {}
    for number in range(PASSES):
        for connections in CONNECTIONS:
            say(f"pass {number + 1} of {PASSES}: {connections} connections")
            loader = bare(connections, bodies)
            for batch_rows in BATCH_ROWS:
                figures = (loader, *whole(connections, payloads[batch_rows]))
                found.setdefault((connections, batch_rows), []).append(figures)
    return [summary(*case, passes) for case, passes in found.items()]


def summary(connections: int, batch_rows: int, passes: list[tuple[float, float, float]]) -> Written:
    """The medians."""
    loader, rate, cpu_s = (round(statistics.median(column), 9) for column in zip(*passes, strict=True))
    ratio = round(statistics.median(one[1] / one[0] for one in passes), 3)
    return Written(connections, batch_rows, round(loader), round(rate), ratio, round(1 / cpu_s))


def measure_inside(batch_rows: int, decimals: int) -> Inside:
    """The median of the passes, each with a store of its own."""
    payloads = batches(batch_rows, decimals)
    sent = inside.bodies(NAME, payloads)
    with sink() as url:
        used_s = statistics.median(inside.cpu_s(NAME, payloads, url) for _ in range(PASSES))
    sizes = (sum(map(len, sent)) / ROWS, sum(map(len, payloads)) / ROWS)
    return Inside(batch_rows, DIGITS[decimals], round(ROWS / used_s), *(round(size, 1) for size in sizes))


def say(text: str) -> None:
    """Progress."""
    sys.stderr.write(f"bench_write: {text}\n")


def main() -> None:
    """Measure and print."""
    as_json = wants_json(__doc__)
    say("without MQTT")
    within = [measure_inside(batch_rows, decimals) for batch_rows in BATCH_ROWS for decimals in DIGITS]
    written = measure_written()
    if as_json:
        print_json("write", rows=ROWS, written=written, inside=within)
        return
    sys.stdout.write(f"{ROWS:,} readings of {SERIES} series into InfluxDB 1.x, median of {PASSES}; {machine()}\n")
    table(Written._fields, written)
    sys.stdout.write("\nwithout MQTT, CPU time\n")
    table(Inside._fields, within)


def table(names: Sequence[str], rows: Sequence[tuple[object, ...]]) -> None:
    """Columns as wide as their names."""
    sys.stdout.write("  ".join(names) + "\n")
    for row in rows:
        cells = (f"{cell:,}" if isinstance(cell, int | float) else str(cell) for cell in row)
        sys.stdout.write("  ".join(f"{cell:>{len(name)}}" for cell, name in zip(cells, names, strict=True)) + "\n")


if __name__ == "__main__":
    main()
