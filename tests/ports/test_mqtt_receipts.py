"""The aggregator's uplink to brokers that do not take its receipts, and its end."""

import asyncio

import mqtt5
import pytest
from structlog.testing import capture_logs

from aggregator.adapters import mqtt
from aggregator.adapters.uplink import MqttUplink
from aggregator.config import Broker
from aggregator.metrics import Metrics
from aggregator.ports import Request
from models.broker import CURES
from models.contract.batch import Receipt, Refusal
from tests.scripted_broker import BATCH, Say, Scripted, act, except_to, polite, until


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


@pytest.mark.parametrize("silent", [mqtt5.ConnectPacket, mqtt5.SubscribePacket, mqtt5.PublishPacket, None])
@pytest.mark.parametrize("is_impatient", [False, True])
def test_a_stop_in_any_phase_leaves_no_socket(
    monkeypatch: pytest.MonkeyPatch, silent: type | None, is_impatient: bool
) -> None:
    monkeypatch.setattr(mqtt, "_ANSWER_S", 3600)  # nothing but the stop ends it

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
            await asyncio.wait({running})
            await broker.is_left.wait()
            assert await uplink.take() == []

    act(work())
