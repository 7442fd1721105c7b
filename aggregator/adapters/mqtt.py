"""One connection to an MQTT 5 broker on asyncio's own sockets. No task, no future and no timer for a message.

Rules
1. What came with one read is handed over together and acknowledged with one write. Reading never pauses.
2. Of our messages, at most the broker's Receive Maximum is unacknowledged. The others wait here, bounded in bytes, and
   while the broker does not read, nothing is written but acknowledgements and pings.
3. Two unanswered pings, half a keep-alive time apart, are a dead peer; so is one that reads nothing for that long.
4. What the broker sends can end the connection, never more than that.
5. However it ends, and whenever it is cancelled, no socket is left.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import NoReturn

import mqtt5

from aggregator.core.outgoing import Message, Outgoing
from aggregator.core.packets import LARGEST_BYTES, MalformedError, PacketStream
from models.broker import CURES, Address, BrokerError

# What a broker may have on its way to us. Enough for seconds of a large fleet while our loop is busy; not more, for
# if we stand still, the broker keeps as much for us (Mosquitto: besides max_queued_messages), and others wait for it.
RECEIVE_MAX = 5000
_WRITE_BYTES = 64 * 1024
_TCP_S = 3.0  # TLS included
_ANSWER_S = 5.0
_LEAVE_S = 1.0
_UNANSWERED_PINGS = 2
_PUBACK = 0x4002_0000  # fixed header of a PUBACK that says success; its lower half is the packet id
_FAILURE = 0x80  # reason codes from here on
_NOT_MQTT_5, _NOT_ALLOWED, _TOO_LARGE = 0x84, 0x87, 0x95
_Code = mqtt5.ConnAckReasonCode | mqtt5.SubAckReasonCode | mqtt5.PubAckReasonCode | mqtt5.DisconnectReasonCode


class Connection(asyncio.Protocol):
    """To be used through `connection` alone."""

    def __init__(
        self,
        address: Address,
        on_messages: Callable[[list[mqtt5.PublishPacket]], None],
        on_refused: Callable[[BrokerError], None],
    ) -> None:
        self._address, self._on_messages, self._on_refused = address, on_messages, on_refused
        self._stream = PacketStream()
        self._transport: asyncio.Transport | None = None
        self._socket: socket.socket | None = None
        self._answer: asyncio.Future[mqtt5.ConnAckPacket | mqtt5.SubAckPacket | None] | None = None
        self._is_accepted = self._is_paused = False
        self._error: Exception = BrokerError("the broker closed the connection")
        self._gone, self._idle = asyncio.Event(), asyncio.Event()
        self._idle.set()
        self._timer: asyncio.TimerHandle | None = None
        self._keepalive_s = float(address.keepalive_s)
        self._pings = self._pauses = 0  # unanswered; ticks for which nothing was read
        self._outgoing = Outgoing(self._too_large)

    @property
    def unacknowledged(self) -> int:
        """How many messages the broker has not confirmed, those that wait included."""
        return len(self._outgoing)

    async def open(self) -> None:
        """Connected and accepted. Raises BrokerError."""
        where = self._address
        try:
            async with asyncio.timeout(_TCP_S):
                await asyncio.get_running_loop().create_connection(lambda: self, where.host, where.port, ssl=where.tls)
        except TimeoutError as error:
            raise BrokerError(f"no connection within {_TCP_S:g} s") from error
        except (OSError, UnicodeError) as error:
            raise _explained(error) from error
        connect = mqtt5.ConnectPacket(
            where.identifier or "",
            username=where.username,
            password=None if where.password is None else where.password.encode(),
            clean_start=True,
            keep_alive=where.keepalive_s,
            receive_max=RECEIVE_MAX,
            max_packet_size=LARGEST_BYTES,
        )
        terms = await self._ask(connect.write())
        if not isinstance(terms, mqtt5.ConnAckPacket):
            raise self._error
        self._outgoing.allow(terms.receive_max, terms.max_packet_size or LARGEST_BYTES)
        self._keepalive_s = float(terms.server_keep_alive or where.keepalive_s)
        self._wind_up()

    async def subscribe(self, topic_filter: str) -> None:
        """At QoS 1. Raises BrokerError, also when the broker refuses it."""
        wanted = mqtt5.TopicFilter(topic_filter, max_qos=mqtt5.QoS.AT_LEAST_ONCE)
        granted = await self._ask(mqtt5.SubscribePacket(self._outgoing.next_id(), [wanted]).write())
        if not isinstance(granted, mqtt5.SubAckPacket):
            raise self._error
        for code in granted.reason_codes:
            if int(code) >= _FAILURE:
                refusal = _refusal(f"refuses the subscription {topic_filter}", code)
                raise BrokerError(str(refusal), refusal.cure or CURES[_NOT_ALLOWED], refusal.code)

    def publish(self, messages: Iterable[Message]) -> int:
        """Sends them at QoS 1 as soon as the broker lets us; how many are given up, because too much waits."""
        given_up = 0
        for message in messages:
            given_up += self._gone.is_set() or not self._outgoing.put(message)
        self._pump()
        return given_up

    async def ended(self) -> NoReturn:
        """Raises BrokerError once the connection is over, or whatever nobody expected."""
        await self._gone.wait()
        raise self._error

    async def leave(self) -> None:
        """In good order if that is possible within a second: what was published is confirmed, and the broker told."""
        try:
            if self._is_accepted:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LEAVE_S):
                        await self._idle.wait()
                        self._write(mqtt5.DisconnectPacket().write())
                        await self._gone.wait()  # the broker closes; to close on unread bytes would be a reset
        finally:
            self._fail(self._error)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of asyncio.Protocol, as are the next four. asyncio switches Nagle's algorithm off by itself."""
        if isinstance(transport, asyncio.Transport):
            self._transport = transport
            self._socket = transport.get_extra_info("socket")

    def data_received(self, data: bytes) -> None:
        """One read."""
        self._pings = 0
        messages: list[mqtt5.PublishPacket] = []
        acknowledgements: list[bytes] = []
        try:
            for packet in self._stream.feed(data):
                if isinstance(packet, mqtt5.PublishPacket):
                    if not self._is_accepted or packet.qos is mqtt5.QoS.EXACTLY_ONCE:
                        raise MalformedError("a message that was not asked for")  # noqa: TRY301 - where the others end
                    if packet.packet_id is not None:
                        acknowledgements.append((_PUBACK | packet.packet_id).to_bytes(4, "big"))
                    messages.append(packet)
                elif isinstance(packet, mqtt5.PubAckPacket):
                    self._confirm(packet)
                else:
                    self._heed(packet)
        except MalformedError as error:
            self._fail(BrokerError(f"the broker sent {error}", CURES[_NOT_MQTT_5]))
        if acknowledgements:
            self._write(b"".join(acknowledgements))
        if messages:
            self._on_messages(messages)
        self._pump()
        self._hurry()

    def connection_lost(self, exc: Exception | None) -> None:
        """No more reads."""
        self._fail(_explained(exc) if isinstance(exc, OSError) else exc or self._error)

    def pause_writing(self) -> None:
        """The broker does not read as fast as we write."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """It has caught up."""
        self._is_paused, self._pauses = False, 0
        self._pump()

    async def _ask(self, question: bytes) -> mqtt5.ConnAckPacket | mqtt5.SubAckPacket | None:
        """The answer; None when the connection ended instead. Raises BrokerError when there is neither."""
        if self._gone.is_set():
            return None
        self._answer = asyncio.get_running_loop().create_future()
        self._write(question)
        try:
            async with asyncio.timeout(_ANSWER_S):
                return await self._answer
        except TimeoutError as error:
            raise BrokerError(f"the broker does not answer within {_ANSWER_S:g} s") from error

    def _heed(self, packet: mqtt5.Packet) -> None:
        """All that is neither a message nor its confirmation. Raises MalformedError."""
        if isinstance(packet, mqtt5.DisconnectPacket):
            self._fail(_refusal("ended the connection", packet.reason_code))
        elif isinstance(packet, mqtt5.ConnAckPacket) and not self._is_accepted:
            if packet.reason_code is not mqtt5.ConnAckReasonCode.SUCCESS:
                self._fail(_refusal("refuses the connection", packet.reason_code))
            elif self._answer is not None and not self._answer.done():
                self._is_accepted = True
                self._answer.set_result(packet)
        elif isinstance(packet, mqtt5.SubAckPacket) and self._is_accepted:
            if self._answer is not None and not self._answer.done():
                self._answer.set_result(packet)
        elif not (isinstance(packet, mqtt5.PingRespPacket) and self._is_accepted):
            raise MalformedError(f"a {type(packet).__name__} out of place")

    def _confirm(self, packet: mqtt5.PubAckPacket) -> None:
        self._outgoing.confirm(packet.packet_id)
        if packet.reason_code is not mqtt5.PubAckReasonCode.SUCCESS and int(packet.reason_code) >= _FAILURE:
            self._on_refused(_refusal("refuses a message", packet.reason_code))

    def _too_large(self, text: str) -> None:
        self._on_refused(BrokerError(text, CURES[_TOO_LARGE], _TOO_LARGE))

    def _pump(self) -> None:
        """Send what waits, as far as the broker lets us."""
        while not self._is_paused and (content := self._outgoing.take(_WRITE_BYTES)):
            self._write(content)
        if self._outgoing and not self._gone.is_set():
            self._idle.clear()
        else:
            self._idle.set()

    def _tick(self) -> None:
        if self._gone.is_set():
            return
        if max(self._pings, self._pauses) == _UNANSWERED_PINGS:
            self._fail(BrokerError("the broker stands still"))
            return
        self._pings += 1
        self._pauses += self._is_paused
        self._write(mqtt5.PingReqPacket().write())
        self._wind_up()

    def _wind_up(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._keepalive_s / 2, self._tick)

    def _hurry(self) -> None:
        """Let the kernel acknowledge at once, for the broker may wait for it; holds until the next read only."""
        if self._socket is not None and hasattr(socket, "TCP_QUICKACK") and not self._gone.is_set():
            with suppress(OSError):
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def _write(self, content: bytes) -> None:
        if self._transport is not None and content and not self._gone.is_set():
            self._transport.write(content)

    def _fail(self, error: Exception) -> None:
        """The connection is over, now; the first error is the reason."""
        if self._gone.is_set():
            return
        self._error = error
        self._gone.set()
        self._idle.set()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(None)
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()


@asynccontextmanager
async def connection(
    address: Address,
    on_messages: Callable[[list[mqtt5.PublishPacket]], None],
    on_refused: Callable[[BrokerError], None],
) -> AsyncIterator[Connection]:
    """Connected inside, with a clean session. Raises BrokerError; leaving takes at most a second.

    `on_messages` has what came with one read, acknowledged already; `on_refused` why a message of ours is lost.
    """
    link = Connection(address, on_messages, on_refused)
    try:
        await link.open()
        yield link
    finally:
        await link.leave()


def _refusal(what: str, code: _Code) -> BrokerError:
    number = int(code)  # the codec's enumerations are no numbers
    text = f"the broker {what}: {code.name.capitalize().replace('_', ' ')}"
    return BrokerError(text, CURES.get(number, ""), number)


def _explained(error: Exception) -> BrokerError:
    text = str(error) or type(error).__name__
    return BrokerError(text, "check the certificates of both sides" if "CERTIFICATE" in text else "")
