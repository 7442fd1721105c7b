"""The sensor link for MQTT 5 over TCP and TLS: the codec `mqtt5` on a plain socket, for a fifth of paho's CPU time.

Rules
1. There is no thread of its own: whoever takes messages connects, reads, parses and pings. Only `subscribe` and
   `reconnect` come from other threads, and they leave no more than a note. `take`, `keep_alive`, `acknowledge` and
   `stop` belong to one thread.
2. A ticket is the connection's epoch. After a reconnect packet ids begin again, and an old acknowledgement would
   confirm another message: such tickets are dropped, the broker sends those messages again.
3. Taken and unacknowledged bytes are bounded: beyond, nothing is read, and TCP slows the broker down. PINGREQ goes
   on, and that the broker closes the connection is noticed, but a broker that falls silent is not.
4. The broker is pinged after a second without a packet. Silence from then on for half the keep-alive time, at most
   ten seconds, is a half-open connection.
5. What the broker sends can end the connection, never the thread.
6. A Sparkplug host application (`sparkplug_host_id`) starts clean, as its specification wants it: the broker keeps
   nothing for it. Each connection begins with its state; whoever denies that is contradicted.
"""

import random
import struct
import threading
import time
from collections.abc import Callable, Sequence

import mqtt5
from pydantic import SecretStr

from edge_agent.adapters.link_report import Report
from edge_agent.adapters.link_stream import Stream
from edge_agent.config import SensorBroker
from edge_agent.core.broker_terms import DROPPED_TOPIC, Terms, is_granted
from edge_agent.core.intake import Message
from edge_agent.core.listening import Listening
from edge_agent.core.packets import (
    COMMIT_BYTES,
    COMMIT_MESSAGES,
    LARGEST_PACKET_BYTES,
    MESSAGE_OVERHEAD_BYTES,
    MalformedError,
    PacketBuffer,
    Publish,
)
from edge_agent.core.reconnect import End, Reconnects
from edge_agent.core.sparkplug.outgoing import HostState

_CONNACK_S = 10.0
_PING_S = 1.0
_SILENCE_S = 10.0
_PUBACK = 0x4002_0000  # the fixed header of a PUBACK that says success; its lower half is the packet id


class _EndedError(Exception):
    """The connection is over."""

    def __init__(self, end: End, reason: str) -> None:
        super().__init__(reason)
        self.end = end


class _RefusedError(_EndedError):
    """The CONNACK says no."""

    def __init__(self, code: mqtt5.ConnAckReasonCode) -> None:
        super().__init__(End.CLOSED, code.name)
        self.code = code


