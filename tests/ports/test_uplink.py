"""The uplink between a real outbox file and a real broker; what answers is scripted."""

import asyncio
from pathlib import Path

import aiomqtt
import structlog

from models.contract.batch import Receipt, Refusal
from tests.agents import WAIT_S
from tests.servers import Mosquitto
from tests.uplink_site import STATE, answering, in_loop, running, state_of, stored, until


@in_loop
async def test_everything_is_sent_once_and_let_go_on_its_receipt(tmp_path: Path, mosquitto: Mosquitto) -> None:
    async with answering(mosquitto.port) as aggregator, running(tmp_path, mosquitto.port, before=20) as site:
        await until(lambda: site.uplink.is_connected)
        site.seal(20)
        await site.settled()
    assert sorted(aggregator.seqs) == sorted(site.receipts) == list(range(1, 41))
    assert all(oldest <= seq for seq, oldest in aggregator.seen)


@in_loop
async def test_live_batches_pass_a_backlog_that_stands_still(tmp_path: Path, mosquitto: Mosquitto) -> None:
    backlog, live = 60, 20
    held: list[int] = []
    is_open = False

    def answer(epoch: str, seq: int) -> Receipt | None:
        if seq <= backlog and not is_open:
            held.append(seq)
            return None
        return stored(epoch, seq)

    async with (
        answering(mosquitto.port, answer) as aggregator,
        running(tmp_path, mosquitto.port, before=backlog, window_batches=4, receipt_timeout_s=300) as site,
    ):
        await until(lambda: len(held) == 2)
        for _ in range(live):
            site.seal(1)
        await until(lambda: len(site.receipts) == live)
        assert site.receipts == list(range(backlog + 1, backlog + live + 1))
        assert held == [1, 2]
        assert {oldest for _, oldest in aggregator.seen} == {1}
        is_open = True
        for seq in (1, 2):
            await aggregator.reply(stored(site.outbox.epoch, seq), f"{site.outbox.epoch}:{seq}")
        await site.settled()
    assert [seq for seq in aggregator.seqs if seq <= backlog] == list(range(1, backlog + 1))


