"""The whole aggregator as a process, between a real broker and real stores."""

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from aggregator.adapters.uplink import MqttUplink
from aggregator.app import open_reader
from aggregator.config import Broker, load
from aggregator.core.views import Row
from aggregator.metrics import Metrics
from models.contract.batch import Receipt, decode_receipt, encode_batch
from models.contract.topics import topic
from tests.agents import WAIT_S, run_cli
from tests.batches import T0, batch
from tests.servers import Influx1, Mosquitto

BATCH, RECEIPT = topic("north", "gw1", "batch"), topic("north", "gw1", "receipt")
COMMAND = [sys.executable, "-c", "from aggregator.cli import app; app()"]


def written(path: Path, broker: Mosquitto, store: str) -> Path:
    path.write_text(f'[broker]\nport = {broker.port}\n[store]\n{store}\n[log]\nformat = "json"\nlevel = "debug"\n')
    return path


@contextmanager
def running(config: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([*COMMAND, "run", str(config)], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "broker connected" in line:
                break
        yield process
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


class Gateway:
    """Sends batches and waits for receipts."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self._client = client

    async def send(self, payload: bytes, correlation: bytes | None = b"1", response: str = RECEIPT) -> None:
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic = response
        if correlation is not None:
            properties.CorrelationData = correlation
        await self._client.publish(BATCH, payload, qos=1, properties=properties)

    async def receipt(self) -> tuple[Receipt, bytes]:
        async with asyncio.timeout(WAIT_S):
            async for message in self._client.messages:
                assert isinstance(message.payload, bytes)
                return decode_receipt(message.payload), getattr(message.properties, "CorrelationData", b"")
        raise AssertionError


@asynccontextmanager
async def gateway(broker: Mosquitto) -> AsyncIterator[Gateway]:
    async with aiomqtt.Client("127.0.0.1", broker.port, protocol=aiomqtt.ProtocolVersion.V5) as client:
        await client.subscribe(RECEIPT, qos=1)
        yield Gateway(client)


def rows(config: Path) -> list[Row]:
    reader = open_reader(load(config))
    try:
        return reader.series("pump-7", "vibration", 0, 2**63 - 2, 1000)
    finally:
        reader.close()


@pytest.fixture
def sqlite(tmp_path: Path, mosquitto: Mosquitto) -> Path:
    return written(tmp_path / "a.toml", mosquitto, f'kind = "sqlite"\npath = "{tmp_path}/rows.db"')


def test_a_receipt_means_that_the_rows_are_there_and_sigterm_ends_it_well(sqlite: Path, mosquitto: Mosquitto) -> None:
    async def talk() -> tuple[Receipt, bytes]:
        async with gateway(mosquitto) as us:
            await us.send(encode_batch(batch([1.0, float("nan")], seq=9)), b"9")
            return await us.receipt()

    with running(sqlite) as process:
        receipt, correlation = asyncio.run(talk())
        assert (receipt.epoch, receipt.seq, receipt.stored, correlation) == ("e1", 9, True, b"9")
        assert ["not a number" in refusal.reason for refusal in receipt.refused] == [True]
        assert [row["time"] for row in rows(sqlite)] == [T0]
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 0


def test_what_cannot_be_read_is_refused_with_a_reason_and_others_go_on(sqlite: Path, mosquitto: Mosquitto) -> None:
    async def talk() -> list[tuple[Receipt, bytes]]:
        async with gateway(mosquitto) as us:
            await us.send(b"rubbish", b"bad")
            first = await us.receipt()
            await us.send(encode_batch(batch([1.0])), b"good")
            return [first, await us.receipt()]

    with running(sqlite):
        (bad, bad_name), (good, good_name) = asyncio.run(talk())
    assert (bad.stored, bad_name, good.stored, good_name) == (False, b"bad", True, b"good")
    assert "zstd" in bad.reason


def test_a_receipt_goes_to_its_gateway_whatever_the_response_topic_says(sqlite: Path, mosquitto: Mosquitto) -> None:
    async def talk() -> Receipt:
        async with gateway(mosquitto) as us:
            await us.send(encode_batch(batch([1.0])), b"1", topic("north", "gw2", "command"))
            return (await us.receipt())[0]

    with running(sqlite):
        assert asyncio.run(talk()).stored


def test_many_batches_at_once_have_a_receipt_each(sqlite: Path, mosquitto: Mosquitto) -> None:
    async def talk() -> set[bytes]:
        async with gateway(mosquitto) as us:
            for seq in range(200):
                await us.send(encode_batch(batch([1.0], seq=seq, start_ns=T0 + seq)), str(seq).encode())
            return {(await us.receipt())[1] for _ in range(200)}

    with running(sqlite):
        assert len(asyncio.run(talk())) == 200
    assert len(rows(sqlite)) == 200


@pytest.mark.usefixtures("influx1")
def test_a_database_that_is_away_delays_the_receipt_and_loses_nothing(tmp_path: Path, mosquitto: Mosquitto) -> None:
    database = Influx1(tmp_path / "influx")
    config = written(tmp_path / "a.toml", mosquitto, f'kind = "influx1"\nurl = "{database.url}"\ndatabase = "d"')

    async def talk(process: subprocess.Popen[str]) -> Receipt:
        async with gateway(mosquitto) as us:
            await us.send(encode_batch(batch([1.0, 2.0])))
            assert process.stderr is not None
            failed = await asyncio.to_thread(process.stderr.readline)
            assert "store not available" in failed
            await asyncio.to_thread(database.start)
            return (await us.receipt())[0]

    try:
        with running(config) as process:
            assert asyncio.run(talk(process)).stored
            assert [row["value"] for row in rows(config)] == [1.0, 2.0]
    finally:
        database.kill()


def test_questions_and_faults_have_an_answer_on_the_command_line(sqlite: Path, tmp_path: Path) -> None:
    assert run_cli("aggregator.cli", "check", str(sqlite)).returncode == 0
    asked = run_cli("aggregator.cli", "query", "latest", "--config", str(sqlite))
    assert (asked.returncode, asked.stderr.count("\n")) == (1, 1)
    none = [*COMMAND, "run", str(tmp_path / "none.toml")]
    started = subprocess.run(none, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert (started.returncode, started.stderr.count("\n")) == (2, 1)


def test_a_store_that_hangs_does_not_hold_up_the_end(tmp_path: Path, mosquitto: Mosquitto) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        store = f'kind = "influx1"\nurl = "{url}"\ndatabase = "d"\ntimeout_s = 300'
        config = written(tmp_path / "a.toml", mosquitto, store)

        async def talk() -> None:
            async with gateway(mosquitto) as us:
                await us.send(encode_batch(batch([1.0])))

        with running(config) as process:
            asyncio.run(talk())
            connection, _ = mute.accept()  # the write has begun
            with connection:
                process.send_signal(signal.SIGTERM)
                assert process.wait(WAIT_S) == 0


def test_what_is_more_than_may_wait_is_left_to_its_gateway(mosquitto: Mosquitto) -> None:
    async def talk() -> list[bytes]:
        metrics = Metrics()
        uplink = MqttUplink(Broker(port=mosquitto.port), metrics, max_waiting_bytes=2000)
        running_uplink = asyncio.create_task(uplink.run())
        async with gateway(mosquitto) as us, asyncio.timeout(WAIT_S):
            while not metrics.registry.get_sample_value("tocsin_aggregator_broker_up"):
                await asyncio.sleep(0.01)
            await us.send(b"x" * 1001, b"large")
            await us.send(b"small", b"small")
            taken = await uplink.take()
        running_uplink.cancel()
        assert metrics.registry.get_sample_value("tocsin_aggregator_batches_total", {"outcome": "dropped"}) == 1
        return [request.payload for request in taken]

    assert asyncio.run(talk()) == [b"small"]
