"""A broker of MQTT 5 that answers as it is told, and the aggregator's client connected to one."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

import mqtt5

from aggregator.adapters.mqtt import Connection, connection
from aggregator.core.outgoing import Message
from aggregator.core.packets import PacketStream
from models.broker import Address, BrokerError
from models.contract.topics import topic
from tests.agents import WAIT_S

BATCH, RECEIPT = topic("north", "gw1", "batch"), topic("north", "gw1", "receipt")
AT_LEAST_ONCE = mqtt5.QoS.AT_LEAST_ONCE
CONNACK = mqtt5.ConnAckPacket().write()
Say = Callable[[mqtt5.Packet], bytes]


def publish(number: int, payload: bytes = b"x", name: str = BATCH) -> bytes:
    return mqtt5.PublishPacket(name, payload, qos=AT_LEAST_ONCE, packet_id=number).write()


class Scripted:
    """A broker that answers each packet as it is told, and remembers what it got."""

    def __init__(self, say: Say, *, reads_packets: int = 1_000_000_000) -> None:
        self._say, self._reads = say, reads_packets
        self.got: list[mqtt5.Packet] = []
        self.is_left = asyncio.Event()
        self.port = 0
        self._writer: asyncio.StreamWriter | None = None

    def of(self, kind: type) -> list[Any]:
        return [packet for packet in self.got if isinstance(packet, kind)]

    def send(self, content: bytes) -> None:
        assert self._writer is not None
        self._writer.write(content)

    def hang_up(self) -> None:
        assert self._writer is not None
        self._writer.transport.abort()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        if self._writer is not None:
            self._writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        stream = PacketStream()
        while len(self.got) < self._reads and (data := await reader.read(1 << 16)):
            for packet in stream.feed(data):
                self.got.append(packet)
                writer.write(self._say(packet))
                if isinstance(packet, mqtt5.DisconnectPacket):
                    writer.close()
        if len(self.got) < self._reads:
            self.is_left.set()
            writer.close()


def polite(packet: mqtt5.Packet) -> bytes:
    """What a broker answers that lets us do everything."""
    if isinstance(packet, mqtt5.ConnectPacket):
        return CONNACK
    if isinstance(packet, mqtt5.SubscribePacket):
        return mqtt5.SubAckPacket(packet.packet_id, [mqtt5.SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE]).write()
    if isinstance(packet, mqtt5.PublishPacket) and packet.packet_id is not None:
        return mqtt5.PubAckPacket(packet.packet_id).write()
    return mqtt5.PingRespPacket().write() if isinstance(packet, mqtt5.PingReqPacket) else b""


def except_to(kind: type, answer: bytes) -> Say:
    """Polite but for packets of one kind."""
    return lambda packet: answer if isinstance(packet, kind) else polite(packet)


def address(port: int, *, identifier: str | None = None, tls: ssl.SSLContext | None = None) -> Address:
    return Address("127.0.0.1", port, identifier, None, None, 10, tls)


@asynccontextmanager
async def joined(
    port: int, *, identifier: str | None = None, tls: ssl.SSLContext | None = None, share: str = "a"
) -> AsyncIterator[tuple[Connection, list[mqtt5.PublishPacket], list[BrokerError]]]:
    messages: list[mqtt5.PublishPacket] = []
    refused: list[BrokerError] = []
    async with connection(address(port, identifier=identifier, tls=tls), messages.extend, refused.append) as link:
        await link.subscribe(f"$share/{share}/{BATCH}")
        yield link, messages, refused


def act(work: Coroutine[Any, Any, None]) -> None:
    """Runs it; whatever asyncio would only have logged is a failure."""

    async def watched() -> None:
        faults: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
        async with asyncio.timeout(WAIT_S):
            await work
        assert faults == []

    asyncio.run(watched())


async def until(true: Callable[[], object]) -> None:
    while not true():
        await asyncio.sleep(0.01)


async def fault(
    port: int,
    *,
    identifier: str | None = None,
    tls: ssl.SSLContext | None = None,
    messages: Sequence[Message] = (),
) -> BrokerError:
    """Why a connection ended that has no more to do than to publish these."""
    try:
        async with joined(port, identifier=identifier, tls=tls) as (link, _, _):
            link.publish(messages)
            await link.ended()
    except BrokerError as error:
        return error
