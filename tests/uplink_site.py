"""An uplink under way between a real outbox file and a broker, and an aggregator whose answers are scripted."""

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, ParamSpec

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_agent.adapters.outbox_sqlite import SqliteOutbox
from edge_agent.adapters.uplink import Uplink
from edge_agent.config import EdgeConfig
from edge_agent.ports import NoRoomError, Sealed
from models import broker
from models.contract.batch import Receipt, Refusal, encode_receipt
from models.contract.topics import subscription, topic
from tests.agents import WAIT_S

P = ParamSpec("P")
BATCH, RECEIPT, STATE = (topic("north", "gw1", kind) for kind in ("batch", "receipt", "state"))
Answer = Callable[[str, int], Receipt | None]


def stored(epoch: str, seq: int) -> Receipt:
    return Receipt(epoch=epoch, seq=seq, stored=True)


def uplink_config(folder: Path, port: int, *, receipt_timeout_s: float = 3600, **settings: Any) -> EdgeConfig:
    """A gateway's configuration with these settings of its uplink."""
    return EdgeConfig.model_validate(
        {
            "site": "north",
            "gateway": "gw1",
            "state_dir": folder,
            "topics": [{"template": "{asset}/{channel}"}],
            "channels": [{"match": "*/*"}],
            "assets": [{"match": "*"}],
            "uplink": {"port": port, "receipt_timeout_s": receipt_timeout_s, **settings},
        }
    )


class Site:
    """An uplink under way, and what it reports."""

    def __init__(self, folder: Path, port: int, **settings: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.outbox = SqliteOutbox(folder / "outbox.db", 256 * 1024 * 1024)
        self.receipts: list[int] = []
        self.refused: list[tuple[int, list[str]]] = []
        self.no_room = 0  # how many refusals to turn away
        self.uplink = Uplink(
            uplink_config(folder, port, **settings),
            self.outbox,
            None,
            state_of,
            self._on_receipt,
            self._on_refused,
        )

    def seal(self, count: int, size: int = 50) -> None:
        for _ in range(count):
            self.outbox.append(lambda epoch, seq: f"{epoch}:{seq}:".encode().ljust(size, b"x"), 1, 1)
        self.uplink.hint()

    async def settled(self) -> None:
        await until(lambda: not self.outbox.backlog())

    def _on_receipt(self, batch: Sealed, _receipt: Receipt) -> None:
        self.receipts.append(batch.seq)

    def _on_refused(self, batch: Sealed, refused: list[Refusal]) -> None:
        if self.no_room:
            self.no_room -= 1
            raise NoRoomError
        self.refused.append((batch.seq, [refusal.reason for refusal in refused]))


def state_of(online: bool) -> bytes:
    return json.dumps({"online": online}).encode()


def in_loop(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """The test as a plain function with an event loop of its own."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def main() -> None:
            await test(*args, **kwargs)

        asyncio.run(main())

    return run


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not true():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(folder: Path, port: int, *, before: int = 0, size: int = 50, **settings: Any) -> AsyncIterator[Site]:
    """A site whose outbox holds `before` batches when its uplink starts."""
    site = Site(folder, port, **settings)
    site.seal(before, size)
    task = asyncio.create_task(site.uplink.run())
    try:
        yield site
        assert not task.done(), "the uplink ended by itself"
    finally:
        site.uplink.stop()
        await asyncio.wait_for(task, WAIT_S)
        site.outbox.close()


class Aggregator:
    """Takes batches and answers as `answer` says; in `seen` each arrival: (seq, oldest)."""

    def __init__(self, answer: Answer = stored) -> None:
        self.answer = answer
        self.seen: list[tuple[int, int]] = []
        self._client: aiomqtt.Client | None = None

    @property
    def seqs(self) -> list[int]:
        return [seq for seq, _ in self.seen]

    async def reply(self, receipt: Receipt | bytes, correlation: str) -> None:
        assert self._client is not None
        properties = Properties(PacketTypes.PUBLISH)
        properties.CorrelationData = correlation.encode()
        payload = receipt if isinstance(receipt, bytes) else encode_receipt(receipt)
        await self._client.publish(RECEIPT, payload, qos=1, properties=properties)

    async def serve(self, client: aiomqtt.Client) -> None:
        self._client = client
        async for message in client.messages:
            epoch, seq = message.payload.decode().split(":")[:2]
            properties: Any = message.properties
            assert (epoch, seq) == tuple(properties.CorrelationData.decode().split(":"))
            assert properties.ResponseTopic == RECEIPT
            self.seen.append((int(seq), int(dict(properties.UserProperty)["oldest"])))
            if receipt := self.answer(epoch, int(seq)):
                await self.reply(receipt, f"{epoch}:{seq}")


@asynccontextmanager
async def answering(port: int, answer: Answer = stored) -> AsyncIterator[Aggregator]:
    aggregator = Aggregator(answer)
    address = broker.Address("127.0.0.1", port, None, None, None, 60, None)
    async with broker.connection(broker.Client(address)) as client:
        await client.listen(subscription("batch", share="a"))
        task = asyncio.create_task(aggregator.serve(client))
        try:
            yield aggregator
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError, aiomqtt.MqttError):
                await task
