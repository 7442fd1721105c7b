"""An MQTT 5 client of one subscription that costs as little as can be: the codec on an asyncio socket.

What is to be measured shares the cores with a thousand of them.
"""

import asyncio
from collections.abc import Callable

import mqtt5

from models.contract.topics import OLDEST

_IDS = 65_535


class Wire(asyncio.Protocol):
    """One connection with a clean session; everything is QoS 1. PUBACKs are not looked at, receipts are what counts."""

    def __init__(self, client_id: str, topic_filter: str, on_message: Callable[[bytes], None]) -> None:
        self._id, self._filter, self._on_message = client_id, topic_filter, on_message
        self._rest = b""
        self._sent = 0
        self.sent_bytes = self.received_bytes = 0  # of batches; of all that came
        self._transport: asyncio.Transport | None = None
        self._settled, self._is_subscribed = asyncio.Event(), False

    async def open(self, port: int) -> None:
        """Connected and subscribed. Raises ConnectionError."""
        await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", port)
        await self._settled.wait()
        if not self._is_subscribed:
            raise ConnectionError(f"{self._id}: the broker closed the connection")

    def close(self) -> None:
        """The broker is told nothing."""
        if self._transport is not None:
            self._transport.abort()

    def publish(self, topic: str, payload: bytes, response: str, correlation: bytes, oldest: str) -> None:
        """A batch, as a gateway sends it."""
        self._sent += 1
        assert self._transport is not None
        packet = mqtt5.PublishPacket(
            topic,
            payload,
            qos=mqtt5.QoS.AT_LEAST_ONCE,
            packet_id=self._sent % _IDS + 1,
            response_topic=response,
            correlation_data=correlation,
            user_properties=[(OLDEST, oldest)],
        )
        content = packet.write()
        self.sent_bytes += len(content)
        self._transport.write(content)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(mqtt5.ConnectPacket(self._id, clean_start=True).write())

    def data_received(self, data: bytes) -> None:
        self.received_bytes += len(data)
        content = memoryview(self._rest + data)
        begin = 0
        while begin < len(content):
            try:
                packet, length = mqtt5.read(content[begin:])
            except IndexError:  # the rest is still to come
                break
            begin += length
            self._handle(packet)
        self._rest = bytes(content[begin:])

    def connection_lost(self, _exc: Exception | None) -> None:
        self._settled.set()

    def _handle(self, packet: mqtt5.Packet) -> None:
        assert self._transport is not None
        if isinstance(packet, mqtt5.PublishPacket):
            if packet.packet_id:
                self._transport.write(mqtt5.PubAckPacket(packet.packet_id).write())
            self._on_message(packet.payload)
        elif isinstance(packet, mqtt5.ConnAckPacket):
            wanted = mqtt5.TopicFilter(self._filter, max_qos=mqtt5.QoS.AT_LEAST_ONCE)
            self._transport.write(mqtt5.SubscribePacket(1, [wanted]).write())
        elif isinstance(packet, mqtt5.SubAckPacket):
            self._is_subscribed = True
            self._settled.set()
