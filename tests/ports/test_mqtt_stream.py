"""The aggregator's MQTT 5 client: bytes cut anywhere, brokers that say or do not say what they should, real ones."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, Self

import mqtt5
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from aggregator.adapters import mqtt
from aggregator.adapters.mqtt import Connection, connection
from aggregator.adapters.uplink import MqttUplink
from aggregator.config import Broker
from aggregator.core.outgoing import OVERHEAD_BYTES, Message, Outgoing
from aggregator.core.packets import MalformedError, PacketStream
from aggregator.metrics import Metrics
from aggregator.ports import Request
from models.broker import CURES, TAKEN_OVER, Address, BrokerError
from models.contract.batch import Receipt, Refusal
from models.contract.topics import topic
from tests.agents import eventually
from tests.links import LinkBroker, make_certificates
from tests.servers import Mosquitto

WITHIN_S = 30.0
BATCH, RECEIPT = topic("north", "gw1", "batch"), topic("north", "gw1", "receipt")
AT_LEAST_ONCE = mqtt5.QoS.AT_LEAST_ONCE
CONNACK = mqtt5.ConnAckPacket().write()
Say = Callable[[mqtt5.Packet], bytes]


def publish(number: int, payload: bytes = b"x", name: str = BATCH) -> bytes:
    return mqtt5.PublishPacket(name, payload, qos=AT_LEAST_ONCE, packet_id=number).write()


def drawn(stream: PacketStream, pieces: list[bytes]) -> tuple[list[str], bool]:
    """What came out, and whether it went on to the end."""
    found: list[str] = []
    try:
        for piece in pieces:
            for packet in stream.feed(piece):
                found.append(repr(packet))  # noqa: PERF401 - what came before a fault counts
    except MalformedError:
        return found, False
    return found, True


def cut(content: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(place % (len(content) + 1) for place in places), len(content)]
    return [content[begin:end] for begin, end in pairwise(bounds)]


good = st.one_of(
    st.builds(publish, st.integers(1, 65_535), st.binary(max_size=300)),
    st.builds(lambda number: mqtt5.PubAckPacket(number).write(), st.integers(1, 65_535)),
    st.just(CONNACK),
    st.just(mqtt5.PingRespPacket().write()),
    st.just(mqtt5.DisconnectPacket(reason_code=mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER).write()),
)


@given(st.lists(st.one_of(good, good, good, st.binary(max_size=8))), st.lists(st.integers(0), max_size=20))
def test_the_same_packets_and_the_same_end_come_however_the_bytes_are_cut(
    parts: list[bytes], places: list[int]
) -> None:
    content = b"".join(parts)
    single = [content[i : i + 1] for i in range(len(content))]
    assert drawn(PacketStream(), cut(content, places)) == drawn(PacketStream(), [content])
    assert drawn(PacketStream(), single) == drawn(PacketStream(), [content])


@given(st.lists(good))
def test_all_that_was_written_is_read(parts: list[bytes]) -> None:
    found, is_good = drawn(PacketStream(), [b"".join(parts)])
    assert (found, is_good) == ([repr(mqtt5.read(memoryview(part))[0]) for part in parts], True)


def test_a_large_packet_in_small_pieces_comes_out_whole() -> None:
    content = publish(1, bytes(8_000_000)) + publish(2)
    pieces = [content[i : i + 500] for i in range(0, len(content), 500)]
    found = [packet for stream in [PacketStream()] for piece in pieces for packet in stream.feed(piece)]
    assert [len(packet.payload) for packet in found if isinstance(packet, mqtt5.PublishPacket)] == [8_000_000, 1]


def test_a_packet_larger_than_was_allowed_is_not_even_waited_for() -> None:
    with pytest.raises(MalformedError, match="more than the 1000"):
        list(PacketStream(1000).feed(publish(1, bytes(2000))[:10]))


@given(st.integers(1, 7), st.lists(st.one_of(st.just(None), st.integers(0, 6)), max_size=200))
def test_never_more_than_the_broker_allows_is_on_its_way_and_all_goes_in_order(
    most: int, acts: list[int | None]
) -> None:
    outgoing = Outgoing(lambda _: pytest.fail("nothing is too large"))
    outgoing.allow(most, 10_000)
    stream, on_way, sent, put = PacketStream(), list[int](), list[bytes](), 0

    def take() -> None:
        for packet in stream.feed(outgoing.take(100)):
            assert isinstance(packet, mqtt5.PublishPacket)
            assert packet.packet_id is not None
            assert packet.packet_id not in on_way
            on_way.append(packet.packet_id)
            sent.append(packet.payload)
        assert len(on_way) <= most
        assert len(outgoing) == put - len(sent) + len(on_way)

    for act in acts:
        if act is None:
            outgoing.put(Message(RECEIPT, str(put).encode(), None))
            put += 1
        elif on_way:
            outgoing.confirm(on_way.pop(act % len(on_way)))
        take()
    while len(outgoing):
        outgoing.confirm(on_way.pop())
        take()
    assert sent == [str(i).encode() for i in range(put)]


def test_an_id_in_use_is_passed_over_when_the_count_begins_again() -> None:
    outgoing = Outgoing(lambda _: None)
    outgoing.allow(2, 1000)
    outgoing.put(Message(RECEIPT, b"", None))
    assert outgoing.take(1)
    assert {outgoing.next_id() for _ in range(100_000)} == set(range(2, 65_536))


def test_what_waits_for_the_broker_is_bounded_in_bytes() -> None:
    outgoing = Outgoing(lambda _: None, max_waiting_bytes=10 * (100 + OVERHEAD_BYTES))
    taken = [outgoing.put(Message(RECEIPT, bytes(100), None)) for _ in range(12)]
    assert (taken, len(outgoing)) == ([True] * 10 + [False] * 2, 10)


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


def is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


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
        async with asyncio.timeout(WITHIN_S):
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


@pytest.mark.parametrize("seed", range(20))
def test_rubbish_from_the_broker_ends_the_connection_with_a_reason(seed: int) -> None:
    rubbish = b"\x00" + Random(seed).randbytes(50) if seed else b"HTTP/1.1 400 Bad Request\r\n\r\n"

    async def work() -> None:
        async with Scripted(except_to(mqtt5.SubscribePacket, rubbish)) as broker:
            error = await fault(broker.port)
            assert "what is no packet" in str(error)
            assert error.cure == CURES[0x84]
            await broker.is_left.wait()

    act(work())


@pytest.mark.parametrize(
    "answer",
    [
        CONNACK,
        publish(1) + publish(2, b"\xff"),
        mqtt5.PublishPacket(BATCH, b"x", qos=mqtt5.QoS.EXACTLY_ONCE, packet_id=1).write(),
        mqtt5.PubRelPacket(1).write(),
        mqtt5.PingReqPacket().write(),
        b"\x20\x02\x00\x01",  # a CONNACK of MQTT 3.1.1
        b"\x30\x05\x00\x03\xff\xfe\xff",  # a topic that is no UTF-8
        b"\xff" * 5,
    ],
)
# where a text is no UTF-8 the codec panics, and Python speaks of it besides
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("after", [mqtt5.ConnectPacket, mqtt5.SubscribePacket, mqtt5.PublishPacket])
def test_what_may_not_come_now_ends_the_connection_or_is_harmless(answer: bytes, after: type) -> None:
    async def work() -> None:
        async with Scripted(except_to(after, answer + b"\xff\xff")) as broker:
            await fault(broker.port, messages=[Message(RECEIPT, b"1", None)])
            await broker.is_left.wait()

    act(work())


def test_messages_of_one_read_are_acknowledged_in_order_and_come_before_a_fault_behind_them() -> None:
    async def work() -> None:
        async with Scripted(polite) as broker:
            async with joined(broker.port) as (link, messages, _):
                broker.send(b"".join(publish(number, b"%d" % number) for number in range(1, 101)))
                await until(lambda: len(broker.of(mqtt5.PubAckPacket)) == 100)
                broker.send(publish(7, b"last") + b"\x00")
                with pytest.raises(BrokerError):
                    await link.ended()
            assert [packet.packet_id for packet in broker.of(mqtt5.PubAckPacket)] == list(range(1, 101))
            assert [message.payload for message in messages] == [b"%d" % number for number in range(1, 101)] + [b"last"]

    act(work())


@pytest.mark.parametrize("silent", [mqtt5.ConnectPacket, mqtt5.SubscribePacket])
def test_a_broker_that_answers_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch, silent: type) -> None:
    monkeypatch.setattr(mqtt, "_ANSWER_S", 0.2)

    async def work() -> None:
        async with Scripted(except_to(silent, b"")) as broker:
            assert "does not answer" in str(await fault(broker.port))
            await broker.is_left.wait()

    act(work())


def test_a_silent_handshake_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "_TCP_S", 0.2)

    async def work() -> None:
        async with Mute(polite) as broker:
            assert "no connection within" in str(await fault(broker.port, tls=ssl.create_default_context()))

    act(work())


class Mute(Scripted):
    """Takes the connection, and that is all."""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        while await reader.read(1 << 16):
            pass
        self.is_left.set()


KEEPALIVE_1_S = mqtt5.ConnAckPacket(server_keep_alive=1).write()


def test_a_dead_peer_is_noticed_though_its_connection_stands() -> None:
    def say(packet: mqtt5.Packet) -> bytes:
        if isinstance(packet, mqtt5.PingReqPacket):
            return b""
        return KEEPALIVE_1_S if isinstance(packet, mqtt5.ConnectPacket) else polite(packet)

    async def work() -> None:
        async with Scripted(say) as broker:
            assert "stands still" in str(await fault(broker.port))
            assert len(broker.of(mqtt5.PingReqPacket)) == 2
            await broker.is_left.wait()

    act(work())


def test_a_living_peer_that_has_nothing_to_say_is_kept() -> None:
    async def work() -> None:
        async with Scripted(except_to(mqtt5.ConnectPacket, KEEPALIVE_1_S)) as broker, joined(broker.port):
            await until(lambda: len(broker.of(mqtt5.PingReqPacket)) == 5)
            assert not broker.is_left.is_set()

    act(work())


def test_a_broker_that_no_longer_reads_holds_up_nobody_and_fills_no_memory() -> None:
    async def work() -> None:
        say = except_to(mqtt5.ConnectPacket, KEEPALIVE_1_S)
        async with Scripted(say, reads_packets=2) as broker, joined(broker.port) as (link, _, _):
            given_up = link.publish([Message(RECEIPT, bytes(100_000), None)] * 1000)
            assert 500 < given_up < 1000  # at once: there is room for 16 MiB, and what the system buffers
            assert link.unacknowledged + given_up == 1000
            with pytest.raises(BrokerError, match="stands still"):
                await link.ended()

    act(work())


def test_receipts_that_a_broker_does_not_confirm_are_counted_when_the_connection_is_lost() -> None:
    async def work() -> None:
        metrics = Metrics()
        async with Scripted(except_to(mqtt5.PublishPacket, b"")) as broker:
            uplink = MqttUplink(Broker(port=broker.port), metrics)
            running = asyncio.create_task(uplink.run())
            await until(lambda: metrics.vitals().is_connected)
            await uplink.answer([(request(), receipt(seq)) for seq in range(70)])
            await until(lambda: len(broker.of(mqtt5.PublishPacket)) == 70)
            assert lost(metrics) == 0
            broker.hang_up()
            await until(lambda: lost(metrics) == 70)
            running.cancel()
            await asyncio.wait({running})

    act(work())


def lost(metrics: Metrics) -> float | None:
    return metrics.registry.get_sample_value("tocsin_aggregator_receipts_lost_total")


def request(correlation: bytes = b"1") -> Request:
    return Request(BATCH, b"", correlation, None)


def receipt(seq: int, refused: int = 0) -> Receipt:
    rows = [Refusal(row=str(row), reason="no") for row in range(refused)]
    return Receipt(epoch="e1", seq=seq, stored=True, refused=rows)


@pytest.mark.parametrize(
    ("say", "reason", "cure"),
    [
        (
            lambda packet: (
                mqtt5.PubAckPacket(packet.packet_id, reason_code=mqtt5.PubAckReasonCode.NOT_AUTHORIZED).write()
                if isinstance(packet, mqtt5.PublishPacket) and packet.packet_id
                else polite(packet)
            ),
            "Not authorized",
            CURES[0x87],
        ),
        (except_to(mqtt5.ConnectPacket, mqtt5.ConnAckPacket(max_packet_size=30).write()), "takes 30", CURES[0x95]),
    ],
)
def test_a_receipt_that_the_broker_refuses_is_counted_and_a_person_is_told_once(
    say: Say, reason: str, cure: str
) -> None:
    async def work() -> None:
        metrics = Metrics()
        async with Scripted(say) as broker:
            uplink = MqttUplink(Broker(port=broker.port), metrics)
            running = asyncio.create_task(uplink.run())
            await until(lambda: metrics.vitals().is_connected)
            await uplink.answer([(request(), receipt(seq)) for seq in range(2)])
            await until(lambda: lost(metrics) == 2)
            assert metrics.vitals().is_connected
            running.cancel()
            await asyncio.wait({running})

    with capture_logs() as logs:
        act(work())
    said = [entry for entry in logs if entry["log_level"] == "error"]
    assert [(reason in entry["reason"], entry["cure"]) for entry in said] == [(True, cure)]


@pytest.mark.parametrize(
    ("say", "reason"),
    [
        (
            except_to(
                mqtt5.ConnectPacket,
                mqtt5.ConnAckPacket(reason_code=mqtt5.ConnAckReasonCode.BAD_USER_NAME_OR_PASSWORD).write(),
            ),
            "refuses the connection: Bad user name or password",
        ),
        (
            lambda packet: (
                mqtt5.SubAckPacket(packet.packet_id, [mqtt5.SubAckReasonCode.NOT_AUTHORIZED]).write()
                if isinstance(packet, mqtt5.SubscribePacket)
                else polite(packet)
            ),
            f"refuses the subscription $share/a/{BATCH}: Not authorized",
        ),
    ],
)
def test_a_broker_that_does_not_let_us_in_is_explained_with_a_cure(say: Say, reason: str) -> None:
    async def work() -> None:
        async with Scripted(say) as broker:
            error = await fault(broker.port)
            assert reason in str(error)
            assert error.cure == CURES[0x87]
            await broker.is_left.wait()

    act(work())


def test_another_client_of_our_name_is_named_as_the_reason() -> None:
    taken_over = mqtt5.DisconnectPacket(reason_code=mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER).write()

    async def work() -> None:
        async with Scripted(
            lambda packet: polite(packet) + (taken_over if polite(packet) != CONNACK else b"")
        ) as broker:
            error = await fault(broker.port, identifier="twin")
            assert (error.code, error.cure) == (TAKEN_OVER, CURES[TAKEN_OVER])
            assert broker.of(mqtt5.ConnectPacket)[0].client_id == "twin"

    act(work())


def test_of_two_clients_of_one_name_the_broker_keeps_the_later(mosquitto: Mosquitto) -> None:
    async def work() -> None:
        twin = partial(joined, mosquitto.port, identifier="twin")
        async with twin() as (first, _, _), twin() as (second, messages, _):
            with pytest.raises(BrokerError):
                await first.ended()
            second.publish([Message(BATCH, b"still here", None)])
            await until(lambda: messages)

    act(work())


@pytest.mark.parametrize("inflight", [1, 20, 1000])
def test_however_few_a_broker_takes_at_once_all_receipts_arrive(tmp_path: Path, inflight: int) -> None:
    async def work(port: int) -> None:
        async with joined(port) as (link, _, _), joined(port, share="b") as (other, messages, _):
            await other.subscribe(RECEIPT)
            assert link.publish(Message(RECEIPT, b"%d" % i, None) for i in range(1500)) == 0
            await until(lambda: len(messages) == 1500 and not link.unacknowledged)
            assert [message.payload for message in messages] == [b"%d" % i for i in range(1500)]

    with LinkBroker(tmp_path / "broker", lines=[f"max_inflight_messages {inflight}"]) as broker:
        act(work(broker.port))


def test_over_tls_batches_and_receipts_come_and_go_and_a_false_certificate_is_explained(tmp_path: Path) -> None:
    make_certificates(tmp_path / "tls")

    async def work(port: int) -> None:
        trusted = ssl.create_default_context(cafile=str(tmp_path / "tls" / "ca.pem"))
        async with joined(port, tls=trusted) as (link, messages, _):
            link.publish([Message(BATCH, bytes(300_000), b"7")] * 20)
            await until(lambda: len(messages) == 20 and not link.unacknowledged)
            assert {(len(message.payload), message.correlation_data) for message in messages} == {(300_000, b"7")}
        error = await fault(port, tls=ssl.create_default_context())
        assert "CERTIFICATE_VERIFY_FAILED" in str(error)
        assert error.cure == "check the certificates of both sides"

    with LinkBroker(tmp_path / "broker", certificates=tmp_path / "tls") as broker:
        eventually(lambda: is_open(broker.tls_port), "the second listener is there")
        act(work(broker.tls_port))


def test_leaving_waits_for_what_was_published_and_tells_the_broker() -> None:
    async def work() -> None:
        async with Scripted(except_to(mqtt5.ConnectPacket, mqtt5.ConnAckPacket(receive_max=3).write())) as broker:
            async with joined(broker.port) as (link, _, _):
                link.publish([Message(RECEIPT, b"x", None)] * 50)
            assert link.unacknowledged == 0
            await broker.is_left.wait()
            assert len(broker.of(mqtt5.PublishPacket)) == 50
            assert [packet.reason_code.name for packet in broker.of(mqtt5.DisconnectPacket)] == ["NORMAL_DISCONNECTION"]
            assert broker.got[-1] in broker.of(mqtt5.DisconnectPacket)

    act(work())


@pytest.mark.parametrize("silent", [mqtt5.ConnectPacket, mqtt5.SubscribePacket, mqtt5.PublishPacket, None])
@pytest.mark.parametrize("is_impatient", [False, True])
def test_a_stop_in_any_phase_leaves_no_socket(silent: type | None, is_impatient: bool) -> None:
    async def work() -> None:
        async with Scripted(except_to(silent, b"") if silent else polite) as broker:
            uplink = MqttUplink(Broker(port=broker.port), Metrics())
            running = asyncio.create_task(uplink.run())
            await until(
                lambda: broker.of(mqtt5.ConnectPacket if silent is mqtt5.ConnectPacket else mqtt5.SubscribePacket)
            )
            await asyncio.sleep(0.05)  # for the answer, if there is one
            await uplink.answer([(request(), receipt(1))])
            uplink.close()
            running.cancel()
            if is_impatient:
                await asyncio.sleep(0.01)
                running.cancel()
            async with asyncio.timeout(5):  # a second is allowed for
                await asyncio.wait({running})
                await broker.is_left.wait()
            assert await uplink.take() == []

    act(work())


def test_a_stop_while_the_broker_reads_nothing_does_not_wait_for_it() -> None:
    async def work() -> None:
        async with Scripted(polite, reads_packets=2) as broker:
            async with asyncio.timeout(5), joined(broker.port) as (link, _, _):  # a second is allowed for
                link.publish([Message(RECEIPT, bytes(100_000), None)] * 1000)
            assert link.unacknowledged > 0
            assert link.publish([Message(RECEIPT, b"", None)]) == 1

    act(work())


def test_a_fault_of_our_own_ends_the_connection_and_is_not_taken_for_the_brokers() -> None:
    faults: list[dict[str, Any]] = []

    def fail(_: list[mqtt5.PublishPacket]) -> None:
        raise KeyError("ours")

    async def work() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
        async with Scripted(polite) as broker, connection(address(broker.port), fail, print) as link:
            await link.subscribe(BATCH)
            broker.send(publish(1))
            with pytest.raises(KeyError, match="ours"):
                await link.ended()

    asyncio.run(work())
    assert isinstance(faults[0]["exception"], KeyError)
