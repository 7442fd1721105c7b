"""The sensor link on paho-mqtt: MQTT 3.1.1 and 5, over TCP, TLS and websockets.

Rules
1. The network thread only appends to a list; the reader swaps the list. Nothing else crosses the threads.
2. A ticket is the connection's epoch, which changes under the lock with each end and each beginning. After a reconnect
   packet ids begin again, and an old acknowledgement would confirm another message: such tickets are dropped.
3. Taken and unacknowledged bytes are bounded: beyond, the network thread waits, and TCP slows the broker down. It
   does not ping then: a wait of more than the keep-alive time costs the connection, and what it held comes again.
4. No callback raises: paho's thread would die while the client still says it is connected. A thread that died all the
   same, for instance of a packet that paho cannot read, is noticed by `take` and started again.
5. A Sparkplug host application (`sparkplug_host_id`) starts clean, as its specification wants it: the broker keeps
   nothing for it. Each connection begins with its state; whoever denies that is contradicted.

paho does not show when it was answered, so `listened_ns` is the time connected: a half-open connection counts until
paho notices it, which takes up to twice the keep-alive time.
"""

import random
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, cast

import paho.mqtt.client as mqtt
import structlog
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions
from pydantic import SecretStr

from edge_agent.adapters import link_stream
from edge_agent.adapters.link_report import Report
from edge_agent.config import SensorBroker
from edge_agent.core.broker_terms import DROPPED_TOPIC, Terms, is_granted
from edge_agent.core.intake import Message
from edge_agent.core.packets import COMMIT_BYTES, COMMIT_MESSAGES, LARGEST_PACKET_BYTES, MESSAGE_OVERHEAD_BYTES
from edge_agent.core.reconnect import End, Reconnects
from edge_agent.core.sparkplug.outgoing import HostState
from models.broker import TAKEN_OVER

_log = structlog.get_logger()
_STOP_S = 0.8
_MAX_PACKETS = 65_535  # receive maximum: the bound that counts is in bytes
_ACKS_AT_ONCE = 256  # then the network thread may have the lock


class _Phase(Enum):
    AWAY = "no connection, and the operator knows it"
    CONNECTING = "an attempt is under way"
    CONNECTED = "the broker has accepted us"


