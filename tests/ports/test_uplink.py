"""The uplink between a real outbox file and a real broker; what answers is scripted."""

import asyncio
import functools
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, ParamSpec

import aiomqtt
import pytest
import structlog
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_agent.adapters.outbox_sqlite import SqliteOutbox
from edge_agent.adapters.uplink import Uplink
from edge_agent.config import EdgeConfig
from edge_agent.ports import NoRoomError, Sealed
from models import broker
from models.contract.batch import Receipt, Refusal, encode_receipt
from models.contract.topics import subscription, topic
from tests.moody import Moody
from tests.servers import Mosquitto

P = ParamSpec("P")
WITHIN_S = 30
BATCH, RECEIPT, STATE = (topic("north", "gw1", kind) for kind in ("batch", "receipt", "state"))
Answer = Callable[[str, int], Receipt | None]


def stored(epoch: str, seq: int) -> Receipt:
    return Receipt(epoch=epoch, seq=seq, stored=True)


class Site:
    """An uplink under way, and what it reports."""

    def __init__(self, folder: Path, port: int, **settings: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.outbox = SqliteOutbox(folder / "outbox.db", 256 * 1024 * 1024)
        self.receipts: list[int] = []
        self.refused: list[tuple[int, list[str]]] = []
        self.no_room = 0  # how many refusals to turn away
        config = EdgeConfig.model_validate(
            {
                "site": "north",
                "gateway": "gw1",
                "state_dir": folder,
                "topics": [{"template": "{asset}/{channel}"}],
                "channels": [{"match": "*/*"}],
                "assets": [{"match": "*"}],
                "uplink": {"port": port, "receipt_timeout_s": 0.5, **settings},
            }
        )
        self.uplink = Uplink(config, self.outbox, None, _state, self._on_receipt, self._on_refused)

    def seal(self, count: int, size: int = 50) -> None:
        for _ in range(count):
            self.outbox.append(lambda epoch, seq: f"{epoch}:{seq}:".encode().ljust(size, b"x"), 1, 1)
        self.uplink.hint()

    async def settled(self) -> None:
        await until(lambda: not self.outbox.backlog())

    def _on_receipt(self, batch: Sealed, _receipt: Receipt) -> None:
        self.receipts.append(batch.seq)

    def _on_refused(self, batch: Sealed, refused: list[Refusal]) -> None:
        if self.no_room:
            self.no_room -= 1
            raise NoRoomError
        self.refused.append((batch.seq, [refusal.reason for refusal in refused]))


def _state(online: bool) -> bytes:
    return json.dumps({"online": online}).encode()


def in_loop(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """The test as a plain function with an event loop of its own."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def main() -> None:
            await test(*args, **kwargs)

        asyncio.run(main())

    return run


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not true():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(folder: Path, port: int, *, before: int = 0, size: int = 50, **settings: Any) -> AsyncIterator[Site]:
    """A site whose outbox holds `before` batches when its uplink starts."""
    site = Site(folder, port, **settings)
    site.seal(before, size)
    task = asyncio.create_task(site.uplink.run())
    try:
        yield site
        assert not task.done(), "the uplink ended by itself"
    finally:
        site.uplink.stop()
        await asyncio.wait_for(task, WITHIN_S)
        site.outbox.close()


class Aggregator:
    """Takes batches and answers as `answer` says; in `seen` each arrival: (seq, oldest)."""

    def __init__(self, answer: Answer = stored) -> None:
        self.answer = answer
        self.seen: list[tuple[int, int]] = []
        self._client: aiomqtt.Client | None = None

    @property
    def seqs(self) -> list[int]:
        return [seq for seq, _ in self.seen]

    async def reply(self, receipt: Receipt | bytes, correlation: str) -> None:
        assert self._client is not None
        properties = Properties(PacketTypes.PUBLISH)
        properties.CorrelationData = correlation.encode()
        payload = receipt if isinstance(receipt, bytes) else encode_receipt(receipt)
        await self._client.publish(RECEIPT, payload, qos=1, properties=properties)

    async def serve(self, client: aiomqtt.Client) -> None:
        self._client = client
        async for message in client.messages:
            epoch, seq = message.payload.decode().split(":")[:2]
            properties: Any = message.properties
            assert (epoch, seq) == tuple(properties.CorrelationData.decode().split(":"))
            assert properties.ResponseTopic == RECEIPT
            self.seen.append((int(seq), int(dict(properties.UserProperty)["oldest"])))
            if receipt := self.answer(epoch, int(seq)):
                await self.reply(receipt, f"{epoch}:{seq}")


@asynccontextmanager
async def answering(port: int, answer: Answer = stored) -> AsyncIterator[Aggregator]:
    aggregator = Aggregator(answer)
    address = broker.Address("127.0.0.1", port, None, None, None, 60, None)
    async with broker.connection(broker.Client(address)) as client:
        await client.listen(subscription("batch", share="a"))
        task = asyncio.create_task(aggregator.serve(client))
        try:
            yield aggregator
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError, aiomqtt.MqttError):
                await task


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
    async with running(tmp_path, mosquitto.port, window_batches=4) as site:
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
async def test_silence_makes_it_connect_anew(tmp_path: Path, mosquitto: Mosquitto) -> None:
    with structlog.testing.capture_logs() as logs:
        async with (
            answering(mosquitto.port, lambda _epoch, _seq: None),  # it hears, and says nothing
            running(tmp_path, mosquitto.port, before=1, receipt_timeout_s=0.1),
        ):
            await until(lambda: sum(line["event"].startswith("connected") for line in logs) > 1)
    assert any("no receipt for" in line.get("error", "") for line in logs)


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
async def test_a_broker_that_dies_costs_nothing(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker") as server:
        async with running(tmp_path, server.port, before=300, size=2000) as site:
            async with answering(server.port) as first:
                await until(lambda: len(first.seen) > 20)
                server.kill()
            site.seal(10)
            server.start()
            async with answering(server.port) as second, aiomqtt.Client("127.0.0.1", server.port) as watcher:
                await site.settled()
                await watcher.subscribe(STATE)
                state = await anext(watcher.messages)
                assert json.loads(state.payload) == {"online": True}
    assert {*first.seqs, *second.seqs} == set(range(1, 311))


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
        async with asyncio.timeout(WITHIN_S):
            message = await anext(watcher.messages)
        assert (message.retain, message.payload) == (False, _state(True))


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


@in_loop
async def test_two_agents_of_the_same_name_are_an_error_with_its_cure(tmp_path: Path, mosquitto: Mosquitto) -> None:
    with structlog.testing.capture_logs() as logs:
        async with running(tmp_path / "a", mosquitto.port), running(tmp_path / "b", mosquitto.port):
            await until(lambda: any(line["log_level"] == "error" for line in logs))
    assert {line["cure"] for line in logs if line["log_level"] == "error"} == {broker.CURES[broker.TAKEN_OVER]}


@pytest.mark.parametrize("what", ["login", "subscription", "batch"])
@in_loop
async def test_a_broker_that_refuses_is_an_error_with_its_cure_until_it_allows(tmp_path: Path, what: str) -> None:
    server = Moody(tmp_path / "broker")
    rights = "topic read #\ntopic write tocsin/v1/+/+/state\n" if what == "batch" else ""
    (tmp_path / "acl").write_text(rights)
    server.rules = "allow_anonymous false" if what == "login" else f"allow_anonymous true\nacl_file {tmp_path}/acl"
    with server, structlog.testing.capture_logs() as logs:
        async with running(tmp_path, server.port, before=1) as site:
            await until(lambda: any(line["log_level"] == "error" for line in logs))
            server.rules = "allow_anonymous true"
            server.restart()
            async with answering(server.port):
                await site.settled()
    assert {line["cure"] for line in logs if line["log_level"] == "error"} == {broker.CURES[0x87]}


@in_loop
async def test_a_server_that_never_answers_is_left_without_a_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "_ANSWER_S", 0.2)
    server = Mosquitto(tmp_path / "broker")
    with socket.create_server(("127.0.0.1", server.port)) as mute:
        mute.setblocking(False)
        async with running(tmp_path, server.port, before=1) as site:
            loop = asyncio.get_running_loop()
            for _ in range(3):
                connection, _ = await loop.sock_accept(mute)
                with connection:
                    async with asyncio.timeout(WITHIN_S):
                        while await loop.sock_recv(connection, 1000):  # to the end of the stream: the socket is closed
                            pass
            mute.close()
            with server:
                async with answering(server.port):
                    await site.settled()


@in_loop
async def test_it_ends_though_the_broker_stands_still(tmp_path: Path) -> None:
    with Moody(tmp_path / "broker") as server:
        async with running(tmp_path, server.port) as site:
            await until(lambda: site.uplink.is_connected)
            server.pause()
            site.seal(50, 500_000)
            await until(lambda: not site.uplink.has_room)
