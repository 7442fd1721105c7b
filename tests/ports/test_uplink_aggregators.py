"""Real uplinks, aggregators and stores, of which some die: in the end each row is stored once, and receipted."""

import asyncio
import signal
from functools import partial
from pathlib import Path

import pytest

from edge_agent.adapters.outbox_sqlite import SqliteOutbox
from edge_agent.adapters.uplink import Uplink
from models.contract.batch import encode_batch
from tests.agents import WAIT_S, Process, aggregator, eventually, query, sqlite_rows
from tests.batches import T0, batch
from tests.moody import Moody
from tests.servers import Influx1, Mosquitto
from tests.uplink_site import uplink_config

# Dies with its work done, and unsaid.
_DIES_BEFORE_ITS_RECEIPT = """
import os, signal, sys
from aggregator.adapters import uplink
from aggregator.cli import app

async def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

uplink.MqttUplink.answer = die
sys.argv[0] = 'aggregator'
app()
"""


def sealed(folder: Path, batches: int) -> SqliteOutbox:
    """An outbox with batches of one reading each, a nanosecond apart."""
    folder.mkdir(parents=True, exist_ok=True)
    outbox = SqliteOutbox(folder / "outbox.db", 64 * 1024 * 1024)
    for i in range(batches):

        def build(epoch: str, seq: int, time_ns: int = T0 + i) -> bytes:
            content = batch([float(seq)], seq=seq, start_ns=time_ns)
            content.epoch = epoch
            return encode_batch(content)

        outbox.append(build, T0, 1)
    return outbox


async def send(outbox: SqliteOutbox, folder: Path, port: int) -> None:
    """Until every batch has its receipt."""
    uplink = Uplink(
        uplink_config(folder, port, receipt_timeout_s=0.5),
        outbox,
        None,
        lambda _: b"",
        lambda *_: None,
        lambda *_: None,
    )
    running = asyncio.create_task(uplink.run())
    try:
        async with asyncio.timeout(WAIT_S):
            while outbox.backlog():
                await asyncio.sleep(0.01)
    finally:
        uplink.stop()
        await running
        outbox.close()


def values(path: Path) -> list[float]:
    return [value for (value,) in sqlite_rows(path, "SELECT value FROM reading ORDER BY value")]


def test_an_aggregator_killed_between_write_and_receipt_costs_nothing(tmp_path: Path, mosquitto: Mosquitto) -> None:
    store, file = f'kind = "sqlite"\npath = "{tmp_path}/rows.db"', tmp_path / "rows.db"
    proper = aggregator(tmp_path, mosquitto.port, store)
    doomed = Process(_DIES_BEFORE_ITS_RECEIPT, ["run", str(tmp_path / "aggregator.toml")], tmp_path)

    async def act() -> None:
        outbox = sealed(tmp_path / "edge", 30)
        under_way = asyncio.create_task(send(outbox, tmp_path, mosquitto.port))
        assert await asyncio.to_thread(doomed.wait) == -signal.SIGKILL
        assert values(file), "it died before it had written"
        assert outbox.backlog() == 30
        with proper:
            await under_way

    with doomed:
        asyncio.run(act())
    assert values(file) == [float(i) for i in range(1, 31)]


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP])
def test_of_two_aggregators_either_may_go_and_the_other_does_the_work(
    tmp_path: Path, mosquitto: Mosquitto, end: signal.Signals
) -> None:
    folders = tmp_path / "a", tmp_path / "b"  # a store each: one that is stopped may hold its file locked
    both = []
    for folder in folders:
        folder.mkdir()
        both.append(aggregator(folder, mosquitto.port, 'kind = "sqlite"\npath = "rows.db"'))
        config = folder / "aggregator.toml"
        config.write_text(config.read_text().replace("[broker]", "[broker]\nkeepalive_s = 5"))

    async def act() -> None:
        under_way = asyncio.create_task(send(sealed(tmp_path / "edge", 400), tmp_path, mosquitto.port))
        at_work = lambda: all(len(values(folder / "rows.db")) > 10 for folder in folders)  # noqa: E731 - once
        await asyncio.to_thread(eventually, at_work, "both are at work")
        both[0].signal(end)
        await under_way

    with both[0], both[1]:
        eventually(lambda: all(one.log.exists() and one.says("broker connected") for one in both), "up")
        asyncio.run(act())
    found = {value for folder in folders for value in values(folder / "rows.db")}
    assert found == {float(i) for i in range(1, 401)}


def test_a_broker_that_forgets_everything_is_joined_again_by_both_sides(tmp_path: Path) -> None:
    file = tmp_path / "rows.db"
    broker = Mosquitto(tmp_path / "broker")
    process = aggregator(tmp_path, broker.port, f'kind = "sqlite"\npath = "{file}"')

    async def act() -> None:
        under_way = asyncio.create_task(send(sealed(tmp_path / "edge", 200), tmp_path, broker.port))

        def is_above(some: int) -> bool:
            return len(values(file)) > some

        for some in (20, 100):
            await asyncio.to_thread(eventually, partial(is_above, some), "batches are stored")
            await asyncio.to_thread(broker.restart)
        await under_way

    with broker, process:
        asyncio.run(act())
    assert values(file) == [float(i) for i in range(1, 201)]


def test_an_aggregator_ends_in_order_though_its_broker_stands_still(tmp_path: Path) -> None:
    broker = Moody(tmp_path / "broker")
    process = aggregator(tmp_path, broker.port, f'kind = "sqlite"\npath = "{tmp_path}/rows.db"')
    with broker, process:
        eventually(lambda: process.says("broker connected"), "up")
        broker.pause()
        assert process.stop() == 0


@pytest.mark.usefixtures("influx1")
def test_a_database_killed_again_and_again_has_each_row_once(tmp_path: Path, mosquitto: Mosquitto) -> None:
    database = Influx1(tmp_path / "influx")
    process = aggregator(tmp_path, mosquitto.port, f'kind = "influx1"\nurl = "{database.url}"\ndatabase = "d"')

    async def act() -> None:
        outbox = sealed(tmp_path / "edge", 300)

        def is_below(left: int) -> bool:
            return outbox.backlog() < left

        under_way = asyncio.create_task(send(outbox, tmp_path, mosquitto.port))
        await asyncio.to_thread(eventually, lambda: process.says("store not available"), "it waits for the database")
        for left in (200, 100):
            await asyncio.to_thread(database.start)
            await asyncio.to_thread(eventually, partial(is_below, left), "batches are stored")
            database.kill()
        await asyncio.to_thread(database.start)
        await under_way

    try:
        with process:  # the database is down: the aggregator starts all the same
            asyncio.run(act())
            rows = query(tmp_path, "series", "--asset", "pump-7", "--channel", "vibration", "--since", "2020-01-01")
    finally:
        database.kill()
    assert sorted(row["value"] for row in rows) == [float(i) for i in range(1, 301)]
