"""How both sides hold a connection to the uplink broker: aiomqtt, with its loose ends tied up.

What aiomqtt 2 leaves to us
1. An attempt that timed out keeps its socket, and a stalled broker would later take it for a second client.
2. Leaving waits for the broker, and a fault on the way out would replace the cancellation that asked for it.
3. The reason in a PUBACK is not looked at: a broker that does not let us publish would look like success.
4. Faults come as one class, whether they pass by themselves or a person has to do something.
5. Nagle's algorithm and delayed ACKs, ours and the broker's, cost 40 ms a batch.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

import aiomqtt
import paho.mqtt.client as paho
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

TAKEN_OVER = 0x8E
NO_SUBSCRIBERS = 0x10  # a PUBACK's reason: the broker has the message, and nobody to hand it to
_TCP_S = 3.0  # a thread waits that long for TCP, and the end of the process for the thread
_ANSWER_S = 5.0
_LEAVE_S = 1.0
_RIGHTS = "check user name, password and certificate here, and the rights of this client in the broker"
CURES = {
    0x84: "the broker must speak MQTT 5",
    0x85: "the broker must allow this client id",
    0x86: _RIGHTS,
    0x87: _RIGHTS,
    0x8A: "the broker has banned this client",
    0x8C: _RIGHTS,
    TAKEN_OVER: "another client uses the same client id: is one started twice, or are two named alike?",
    0x95: "raise the broker's limit (Mosquitto: max_packet_size), or seal smaller batches (outbox.batch_rows)",
}


class BrokerError(ConnectionError):
    """No connection, or no more: try again later. `cure`: what a person must do; empty = it passes by itself.

    `code` is the broker's reason code; 0 = it gave none.
    """

    def __init__(self, reason: str, cure: str = "", code: int = 0) -> None:
        super().__init__(reason)
        self.cure, self.code = cure, code


class Address(NamedTuple):
    """Where the broker is and who we are."""

    host: str
    port: int
    identifier: str | None
    username: str | None
    password: str | None
    keepalive_s: int
    tls: ssl.SSLContext | None


class Client(aiomqtt.Client):
    """An MQTT 5 client with a clean session. To be used through `connection` alone."""

    def __init__(self, address: Address, will: aiomqtt.Will | None = None, max_waiting: int = 0) -> None:
        """`max_waiting`: how many received messages may wait; beyond it the newest are dropped; 0 = no bound."""
        super().__init__(
            address.host,
            address.port,
            identifier=address.identifier,
            username=address.username,
            password=address.password,
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=True,
            keepalive=address.keepalive_s,
            tls_context=address.tls,
            will=will,
            timeout=_ANSWER_S,
            max_queued_incoming_messages=max_waiting,
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        )
        self._client.connect_timeout = _TCP_S
        self.pending_calls_threshold = 100_000  # many are sent together on purpose
        self.on_refused: Callable[[BrokerError], None] = lambda _: None
        self._reasons: dict[int, asyncio.Future[ReasonCode]] = {}

    async def listen(self, topic_filter: str, qos: int = 1) -> None:
        """Subscribe. Raises BrokerError when the broker refuses it."""
        for code in await self.subscribe(topic_filter, qos=qos):
            if isinstance(code, ReasonCode) and code.is_failure:
                raise BrokerError(f"the broker refuses the subscription {topic_filter}: {code}", _RIGHTS)

    async def deliver(self, topic: str, payload: bytes, properties: Properties, timeout_s: float) -> bool:
        """Publish at QoS 1, and wait for the broker's answer: whether it had anybody to hand the message to.

        Raises aiomqtt.MqttError without one.
        """
        sent = self._client.publish(topic, payload, 1, properties=properties)
        if sent.rc != paho.MQTT_ERR_SUCCESS:
            raise aiomqtt.MqttCodeError(sent.rc, "Could not publish message")
        answer = self._reasons[sent.mid] = asyncio.get_running_loop().create_future()
        try:
            reason: ReasonCode = await self._wait_for(answer, timeout_s)
            return reason.value != NO_SUBSCRIBERS
        finally:
            del self._reasons[sent.mid]

    def abandon(self) -> None:
        """Say goodbye if that is possible, and let go of the socket without waiting."""
        self._client.disconnect()
        if self._disconnected.done() and not self._disconnected.cancelled():
            self._disconnected.exception()  # looked at, so that asyncio does not complain of it

    def _on_publish(
        self,
        client: paho.Client,
        userdata: object,
        mid: int,
        reason_code: ReasonCode,
        properties: Properties,
    ) -> None:
        if reason_code.is_failure:
            self.on_refused(_refusal(reason_code, f"the broker refuses a message: {reason_code}"))
        if (answer := self._reasons.get(mid)) and not answer.done():
            answer.set_result(reason_code)
        super()._on_publish(client, userdata, mid, reason_code, properties)
        self._hurry()

    def _on_message(self, client: paho.Client, userdata: object, message: paho.MQTTMessage) -> None:
        super()._on_message(client, userdata, message)
        self._hurry()

    def _hurry(self) -> None:
        """Let the kernel acknowledge at once, for the broker may wait for it; holds until the next packet only."""
        stream = self._client.socket()
        if isinstance(stream, socket.socket) and hasattr(socket, "TCP_QUICKACK"):
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


@asynccontextmanager
async def connection(client: Client) -> AsyncIterator[Client]:
    """Connected inside. Raises BrokerError for every fault of the connection; leaving takes at most a second."""
    try:
        try:
            await client.__aenter__()
        except BaseException:
            client.abandon()
            raise
        try:
            yield client
        finally:
            client.timeout = _LEAVE_S
            with suppress(aiomqtt.MqttError):
                await client.__aexit__(None, None, None)
            client.abandon()
    except aiomqtt.MqttError as error:
        raise _explained(error) from error


def _explained(error: aiomqtt.MqttError) -> BrokerError:
    """The innermost reason, and what a person can do about it."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    if isinstance(cause, aiomqtt.MqttCodeError) and isinstance(cause.rc, ReasonCode):
        return _refusal(cause.rc, str(cause.rc))
    text = str(cause)
    return BrokerError(text, "check the certificates of both sides" if "CERTIFICATE" in text else "")


def _refusal(code: ReasonCode, text: str) -> BrokerError:
    return BrokerError(text, CURES.get(code.value, ""), code.value)


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Wait, but not beyond `stop`."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()
