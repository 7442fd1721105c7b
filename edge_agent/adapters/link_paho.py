"""The sensor link on paho-mqtt: MQTT 5 or 3.1.1, QoS 1, manual acknowledgement, persistent session.

Rules
1. The network thread only appends to a list; the reader swaps the list. Nothing else crosses the threads.
2. A ticket carries the connection's epoch. After a reconnect message ids begin again, and an old
   acknowledgement would confirm another message: such tickets are dropped, the broker sends those again.
3. Taken and unacknowledged bytes are bounded: beyond, the network thread waits, and TCP slows the broker down.
4. `on_message` must not raise: paho's thread would die while the client still says it is connected.
"""

import threading
import time
from collections.abc import Sequence
from typing import Any

import paho.mqtt.client as mqtt
import structlog
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from pydantic import SecretStr

from edge_agent.config import Broker
from edge_agent.core.intake import Message

_log = structlog.get_logger()
_MESSAGE_OVERHEAD_BYTES = 200  # what a small message costs besides its payload
_COMMIT_MESSAGES, _COMMIT_BYTES = 5000, 4 * 1024 * 1024
_MAX_PACKETS = 65_535  # receive maximum: the bound that counts is in bytes


class PahoLink:
    """Implements the port SensorLink."""

    def __init__(self, broker: Broker, client_id: str, password: SecretStr | None, unacked_bytes: int) -> None:
        self._broker, self._unacked_limit = broker, unacked_bytes
        is_v5 = broker.protocol == "5"
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=mqtt.MQTTv5 if is_v5 else mqtt.MQTTv311,
            clean_session=None if is_v5 else False,
            manual_ack=True,
        )
        if broker.username is not None:
            self._client.username_pw_set(broker.username, password.get_secret_value() if password else None)
        if (context := broker.tls_context()) is not None:
            self._client.tls_set_context(context)
        self._client.reconnect_delay_set(min_delay=1, max_delay=30)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message
        self._client.on_connect_fail = self._on_connect_fail
        self._lock = threading.Lock()
        self._ready = threading.Condition(self._lock)
        self._messages: list[Message] = []
        self._bytes = 0
        self._epoch = 0
        self._connected = self._stopping = False
        self._filters: list[str] = []

    @property
    def is_connected(self) -> bool:
        """Whether the broker has accepted us."""
        return self._connected

    def start(self, filters: Sequence[str]) -> None:
        """Connect in the background, for ever."""
        self._filters = list(filters)
        properties = None
        options: dict[str, Any] = {}
        if self._broker.protocol == "5":
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = self._broker.session_expiry_s
            properties.ReceiveMaximum = _MAX_PACKETS
            options = {"clean_start": False, "properties": properties}
        self._client.connect_async(self._broker.host, self._broker.port, self._broker.keepalive_s, **options)
        self._client.loop_start()

    def subscribe(self, filters: Sequence[str]) -> None:
        """Replace the topic filters."""
        gone = [name for name in self._filters if name not in filters]
        self._filters = list(filters)
        if self._connected:
            if gone:
                self._client.unsubscribe(gone)
            self._client.subscribe([(name, 1) for name in self._filters])

    def take(self, timeout_s: float) -> list[Message]:
        """All messages since the last call; waits for the first, at most `timeout_s`."""
        with self._ready:
            if not self._messages:
                self._ready.wait(timeout_s)
            count = _fitting(self._messages)
            taken, self._messages = self._messages[:count], self._messages[count:]
            return taken

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """Confirm, in order of receipt."""
        with self._ready:
            epoch = self._epoch
            self._bytes -= sum(_cost(message) for message in messages)
            self._ready.notify_all()
        for message in messages:
            ticket = message.ticket
            if isinstance(ticket, tuple) and ticket[0] == epoch == self._epoch:
                self._client.ack(ticket[1], ticket[2])

    def stop(self) -> None:
        """Disconnect; the broker keeps the session and what was not acknowledged."""
        with self._ready:
            self._stopping = True
            self._ready.notify_all()
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(
        self, client: mqtt.Client, _data: object, flags: mqtt.ConnectFlags, reason: ReasonCode, _properties: object
    ) -> None:
        if reason.is_failure:
            _log.error("the sensor broker refuses the connection", reason=str(reason), host=self._broker.host)
            return
        with self._lock:
            self._epoch += 1
        self._connected = True
        # Always: a broker that lost its session has lost the subscriptions with it.
        client.subscribe([(name, 1) for name in self._filters])
        _log.info("connected to the sensor broker", session_present=flags.session_present, filters=self._filters)

    def _on_connect_fail(self, _client: mqtt.Client, _data: object) -> None:
        where = f"{self._broker.host}:{self._broker.port}"
        _log.warning("the sensor broker cannot be reached; trying again", broker=where)

    def _on_disconnect(
        self, _client: mqtt.Client, _data: object, _flags: object, reason: ReasonCode, _properties: object
    ) -> None:
        self._connected = False
        if not self._stopping:
            _log.warning("the sensor broker is gone; connecting again", reason=str(reason))

    def _on_message(self, _client: mqtt.Client, _data: object, packet: mqtt.MQTTMessage) -> None:
        try:
            topic = packet.topic
        except UnicodeDecodeError:
            topic = repr(packet._topic)  # noqa: SLF001 - the raw bytes have no public name
        message = Message(topic, bytes(packet.payload), time.time_ns(), (self._epoch, packet.mid, packet.qos))
        with self._ready:
            while self._bytes > self._unacked_limit and not self._stopping:
                self._ready.wait(0.5)
            self._messages.append(message)
            self._bytes += _cost(message)
            self._ready.notify_all()


def _fitting(messages: Sequence[Message]) -> int:
    """How many make up one commit: a flood is cut, so that entries and batches stay small."""
    size = 0
    for count, message in enumerate(messages):
        size += _cost(message)
        if count and (count >= _COMMIT_MESSAGES or size > _COMMIT_BYTES):
            return count
    return len(messages)


def _cost(message: Message) -> int:
    return len(message.payload) + _MESSAGE_OVERHEAD_BYTES
