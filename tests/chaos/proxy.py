"""A TCP proxy that breaks connections in the ways in which networks do.

    client ──▶ pump ──▶ server      stalled     bytes wait, then go on: nothing is lost, as TCP would retransmit
           ◀── pump ◀──             slow        they pass at some bytes/s
                                    refusing    nothing listens; connections that stood were reset

Besides the state of the path, a connection can be dead (half-open): both ends believe in it, its bytes vanish, and
neither end is told of the other's death. New connections work meanwhile. When the path heals, dead connections are
reset, as a router does that has forgotten them. While the server is away nothing listens here either, as without a
proxy: to take a connection and reset it then is another fault.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress

_READ_BYTES = 65_536
_SLOW_STEP_S = 0.05
_SERVER_LOOK_S = 0.03
_RST = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 s: close() resets


def _ignore(_data: bytes) -> None:
    """What passes from clients is of no interest."""


class Proxy:
    """From `port` to `target_port`, both on the loopback. `on_answer` sees what the server sent, as it is passed on."""

    def __init__(self, port: int, target_port: int, on_answer: Callable[[bytes], None] = _ignore) -> None:
        self.port, self._target_port, self._on_answer = port, target_port, on_answer
        self._passing, self._bytes_per_s, self._is_refusing = asyncio.Event(), 0, False
        self._passing.set()
        self._pairs: dict[asyncio.Task[None], _Pair] = {}
        self._listener: asyncio.Server | None = None
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen. Raises OSError when the port is taken."""
        if self._listener is None:
            self._listener = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def stop(self) -> None:
        """Reset everything and listen no more."""
        if self._looking is not None:
            self._looking.cancel()
        self._deafen()
        self.cut()
        await asyncio.gather(*self._pairs, return_exceptions=True)

    def cut(self) -> None:
        """Reset every connection; new ones are taken at once."""
        for task, pair in list(self._pairs.items()):
            pair.reset()
            task.cancel()

    def stall(self) -> None:
        """Hold all bytes back until `heal`."""
        self._passing.clear()

    def slow(self, bytes_per_s: int) -> None:
        """Let at most so many bytes a second through, per connection and direction, until `heal`."""
        self._bytes_per_s = bytes_per_s

    def half_open(self) -> None:
        """Kill the connections that stand now without telling either end, until `heal`."""
        for pair in self._pairs.values():
            pair.is_dead = True

    def refuse(self) -> None:
        """Reset every connection and listen no more until `heal`."""
        self._is_refusing = True
        self._deafen()
        self.cut()

    async def heal(self) -> None:
        """Let everything pass again; reset dead connections."""
        self._bytes_per_s, self._is_refusing = 0, False
        self._passing.set()
        for task, pair in list(self._pairs.items()):
            if pair.is_dead:
                pair.reset()
                task.cancel()
        if self._looking is None:
            await self.start()

    def _deafen(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the server. Raises OSError when it is away, and then nothing listens until it is back."""
        try:
            return await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            self._deafen()
            if self._looking is None:
                self._looking = asyncio.create_task(self._look_for_server())
            raise

    async def _look_for_server(self) -> None:
        while not await self._is_server_up():
            await asyncio.sleep(_SERVER_LOOK_S)
        self._looking = None
        if not self._is_refusing:
            await self.start()

    async def _is_server_up(self) -> bool:
        try:
            _, probe = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            return False
        probe.close()
        return True

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pair = _Pair(writer)
        task = asyncio.current_task()
        assert task is not None
        self._pairs[task] = pair
        try:
            await self._passing.wait()
            upstream_reader, upstream = await self._reach()
            pair.upstream = upstream
            pumps = (
                asyncio.create_task(self._pump(reader, upstream, pair, _ignore)),
                asyncio.create_task(self._pump(upstream_reader, writer, pair, self._on_answer)),
            )
            try:
                # Alive, the first end that closes ends both; dead, neither hears of the other.
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                if pair.is_dead:
                    await asyncio.wait(pumps)
                elif pumps[1].done():  # the server closed: perhaps it died, and its client will be back at once
                    (await self._reach())[1].close()
            finally:
                for pump in pumps:
                    pump.cancel()
        except (OSError, asyncio.CancelledError):  # no server there; or cut
            pair.reset()
        finally:
            pair.close()
            self._pairs.pop(task, None)

    async def _pump(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        pair: "_Pair",
        watch: Callable[[bytes], None],
    ) -> None:
        with suppress(OSError):
            while data := await source.read(_READ_BYTES):
                await self._passing.wait()
                while data:
                    step = max(1, round(self._bytes_per_s * _SLOW_STEP_S)) if self._bytes_per_s else len(data)
                    if not pair.is_dead:
                        sink.write(data[:step])
                        watch(data[:step])
                        await sink.drain()
                    data = data[step:]
                    if self._bytes_per_s:
                        await asyncio.sleep(_SLOW_STEP_S)
            await self._passing.wait()  # a FIN is held back like a byte


class _Pair:
    """Both ends of one connection."""

    def __init__(self, client: asyncio.StreamWriter) -> None:
        self._client = client
        self.upstream: asyncio.StreamWriter | None = None
        self.is_dead = False

    def reset(self) -> None:
        """RST to both ends."""
        for end in (self._client, self.upstream):
            sock = end.get_extra_info("socket") if end is not None else None
            if end is not None and sock is not None and not end.is_closing():
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
                end.transport.abort()

    def close(self) -> None:
        """FIN to both ends, unless they are reset already."""
        for end in (self._client, self.upstream):
            if end is not None:
                end.close()
