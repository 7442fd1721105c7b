"""The fault proxy: what each fault does to a connection, and what it leaves alone."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from tests.chaos.proxy import Proxy
from tests.servers import quiet_ports

WAIT_S = 20
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def proxied_echo() -> AsyncIterator[tuple[Proxy, list[bytes]]]:
    """A proxy before a server that echoes; what passed through from the server."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1000):
                writer.write(data)
        except ConnectionError:
            pass
        writer.close()

    port, target = quiet_ports(2)
    server = await asyncio.start_server(echo, "127.0.0.1", target)
    answers: list[bytes] = []
    proxy = Proxy(port, target, answers.append)
    await proxy.start()
    try:
        yield proxy, answers
    finally:
        await proxy.stop()
        server.close()


async def connect(proxy: Proxy) -> Connection:
    return await asyncio.open_connection("127.0.0.1", proxy.port)


async def says_back(connection: Connection, data: bytes) -> None:
    reader, writer = connection
    writer.write(data)
    assert await asyncio.wait_for(reader.readexactly(len(data)), WAIT_S) == data


async def is_silent(connection: Connection, data: bytes) -> asyncio.Task[bytes]:
    """Send, and see that nothing comes while other connections and the loop go on; the read that still waits."""
    reader, writer = connection
    writer.write(data)
    waiting = asyncio.create_task(reader.readexactly(len(data)))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    return waiting


def run(check: Callable[[Proxy, list[bytes]], Awaitable[None]]) -> None:
    async def main() -> None:
        async with proxied_echo() as (proxy, answers):
            await asyncio.wait_for(check(proxy, answers), WAIT_S)

    asyncio.run(main())


def test_bytes_pass_both_ways_and_the_end_of_a_connection_too() -> None:
    async def check(proxy: Proxy, answers: list[bytes]) -> None:
        reader, writer = connection = await connect(proxy)
        await says_back(connection, b"hello")
        assert b"".join(answers) == b"hello"
        writer.write_eof()
        assert await reader.read() == b""

    run(check)


def test_a_cut_resets_what_stands_and_takes_new_connections() -> None:
    async def check(proxy: Proxy, _answers: list[bytes]) -> None:
        reader, _ = connection = await connect(proxy)
        await says_back(connection, b"hello")
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        await says_back(await connect(proxy), b"again")

    run(check)


def test_a_stall_holds_bytes_back_and_loses_none() -> None:
    async def check(proxy: Proxy, _answers: list[bytes]) -> None:
        connection = await connect(proxy)
        await says_back(connection, b"hello")
        proxy.stall()
        waiting = await is_silent(connection, b"held")
        await proxy.heal()
        assert await waiting == b"held"

    run(check)


def test_a_slow_path_delivers_piece_by_piece() -> None:
    async def check(proxy: Proxy, answers: list[bytes]) -> None:
        connection = await connect(proxy)
        await says_back(connection, b"hello")
        proxy.slow(1000)
        await says_back(connection, b"x" * 300)
        assert max(map(len, answers[1:])) <= 50
        await proxy.heal()
        await says_back(connection, b"y" * 300)

    run(check)


def test_a_half_open_connection_swallows_while_new_ones_work_and_is_reset_at_the_end() -> None:
    async def check(proxy: Proxy, _answers: list[bytes]) -> None:
        connection = await connect(proxy)
        await says_back(connection, b"hello")
        proxy.half_open()
        waiting = await is_silent(connection, b"lost")
        await says_back(await connect(proxy), b"new")
        await proxy.heal()
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await waiting

    run(check)


def test_a_refusing_path_takes_no_connection_until_it_heals() -> None:
    async def check(proxy: Proxy, _answers: list[bytes]) -> None:
        reader, _ = connection = await connect(proxy)
        await says_back(connection, b"hello")
        proxy.refuse()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        with pytest.raises(ConnectionRefusedError):
            await connect(proxy)
        await proxy.heal()
        await says_back(await connect(proxy), b"again")

    run(check)


def test_without_a_server_behind_it_a_connection_is_reset() -> None:
    async def check() -> None:
        port, target = quiet_ports(2)
        proxy = Proxy(port, target)
        await proxy.start()
        reader, _ = await connect(proxy)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), WAIT_S)
        await proxy.stop()

    asyncio.run(check())


def test_while_the_server_is_away_nothing_listens_and_when_it_is_back_the_proxy_is_too() -> None:
    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")

    async def check() -> None:
        port, target = quiet_ports(2)
        server = await asyncio.start_server(serve, "127.0.0.1", target)
        proxy = Proxy(port, target)
        await proxy.start()
        reader, _ = await connect(proxy)
        assert await asyncio.wait_for(reader.readexactly(5), WAIT_S) == b"hello"
        server.close()
        proxy.cut()
        reader, _ = await connect(proxy)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), WAIT_S)
        with pytest.raises(ConnectionRefusedError):
            await connect(proxy)
        server = await asyncio.start_server(serve, "127.0.0.1", target)
        async with asyncio.timeout(WAIT_S):
            while True:
                try:
                    reader, _ = await connect(proxy)
                    break
                except ConnectionRefusedError:
                    await asyncio.sleep(0.02)
        assert await asyncio.wait_for(reader.readexactly(5), WAIT_S) == b"hello"
        await proxy.stop()
        server.close()

    asyncio.run(check())