@in_loop
async def test_live_batches_that_nobody_answers_become_backlog_and_are_sent(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    async with running(tmp_path, mosquitto.port, window_batches=4, receipt_timeout_s=0.5) as site:
        await until(lambda: site.uplink.has_room)
        site.seal(500)
        await until(lambda: not site.uplink.has_room)
        async with answering(mosquitto.port) as aggregator:
            await site.settled()
        await until(lambda: site.uplink.has_room)
    assert set(aggregator.seqs) >= set(range(4, 501))
    assert sorted(site.receipts) == list(range(1, 501))


@in_loop
async def test_a_receipt_that_is_lost_comes_again(tmp_path: Path, mosquitto: Mosquitto) -> None:
    asked: dict[int, int] = {}

    def third_time(epoch: str, seq: int) -> Receipt | None:
        asked[seq] = asked.get(seq, 0) + 1
        return stored(epoch, seq) if asked[seq] == 3 else None

    async with (
        answering(mosquitto.port, third_time),
        running(tmp_path, mosquitto.port, before=10, receipt_timeout_s=0.1) as site,
    ):
        await site.settled()
    assert sorted(site.receipts) == list(range(1, 11))


@in_loop
async def test_batches_that_nobody_heard_go_again_as_soon_as_somebody_listens(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    with structlog.testing.capture_logs() as logs:
        async with running(tmp_path, mosquitto.port, before=40, receipt_timeout_s=3600) as site:
            await until(lambda: any("no aggregator listens" in line["event"] for line in logs))
            assert not site.uplink.has_room
            site.seal(5)
            async with answering(mosquitto.port) as aggregator:
                await site.settled()
            assert sorted(aggregator.seqs) == list(range(1, 46))


@in_loop
async def test_a_state_that_nobody_subscribes_to_says_nothing_of_the_aggregator(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    with structlog.testing.capture_logs() as logs:
        async with answering(mosquitto.port) as aggregator, running(tmp_path, mosquitto.port, before=1) as site:
            await site.settled()
            for count in (1, 2, 3):
                site.uplink.restate()
                site.seal(1)
                await site.settled()
                assert aggregator.seqs[-1] == 1 + count
            assert site.uplink.has_room
    assert not [line for line in logs if "no aggregator listens" in line["event"]]


@in_loop
async def test_refused_rows_are_kept_before_their_batch_goes(tmp_path: Path, mosquitto: Mosquitto) -> None:
    def refuse(epoch: str, seq: int) -> Receipt:
        return Receipt(epoch=epoch, seq=seq, stored=True, refused=[Refusal(row="r", reason=f"no {seq}")])

    async with (
        answering(mosquitto.port, refuse) as aggregator,
        running(tmp_path, mosquitto.port, receipt_timeout_s=0.1) as site,
    ):
        site.no_room = 1
        await until(lambda: site.uplink.is_connected)
        site.seal(1)
        await site.settled()
    assert site.refused == [(1, ["no 1"])]
    assert len(aggregator.seqs) > 1, "without room for the refusal, the batch has to stay"


@in_loop
async def test_a_refused_heartbeat_is_no_dead_letter(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """Whether the aggregator names a field that it does not know, or the store the whole row."""

    def refuse(epoch: str, seq: int) -> Receipt:
        rows = ["gateway", "gateway,site=north,gateway=gw1 lag_s=1 5", "gateway_room,asset=x value=1 5"]
        return Receipt(epoch=epoch, seq=seq, stored=True, refused=[Refusal(row=row, reason=row[:12]) for row in rows])

    with structlog.testing.capture_logs() as logs:
        async with answering(mosquitto.port, refuse), running(tmp_path, mosquitto.port, before=3) as site:
            await site.settled()
    assert site.refused == [(seq, ["gateway_room"]) for seq in (1, 2, 3)]
    assert sum("says of itself" in line["event"] for line in logs) == 1


@in_loop
async def test_a_change_of_state_is_told_at_once(tmp_path: Path, mosquitto: Mosquitto) -> None:
    async with aiomqtt.Client("127.0.0.1", mosquitto.port) as watcher, running(tmp_path, mosquitto.port) as site:
        await until(lambda: site.uplink.is_connected)
        await watcher.subscribe(STATE)
        assert (await anext(watcher.messages)).retain
        site.uplink.restate()
        async with asyncio.timeout(WAIT_S):
            message = await anext(watcher.messages)
        assert (message.retain, message.payload) == (False, state_of(True))


@in_loop
async def test_what_no_receipt_can_name_is_set_aside_whole(tmp_path: Path, mosquitto: Mosquitto) -> None:
    def refuse(epoch: str, seq: int) -> Receipt:
        if seq == 1:
            return Receipt(epoch=epoch, seq=seq, stored=False, reason="never")
        return Receipt(epoch=epoch, seq=seq, stored=True, refused=[Refusal(row="r", reason="no")], unnamed=7)

    with structlog.testing.capture_logs() as logs:
        async with answering(mosquitto.port, refuse), running(tmp_path, mosquitto.port, before=2) as site:
            await site.settled()
    assert site.refused == [(2, ["no"])]
    aside = [line["reason"] for line in logs if "set aside" in line["event"]]
    assert sorted(aside) == ["7 refused rows beside those named", "never"]


@in_loop
async def test_a_foreign_or_unreadable_receipt_is_ignored(tmp_path: Path, mosquitto: Mosquitto) -> None:
    async with (
        answering(mosquitto.port, lambda *_: None) as aggregator,
        running(tmp_path, mosquitto.port, before=2, receipt_timeout_s=300) as site,
    ):
        await until(lambda: len(aggregator.seen) == 2)
        epoch = site.outbox.epoch
        await aggregator.reply(b"rubbish", f"{epoch}:1")
        for correlation in (
            f"{epoch}:9",
            "other:1",
            f"{epoch}:",
            f"{epoch}:-1",
            f"{epoch}:²",
            f"{epoch}:{'1' * 5000}",
            "",
            "\0",
        ):
            await aggregator.reply(stored(epoch, 1), correlation)
        await aggregator.reply(stored(epoch, 2), f"{epoch}:2")
        await until(lambda: site.receipts == [2])
        assert site.outbox.backlog() == 1