class LeanLink:
    """Implements the port SensorLink. `stamps(n)`: n ascending arrival times, never used before."""

    def __init__(
        self,
        broker: SensorBroker,
        client_id: str,
        password: SecretStr | None,
        unacked_bytes: int,
        stamps: Callable[[int], range],
    ) -> None:
        self._broker, self._id, self._password = broker, client_id, password
        self._unacked_limit, self._stamps = unacked_bytes, stamps
        self._context = broker.tls_context()
        self._report = Report(broker, client_id)
        self._reconnects = Reconnects(random.Random())  # noqa: S311 - jitter
        self._listening = Listening()
        self._buffer = PacketBuffer()
        self._messages: list[Message] = []  # parsed, not yet taken
        self._waiting = 0  # their bytes
        self._unacked = 0  # bytes, of taken messages as well
        self._stream: Stream | None = None
        self._connected = self._is_subscribed = False
        self._epoch = 0
        self._is_resumed = False
        self._due_s = 0.0  # of the next attempt
        self._sent_s = self._heard_s = 0.0  # CONNECT or the last PINGREQ; the last packet
        self._asked_s: float | None = None  # of the first unanswered PINGREQ
        self._keepalive_s = float(broker.keepalive_s)
        self._filters: list[str] = []  # what is wanted
        self._held: list[str] = []  # what the session may hold
        self._must_subscribe = False
        self._packet_id = 0
        self._subscribing: dict[int, list[str]] = {}
        self._may_watch_drops = True
        self._must_drop = threading.Event()
        self._state = HostState(broker.sparkplug_host_id) if broker.sparkplug_host_id else None

    @property
    def is_connected(self) -> bool:
        """Whether the broker has accepted us and our filters: messages can come."""
        return self._is_subscribed

    @property
    def listened_ns(self) -> int:
        """For how long the broker could have told us, in ns."""
        return self._listening.total_ns

    def start(self, filters: Sequence[str], held: Sequence[str] = ()) -> None:
        """The next `take` connects."""
        self._filters, self._held = list(filters), list(held)

    def subscribe(self, filters: Sequence[str]) -> None:
        """Replace the topic filters; the next `take` tells the broker."""
        self._filters = list(filters)

    def reconnect(self) -> None:
        """Drop the connection; the next `take` makes a new one."""
        self._must_drop.set()

    def take(self, timeout_s: float) -> list[Message]:
        """What is there, up to the size of one commit; waits for the first message, at most `timeout_s`."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            self._step(0.0 if self._messages else max(0.0, deadline_s - time.monotonic()))
            if self._messages or time.monotonic() >= deadline_s:
                taken, self._messages, self._waiting = self._messages, [], 0
                return taken

    def keep_alive(self) -> None:
        """Ping, and read as far as the bound on bytes allows."""
        self._step(0.0)

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """Confirm, in order of receipt."""
        self._unacked -= sum([len(message.payload) for message in messages]) + MESSAGE_OVERHEAD_BYTES * len(messages)
        if self._stream is None or not self._connected:
            return
        epoch = self._epoch
        packets = [_PUBACK + message.packet_id for message in messages if message.packet_id and message.ticket == epoch]
        try:
            self._stream.send(struct.pack(f">{len(packets)}I", *packets))
        except OSError as error:
            self._end(End.CLOSED, error)

    def publish(self, topic: str, payload: bytes) -> bool:
        """At QoS 0, now or as soon as the socket takes it; False: there is no connection."""
        if self._stream is None or not self._is_subscribed:
            return False
        try:
            self._stream.send(mqtt5.PublishPacket(topic, payload).write())
        except OSError as error:
            self._end(End.CLOSED, error)
            return False
        return True

    def stop(self) -> None:
        """Disconnect within a second; the broker keeps the session and what was not acknowledged."""
        if self._stream is not None:
            farewell = self._said(is_online=False) + mqtt5.DisconnectPacket().write()
            self._stream.close(farewell if self._connected else b"")
        self._stream = None
        self._connected = self._is_subscribed = False

    def _step(self, timeout_s: float) -> None:
        """Whatever is next; returns when there are messages, when something changed, or after `timeout_s`."""
        try:
            if self._stream is None:
                self._connect(timeout_s)
            elif self._must_drop.is_set():
                raise _EndedError(End.GIVEN_UP, "a new connection was asked for")  # noqa: TRY301 - all ends are alike
            else:
                if self._connected and (self._must_subscribe or self._filters is not self._held):
                    self._subscribe(self._stream)
                self._converse(self._stream, timeout_s)
        except _EndedError as error:
            self._end(error.end, error)
        except MalformedError as error:
            self._end(End.GIVEN_UP, f"it sent what is no MQTT 5: {error}")
        except OSError as error:
            self._end(End.CLOSED, error)

    def _connect(self, timeout_s: float) -> None:
        wait_s = self._due_s - time.monotonic()
        if wait_s > 0:
            time.sleep(min(wait_s, timeout_s))
            return
        self._must_drop.clear()
        self._stream = Stream(self._broker.host, self._broker.port, self._context)
        self._buffer.clear()
        password = self._password.get_secret_value().encode() if self._password else None
        will: mqtt5.Will | None = None
        if self._state is not None:
            self._state.time_ms = self._stamps(1)[0] // 1_000_000
            payload = self._state.payload(is_online=False)
            will = mqtt5.Will(self._state.topic, payload=payload, qos=mqtt5.QoS.AT_LEAST_ONCE, retain=True)
        connect = mqtt5.ConnectPacket(
            self._id,
            username=self._broker.username,
            password=password,
            clean_start=will is not None,
            will=will,
            keep_alive=self._broker.keepalive_s,
            session_expiry_interval=self._broker.session_expiry_s if will is None else 0,
            max_packet_size=LARGEST_PACKET_BYTES,
        )
        self._stream.send(connect.write())
        self._sent_s = time.monotonic()

    def _converse(self, stream: Stream, timeout_s: float) -> None:
        """Read, or wait to be able to; and see to the broker's health."""
        if not self._has_room():
            stream.wait(timeout_s, for_reading=False)
            self._heard_s, self._asked_s = time.monotonic(), None  # nobody listened: silence says nothing
            self._ping(stream, self._sent_s + self._keepalive_s / 2)
            return
        if self._read(stream):
            # Even a busy broker wants to hear of us.
            self._ping(stream, self._sent_s + self._keepalive_s / 2)
            return
        now_s = time.monotonic()
        if not self._connected:
            if now_s > self._sent_s + _CONNACK_S:
                raise _EndedError(End.GIVEN_UP, "it does not answer CONNECT")
        elif self._asked_s is not None and now_s > self._asked_s + min(self._keepalive_s / 2, _SILENCE_S):
            raise _EndedError(End.GIVEN_UP, "it does not answer: the connection is half-open")
        else:
            self._ping(stream, max(self._heard_s, self._sent_s) + _PING_S)
        stream.wait(min(timeout_s, _PING_S), for_reading=True)

    def _ping(self, stream: Stream, due_s: float) -> None:
        now_s = time.monotonic()
        if self._connected and now_s >= due_s:
            stream.send(mqtt5.PingReqPacket().write())
            self._sent_s = now_s
            self._asked_s = self._asked_s or now_s

    def _read(self, stream: Stream) -> bool:
        """Parse what is in the buffer, then what is in the socket, up to one commit. Whether a packet came."""
        was_heard = self._parse()
        while self._has_room() and stream.receive(self._buffer):
            was_heard |= self._parse()
        if was_heard:
            self._heard_s, self._asked_s = time.monotonic(), None
            self._listening.heard(time.monotonic_ns())
        return was_heard

    def _budget(self) -> int:
        """How many bytes more may be read now."""
        return min(COMMIT_BYTES - self._waiting, self._unacked_limit - self._unacked)

    def _has_room(self) -> bool:
        return len(self._messages) < COMMIT_MESSAGES and self._budget() > 0

    def _parse(self) -> bool:
        was_heard = False
        while self._has_room():
            found, other = self._buffer.read(COMMIT_MESSAGES - len(self._messages), self._budget())
            if found:
                self._deliver(found)
            if other is not None:
                self._handle(other)
            if not found and other is None:
                break
            was_heard = True
        return was_heard

    def _deliver(self, found: list[Publish]) -> None:
        if not self._connected:
            raise MalformedError("a message before the CONNACK")
        if self._state is not None:
            found = self._heed_state(self._state, found)
        epoch, is_resumed = self._epoch, self._is_resumed
        self._messages += [
            Message(topic, payload, stamp, epoch, packet_id, is_duplicate and is_resumed)
            for (topic, payload, packet_id, is_duplicate), stamp in zip(found, self._stamps(len(found)), strict=True)
        ]
        size = sum([len(payload) for _, payload, _, _ in found]) + MESSAGE_OVERHEAD_BYTES * len(found)
        self._unacked += size
        self._waiting += size
        self._reconnects.delivered()

    def _heed_state(self, state: HostState, found: list[Publish]) -> list[Publish]:
        """What others say of this host is no message of a sensor."""
        if self._stream is not None and any(p[0] == state.topic and state.says_offline(p[1]) for p in found):
            self._stream.send(self._said(is_online=True))
        return [packet for packet in found if packet[0] != state.topic]

    def _said(self, *, is_online: bool) -> bytes:
        """The PUBLISH of the host's state; nothing, where there is no host."""
        if self._state is None:
            return b""
        return mqtt5.PublishPacket(
            self._state.topic,
            self._state.payload(is_online=is_online),
            qos=mqtt5.QoS.AT_LEAST_ONCE,
            retain=True,
            packet_id=self._next_id(),
        ).write()

    def _handle(self, packet: mqtt5.Packet) -> None:
        if isinstance(packet, mqtt5.ConnAckPacket):
            self._accept(packet)
        elif isinstance(packet, mqtt5.PublishPacket):  # of $SYS
            self._report.dropped(packet.payload)
        elif isinstance(packet, mqtt5.SubAckPacket):
            codes = [int(code) for code in packet.reason_codes]  # the codec's enumerations are no numbers
            filters = self._subscribing.pop(packet.packet_id, [])
            self._is_subscribed |= is_granted(filters, codes)
            self._report.subscribed(filters, codes)
        elif isinstance(packet, mqtt5.DisconnectPacket):
            is_taken = packet.reason_code is mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER
            raise _EndedError(End.TAKEN_OVER if is_taken else End.CLOSED, packet.reason_code.name)
        elif not isinstance(packet, mqtt5.PingRespPacket | mqtt5.UnsubAckPacket | mqtt5.PubAckPacket):
            raise MalformedError(f"a {type(packet).__name__}, which no broker sends to a subscriber")

    def _accept(self, packet: mqtt5.ConnAckPacket) -> None:
        if self._connected:
            raise MalformedError("a second CONNACK")
        if packet.reason_code is not mqtt5.ConnAckReasonCode.SUCCESS:
            raise _RefusedError(packet.reason_code)
        terms = Terms(packet.receive_max, int(packet.max_qos), packet.max_packet_size, packet.session_expiry_interval)
        self._report.connected(
            is_present=packet.session_present,
            was_expected=self._epoch > 0 and self._state is None,
            filters=self._filters,
            terms=terms,
        )
        self._epoch += 1
        self._is_resumed = packet.session_present
        self._keepalive_s = float(packet.server_keep_alive or self._broker.keepalive_s)
        self._connected = True
        self._reconnects.connected(time.monotonic())
        self._listening.begin(time.monotonic_ns())
        self._must_subscribe = True

    def _subscribe(self, stream: Stream) -> None:
        """On each connection: a broker that lost the session has lost the subscriptions with it."""
        wanted = self._filters
        if gone := [name for name in self._held if name not in wanted]:
            stream.send(mqtt5.UnsubscribePacket(self._next_id(), gone).write())
        only_if_new = mqtt5.RetainHandling.SEND_IF_SUBSCRIPTION_NOT_EXISTS
        self._ask(
            stream,
            [mqtt5.TopicFilter(name, max_qos=mqtt5.QoS.AT_LEAST_ONCE, retain_handling=only_if_new) for name in wanted],
        )
        if self._may_watch_drops:
            # A packet of its own: a broker that closes the connection over it is not asked again.
            self._ask(stream, [mqtt5.TopicFilter(DROPPED_TOPIC, max_qos=mqtt5.QoS.AT_MOST_ONCE)])
        if self._state is not None:
            own = mqtt5.TopicFilter(self._state.topic, max_qos=mqtt5.QoS.AT_MOST_ONCE)
            stream.send(mqtt5.SubscribePacket(self._next_id(), [own]).write() + self._said(is_online=True))
        self._held, self._must_subscribe = wanted, False

    def _ask(self, stream: Stream, filters: list[mqtt5.TopicFilter]) -> None:
        number = self._next_id()
        self._subscribing[number] = [topic.pattern for topic in filters]
        stream.send(mqtt5.SubscribePacket(number, filters).write())

    def _next_id(self) -> int:
        self._packet_id = self._packet_id % 65_535 + 1
        return self._packet_id

    def _end(self, end: End, reason: object) -> None:
        """Close what is left, and say when the next attempt is due."""
        now_s = time.monotonic()
        was_connected = self._connected
        self._connected = self._is_subscribed = False
        if self._stream is not None:
            with_will = mqtt5.DisconnectReasonCode.DISCONNECT_WITH_WILL_MESSAGE  # of a host; else there is none
            farewell = mqtt5.DisconnectPacket(reason_code=with_will) if self._state else mqtt5.DisconnectPacket()
            self._stream.close(farewell.write() if was_connected and end is End.GIVEN_UP else b"")
            self._stream = None
        if any(DROPPED_TOPIC in names for names in self._subscribing.values()):
            self._may_watch_drops = False
        self._subscribing.clear()
        delay_s = self._reconnects.ended(now_s, end) if was_connected else self._reconnects.failed()
        self._due_s = now_s + delay_s
        if isinstance(reason, _RefusedError):
            self._report.refused(int(reason.code), reason.code.name, delay_s)
        elif not was_connected:
            self._report.unreachable(reason, delay_s)
        elif end is End.TAKEN_OVER or self._reconnects.is_contested:
            self._report.taken_over(delay_s, is_certain=end is End.TAKEN_OVER)
        else:
            self._report.gone(reason, delay_s)