class PahoLink:
    """Implements the port SensorLink. `stamps(n)`: n ascending arrival times, never used before."""

    def __init__(
        self,
        broker: SensorBroker,
        client_id: str,
        password: SecretStr | None,
        unacked_bytes: int,
        stamps: Callable[[int], range],
    ) -> None:
        self._broker, self._unacked_limit, self._stamps = broker, unacked_bytes, stamps
        self._is_v5 = broker.protocol == "5"
        self._report = Report(broker, client_id)
        self._reconnects = Reconnects(random.Random())  # noqa: S311 - jitter
        self._state = HostState(broker.sparkplug_host_id) if broker.sparkplug_host_id else None
        self._client = self._make_client(client_id, password)
        self._lock = threading.Lock()
        self._ready = threading.Condition(self._lock)
        self._messages: list[Message] = []
        self._bytes = 0
        self._epoch = 0
        self._phase, self._is_subscribed = _Phase.AWAY, False
        self._had_session = self._is_resumed = self._is_given_up = self._stopping = False
        self._filters: list[str] = []
        self._gone: set[str] = set()  # what the session may hold and is no longer wanted
        self._subscribing: dict[int, list[str]] = {}
        self._may_watch_drops = True
        self._listened_ns = self._since_ns = 0

    def _make_client(self, client_id: str, password: SecretStr | None) -> mqtt.Client:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=mqtt.MQTTv5 if self._is_v5 else mqtt.MQTTv311,
            clean_session=None if self._is_v5 else self._state is not None,
            transport=self._broker.transport,
            manual_ack=True,
        )
        client.connect_timeout = link_stream.CONNECT_S
        client.suppress_exceptions = True
        if self._broker.transport == "websockets":
            client.ws_set_options(path=self._broker.websocket_path)
        if self._broker.username is not None:
            client.username_pw_set(self._broker.username, password.get_secret_value() if password else None)
        if (context := self._broker.tls_context()) is not None:
            client.tls_set_context(context)
        client.on_pre_connect = self._on_pre_connect
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        return client

    @property
    def is_connected(self) -> bool:
        """Whether the broker has accepted us and our filters: messages can come."""
        return self._is_subscribed

    @property
    def listened_ns(self) -> int:
        """For how long there was a connection, in ns."""
        with self._lock:
            return self._listened_ns + (time.monotonic_ns() - self._since_ns if self._phase is _Phase.CONNECTED else 0)

    def start(self, filters: Sequence[str], held: Sequence[str] = ()) -> None:
        """Connect in the background, for ever."""
        self._filters, self._gone = list(filters), set(held).difference(filters)
        options: dict[str, Any] = {}
        if self._is_v5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = self._broker.session_expiry_s if self._state is None else 0
            properties.ReceiveMaximum = _MAX_PACKETS
            properties.MaximumPacketSize = LARGEST_PACKET_BYTES
            options = {"clean_start": self._state is not None, "properties": properties}
        self._client.connect_async(self._broker.host, self._broker.port, self._broker.keepalive_s, **options)
        self._client.loop_start()

    def subscribe(self, filters: Sequence[str]) -> None:
        """Replace the topic filters."""
        self._gone = self._gone.union(self._filters).difference(filters)
        self._filters = list(filters)
        if self._phase is _Phase.CONNECTED:
            self._subscribe()

    def reconnect(self) -> None:
        """Break the connection; the network thread makes a new one."""
        if (current := self._client.socket()) is None:
            return
        self._is_given_up = True
        try:
            with socket.socket(fileno=socket.dup(current.fileno())) as same:  # paho's may be wrapped
                same.shutdown(socket.SHUT_RDWR)
        except (OSError, ValueError):
            return  # it is gone already

    def take(self, timeout_s: float) -> list[Message]:
        """All messages since the last call, up to the size of one commit; waits for the first, at most `timeout_s`."""
        if not self._stopping and self._client.loop_start() == mqtt.MQTT_ERR_SUCCESS:  # else it lives
            _log.warning("the network thread of the sensor link had died; it is started again")
            self.reconnect()
        with self._ready:
            if not self._messages:
                self._ready.wait(timeout_s)
            count = _fitting(self._messages)
            taken, self._messages = self._messages[:count], self._messages[count:]
            return taken

    def keep_alive(self) -> None:
        """The network thread pings, unless it waits for room (rule 3)."""

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """Confirm, in order of receipt."""
        with self._ready:
            self._bytes -= sum(_cost(message) for message in messages)
            self._ready.notify_all()
        for first in range(0, len(messages), _ACKS_AT_ONCE):
            with self._lock:  # no connection ends or begins meanwhile
                for message in messages[first : first + _ACKS_AT_ONCE]:
                    if message.packet_id and message.ticket == self._epoch:
                        self._client.ack(message.packet_id, 1)

    def publish(self, topic: str, payload: bytes) -> bool:
        """At QoS 0, now or as soon as the socket takes it; False: there is no connection."""
        return self._is_subscribed and self._client.publish(topic, payload).rc == mqtt.MQTT_ERR_SUCCESS

    def stop(self) -> None:
        """Disconnect within a second; the broker keeps the session and what was not acknowledged."""
        if self._state is not None and self._phase is _Phase.CONNECTED:
            self._say_state(self._state, is_online=False)
        with self._ready:
            self._stopping = True
            self._ready.notify_all()
        self._client.disconnect()
        # It would wait for its thread, and that for a broker that does not answer, without end.
        stopping = threading.Thread(target=self._client.loop_stop, name="link-stop", daemon=True)
        stopping.start()
        stopping.join(_STOP_S)

    def _subscribe(self) -> None:
        """On each connection: a broker that lost the session has lost the subscriptions with it."""
        if self._gone:
            self._client.unsubscribe(list(self._gone))
        self._ask(self._filters, 1)

    def _say_state(self, state: HostState, *, is_online: bool) -> None:
        self._client.publish(state.topic, state.payload(is_online=is_online), qos=1, retain=True)

    def _ask(self, filters: list[str], qos: int) -> None:
        options = SubscribeOptions(qos=qos, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB if qos else 0)
        with self._lock:  # before the answer comes
            if self._is_v5:
                _, number = self._client.subscribe([(name, options) for name in filters])
            else:
                _, number = self._client.subscribe([(name, qos) for name in filters])
            if number is not None:
                self._subscribing[number] = filters

    def _leave(self, phase: _Phase) -> bool:
        """A new phase and epoch; whether we were connected."""
        with self._lock:
            was_connected, now_ns = self._phase is _Phase.CONNECTED, time.monotonic_ns()
            if was_connected:
                self._listened_ns += now_ns - self._since_ns
            self._since_ns = now_ns
            self._phase, self._is_subscribed = phase, False
            self._epoch += 1
        return was_connected

    def _wait(self, delay_s: float) -> None:
        """How long paho waits before its next attempt; it says int, and takes a float."""
        self._client.reconnect_delay_set(cast("int", delay_s), cast("int", delay_s))

    def _on_pre_connect(self, client: mqtt.Client, _data: object) -> None:
        self._leave(_Phase.CONNECTING)
        if self._state is not None:
            self._state.time_ms = self._stamps(1)[0] // 1_000_000
            client.will_set(self._state.topic, self._state.payload(is_online=False), qos=1, retain=True)

    def _on_connect(
        self,
        _client: mqtt.Client,
        _data: object,
        flags: mqtt.ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            delay_s = self._reconnects.failed()
            self._wait(delay_s)
            self._leave(_Phase.AWAY)
            self._report.refused(reason.value, str(reason), delay_s)
            return
        self._is_resumed = flags.session_present
        self._leave(_Phase.CONNECTED)
        self._reconnects.connected(time.monotonic())
        self._report.connected(
            is_present=flags.session_present,
            was_expected=self._had_session and self._state is None,
            filters=self._filters,
            terms=_terms(properties),
        )
        self._had_session, self._is_given_up = True, False
        self._subscribe()
        if self._may_watch_drops:
            self._ask([DROPPED_TOPIC], 0)
        if self._state is not None:
            self._client.subscribe(self._state.topic, 0)
            self._say_state(self._state, is_online=True)

    def _on_connect_fail(self, _client: mqtt.Client, _data: object) -> None:
        delay_s = self._reconnects.failed()
        self._wait(delay_s)
        self._leave(_Phase.AWAY)
        if not self._stopping:
            self._report.unreachable(sys.exception(), delay_s)

    def _on_disconnect(
        self, _client: mqtt.Client, _data: object, _flags: object, reason: ReasonCode, _properties: object
    ) -> None:
        is_known = self._phase is _Phase.AWAY
        was_connected = self._leave(_Phase.AWAY)
        if [DROPPED_TOPIC] in self._subscribing.values():
            self._may_watch_drops = False  # it may have closed the connection over this
        self._subscribing.clear()
        if self._stopping or is_known:
            return
        end = End.GIVEN_UP if self._is_given_up else End.CLOSED
        if reason.value == TAKEN_OVER:
            end = End.TAKEN_OVER
        delay_s = self._reconnects.ended(time.monotonic(), end) if was_connected else self._reconnects.failed()
        self._wait(delay_s)
        if not was_connected:
            self._report.unreachable(reason, delay_s)
        elif end is End.TAKEN_OVER or self._reconnects.is_contested:
            self._report.taken_over(delay_s, is_certain=end is End.TAKEN_OVER)
        else:
            self._report.gone(reason, delay_s)

    def _on_subscribe(
        self, _client: mqtt.Client, _data: object, number: int, codes: list[ReasonCode], _properties: object
    ) -> None:
        with self._lock:
            filters = self._subscribing.pop(number, [])
        numbers = [code.value for code in codes]
        self._is_subscribed |= is_granted(filters, numbers)
        self._report.subscribed(filters, numbers)

    def _on_message(self, _client: mqtt.Client, _data: object, packet: mqtt.MQTTMessage) -> None:
        try:
            topic = packet.topic
        except UnicodeDecodeError:
            topic = repr(packet._topic)  # noqa: SLF001 - the raw bytes have no public name
        if topic == DROPPED_TOPIC:
            self._report.dropped(bytes(packet.payload))
            return
        if self._state is not None and topic == self._state.topic:
            if self._state.says_offline(bytes(packet.payload)):
                self._say_state(self._state, is_online=True)
            return
        again = packet.dup and self._is_resumed
        message = Message(topic, bytes(packet.payload), self._stamps(1)[0], self._epoch, packet.mid, again)
        with self._ready:
            while self._bytes > self._unacked_limit and not self._stopping:
                self._ready.wait(0.5)
            self._messages.append(message)
            self._bytes += _cost(message)
            self._ready.notify_all()
        self._reconnects.delivered()


def _terms(properties: Properties | None) -> Terms:
    """Of MQTT 5; 3.1.1 has none."""
    said = vars(properties) if properties is not None else {}
    return Terms(
        said.get("ReceiveMaximum", 65_535),
        said.get("MaximumQoS", 2),
        said.get("MaximumPacketSize"),
        said.get("SessionExpiryInterval"),
    )


def _fitting(messages: Sequence[Message]) -> int:
    """How many make up one commit: a flood is cut, so that entries and batches stay small."""
    size = 0
    for count, message in enumerate(messages):
        size += _cost(message)
        if count and (count >= COMMIT_MESSAGES or size > COMMIT_BYTES):
            return count
    return len(messages)


def _cost(message: Message) -> int:
    return len(message.payload) + MESSAGE_OVERHEAD_BYTES
