"""The uplink and brokers that die, refuse, fall silent, stand still, or serve another of the same name."""

import asyncio
import json
import socket
from pathlib import Path

import aiomqtt
import pytest
import structlog

from models import broker
from tests.agents import WAIT_S
from tests.moody import Moody
from tests.servers import Mosquitto
from tests.uplink_site import STATE, answering, in_loop, running, until


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
    monkeypatch.setattr(broker, "_ANSWER_S", 0.2)  # until there is a broker that answers
    server = Mosquitto(tmp_path / "broker")
    with socket.create_server(("127.0.0.1", server.port)) as mute:
        mute.setblocking(False)
        async with running(tmp_path, server.port, before=1) as site:
            loop = asyncio.get_running_loop()
            for _ in range(3):
                connection, _ = await loop.sock_accept(mute)
                with connection:
                    async with asyncio.timeout(WAIT_S):
                        while await loop.sock_recv(connection, 1000):  # to the end of the stream: the socket is closed
                            pass
            mute.close()
            monkeypatch.undo()
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
