"""Publishes messages with QoS 1 and knows which of them the broker has acknowledged.

    publish() ─▶ paho ─▶ broker ─▶ PUBACK ─▶ queue of message ids ─▶ publish(), drain(): on_acked(rows)

All bookkeeping is done by the caller's thread; paho's thread only puts ids into the queue.
"""

import queue
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Literal, NamedTuple, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from tocsin.errors import UserError
from tocsin.plant.messages import Message, Row

Protocol = Literal["5", "3.1.1"]
_PROTOCOLS = {"5": MQTTProtocolVersion.MQTTv5, "3.1.1": MQTTProtocolVersion.MQTTv311}
_CONNECT_S = 10.0
_ACK_S = 30.0  # without any acknowledgement for so long the broker counts as gone


class Broker(NamedTuple):
    """Where to publish."""

    host: str = "127.0.0.1"
    port: int = 1883
    protocol: Protocol = "5"
    username: str | None = None
    password: str | None = None


class Publisher:
    """A connection as a context. At most `in_flight` messages wait for their PUBACK; then `publish` blocks."""

    def __init__(self, broker: Broker, on_acked: Callable[[tuple[Row, ...]], None], in_flight: int = 100) -> None:
        self._broker, self._on_acked, self._in_flight = broker, on_acked, in_flight
        self._waiting: dict[int, tuple[Row, ...]] = {}
        self._acked: queue.SimpleQueue[tuple[int, str]] = queue.SimpleQueue()  # (message id, refusal or "")
        self._connected, self._refusal = threading.Event(), ""
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=_PROTOCOLS[broker.protocol])
        self._client.username_pw_set(broker.username, broker.password)
        self._client.max_inflight_messages_set(in_flight)
        self._client.on_connect = self._on_connect
        self._client.on_publish = self._on_publish

    @property
    def unacknowledged(self) -> int:
        """Messages handed to the network without a PUBACK so far."""
        return len(self._waiting)

    def publish(self, message: Message) -> None:
        """Blocks while too many wait. Raises UserError when the broker refuses or acknowledges nothing any more."""
        while len(self._waiting) >= self._in_flight:
            if not self._take(_ACK_S):
                msg = f"{self._name}: nothing acknowledged for {_ACK_S:.0f} s, {len(self._waiting)} messages wait"
                raise UserError(msg)
        self.settle()
        sent = self._client.publish(message.topic, message.payload, qos=1)
        self._waiting[sent.mid] = message.rows

    def settle(self) -> None:
        """Book the acknowledgements that are there, without waiting."""
        while self._take(None):
            pass

    def drain(self, for_s: float) -> None:
        """Wait until all is acknowledged, at most `for_s`; see `unacknowledged` for what is not."""
        deadline = time.monotonic() + for_s
        while self._waiting and (left_s := deadline - time.monotonic()) > 0:
            self._take(left_s)

    def __enter__(self) -> Self:
        try:
            self._client.connect(self._broker.host, self._broker.port)
        except OSError as error:
            msg = f"{self._name}: cannot be reached: {error.strerror or error}"
            raise UserError(msg) from error
        self._client.loop_start()
        if not self._connected.wait(_CONNECT_S) or self._refusal:
            self._client.loop_stop()
            reason = (
                self._refusal
                or f"no answer to CONNECT in {_CONNECT_S:.0f} s (is MQTT {self._broker.protocol} spoken there?)"
            )
            msg = f"{self._name}: {reason}"
            raise UserError(msg)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def _name(self) -> str:
        return f"broker {self._broker.host}:{self._broker.port}"

    def _take(self, wait_s: float | None) -> bool:
        try:
            mid, refusal = self._acked.get(block=wait_s is not None, timeout=wait_s)
        except queue.Empty:
            return False
        if refusal:
            msg = f"{self._name}: refused a message: {refusal}"
            raise UserError(msg)
        self._on_acked(self._waiting.pop(mid))
        return True

    def _on_connect(
        self,
        _client: paho.Client,
        _userdata: object,
        _flags: paho.ConnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self._refusal = f"refused the connection: {reason}"
        self._connected.set()

    def _on_publish(
        self, _client: paho.Client, _userdata: object, mid: int, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        self._acked.put((mid, str(reason) if reason.is_failure else ""))
