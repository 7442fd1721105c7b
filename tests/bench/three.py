"""Three aggregators share the work of one broker; one after the other is killed and started again.

    simulated gateways ──▶ broker ──▶ aggregator 1, 2, 3 ──▶ InfluxDB
    sensors ─▶ an agent ──▶           shared subscription

Gateways keep each batch until its receipt and send it again without one. In the end the database is read back, row by
row: each reading must be there once, with its value, and nothing else.
"""

import asyncio
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import orjson

from tests import agents
from tests.bench import gateway
from tests.bench.paced import Paced
from tests.bench.procfs import Broker, Database
from tests.bench.simulated import SITE, Gateway, Source
from tests.chaos import rows

AGGREGATORS = 3
GATEWAYS = 40
BATCHES_PER_S = 200.0
SERIES, ROWS = 10, 20  # of a gateway, of a batch
READINGS_PER_S = 200  # through the agent
START_NS = 1_760_000_000_000_000_000
RECEIPT_TIMEOUT_S = 1.0
TICK_S = 0.02
SETTLE_S = 60.0  # at most, until all is stored; an agent's back-off is part of it
DATABASE = "three"

Values = dict[rows.Key, float]


class Outcome(NamedTuple):
    """Of one run. Rows are readings, those of the agent among them."""

    seconds: float
    kills: int
    batches: int  # of the simulated gateways
    without_receipt: int  # batches that a gateway still holds in the end: the time was too short
    sent_again: int
    repeated_receipts: int
    refused: int
    rows: int
    agent_rows: int
    rows_missing: int
    rows_duplicated: int  # more than expected, or under another name or time
    rows_different: int
    longest_lag_s: float  # from a batch's first publish to its receipt


class Fleet:
    """The simulated gateways."""

    def __init__(self, batches_per_s: float) -> None:
        self._batches_per_s = batches_per_s
        self.sources = [Source(f"gw-{number}", SERIES, ROWS, START_NS) for number in range(GATEWAYS)]
        self.gateways = [Gateway(one.name, one.batch, timeout_s=RECEIPT_TIMEOUT_S) for one in self.sources]

    async def work(self, seconds: float) -> None:
        """New batches for so long, then until each has its receipt."""
        begun_s, sent = time.perf_counter(), 0
        while (passed_s := time.perf_counter() - begun_s) < seconds + SETTLE_S:
            due = int(min(passed_s, seconds) * self._batches_per_s)
            for number in range(sent, due):
                self.gateways[number % GATEWAYS].send()
            sent = max(sent, due)
            if passed_s > seconds and not any(one.waiting for one in self.gateways):
                break
            for one in self.gateways:
                one.send_again()
            await asyncio.sleep(TICK_S)
        for one in self.gateways:
            one.close()

    def expected(self) -> Values:
        """All that was sent."""
        return {
            rows.Key("reading", (SITE, *source.series[series]), time_ns): value
            for source, sender in zip(self.sources, self.gateways, strict=True)
            for seq in range(1, sender.seq + 1)
            for series, time_ns, value in zip(*(c.tolist() for c in source.columns(seq)[:3]), strict=True)
        }


def run(folder: Path, seconds: float, every_s: float, batches_per_s: float = BATCHES_PER_S) -> Outcome:
    """New data for `seconds`, a kill each `every_s`, then quiet, until all is stored or `SETTLE_S` have passed."""
    with ExitStack() as running:
        database = running.enter_context(Database(folder / "influx"))
        broker = running.enter_context(Broker(folder / "broker"))
        aggregators = [_aggregator(folder / f"aggregator-{i}", broker.port, database.url) for i in range(AGGREGATORS)]
        for one in aggregators:
            running.enter_context(one)
        agent = running.enter_context(agents.edge(folder, broker.port))
        agents.eventually(lambda: all(one.says("broker connected") for one in aggregators), "aggregators up")
        agents.eventually(lambda: agent.says("connected to the sensor broker"), "agent up")
        sensors = Paced(broker.port, READINGS_PER_S, gateway.message, round(seconds * READINGS_PER_S))
        fleet = Fleet(batches_per_s)
        kills = asyncio.run(_drive(fleet, aggregators, broker.port, sensors, seconds, every_s))
        measured = {_sensed(number, time_ns) for number, time_ns in enumerate(sensors.sent_ns[: sensors.count])}
        expected = fleet.expected() | dict(measured)
        _settle(database.url, len(expected))
        found = {key: float(dict(fields)["value"]) for key, fields in rows.read(database.url, DATABASE).items()}
        return Outcome(
            seconds,
            kills,
            sum(one.seq for one in fleet.gateways),
            sum(len(one.waiting) for one in fleet.gateways),
            sum(one.sent_again for one in fleet.gateways),
            sum(one.repeated_receipts for one in fleet.gateways),
            sum(one.complaints for one in fleet.gateways),
            len(expected),
            len(measured),
            len(expected.keys() - found.keys()),
            len(found.keys() - expected.keys()),
            sum(expected[key] != found[key] for key in expected.keys() & found.keys()),
            round(max(lag for one in fleet.gateways for lag in one.lags_s), 2),
        )


def _aggregator(folder: Path, port: int, url: str) -> gateway.Daemon:
    folder.mkdir(parents=True)
    return gateway.aggregator(folder, port, f'kind = "influx1"\nurl = "{url}"\ndatabase = "{DATABASE}"')


async def _drive(
    fleet: Fleet, aggregators: list[gateway.Daemon], port: int, sensors: Paced, seconds: float, every_s: float
) -> int:
    """Until the fleet has all its receipts; how many aggregators were killed."""
    await asyncio.gather(*(one.open(port) for one in fleet.gateways))
    sensors.start()
    working = asyncio.create_task(fleet.work(seconds))
    until_s, kills = time.perf_counter() + seconds, 0
    while time.perf_counter() + every_s < until_s:
        await asyncio.sleep(every_s)
        victim = aggregators[kills % AGGREGATORS]
        victim.kill()
        victim.start()
        kills += 1
    await working
    await asyncio.to_thread(sensors.stop)
    return kills


def _sensed(number: int, time_ns: int) -> tuple[rows.Key, float]:
    """The row of a sensor's message."""
    topic, payload = gateway.message(number, time_ns)
    asset, channel = topic.split("/")[-2:]
    return rows.Key("reading", ("lab", asset, channel), time_ns), orjson.loads(payload)["value"]


def _settle(url: str, expected: int) -> None:
    until_s = time.monotonic() + SETTLE_S
    while rows.count(url, DATABASE) < expected and time.monotonic() < until_s:
        time.sleep(0.2)
