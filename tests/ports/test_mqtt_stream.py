"""The aggregator's MQTT 5 client: brokers that say or do not say what they should, real ones, and its end."""

import asyncio
import ssl
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import mqtt5
import pytest

from aggregator.adapters import mqtt
from aggregator.adapters.mqtt import connection
from aggregator.core.outgoing import Message
from models.broker import CURES, TAKEN_OVER, BrokerError
from tests.links import LinkBroker, make_certificates
from tests.scripted_broker import (
    BATCH,
    CONNACK,
    RECEIPT,
    Say,
    Scripted,
    act,
    address,
    except_to,
    fault,
    joined,
    polite,
    publish,
    until,
)
from tests.servers import Mosquitto


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


def test_a_stop_while_the_broker_reads_nothing_does_not_wait_for_it() -> None:
    async def work() -> None:
        patient = except_to(mqtt5.ConnectPacket, mqtt5.ConnAckPacket(server_keep_alive=3600).write())
        async with Scripted(patient, reads_packets=2) as broker:
            async with joined(broker.port) as (link, _, _):
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
