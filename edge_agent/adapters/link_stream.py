"""A connection over TCP or TLS that never blocks: what cannot be sent now is kept, what cannot be read now is 0 bytes.

Every method raises OSError when the connection is gone; ssl.SSLError is one.
"""

import math
import select
import socket
import ssl
import time

from edge_agent.core.packets import PacketBuffer

CONNECT_S = 3.0  # SIGTERM has to wait for an attempt under way
_FAREWELL_S = 0.5
_GONE = select.POLLHUP | select.POLLERR | select.POLLNVAL | getattr(select, "POLLRDHUP", 0)


class Stream:
    """Belongs to one thread."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        """Connects within `CONNECT_S`, the TLS handshake included; the resolver of names has its own limits."""
        self._socket = _connected(host, port, context)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)
        self._poll = select.poll()
        self._out = bytearray()
        self._wants_write = False  # TLS has something of its own to say

    def send(self, content: bytes) -> None:
        """Send now, or as soon as it is possible."""
        self._out += content
        self.flush()

    def flush(self) -> bool:
        """Whether everything is sent."""
        while self._out:
            try:
                count = self._socket.send(self._out)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return False
            del self._out[:count]
        return True

    def receive(self, buffer: PacketBuffer) -> int:
        """Fill the buffer with what is there; how many bytes. Raises ConnectionResetError at the end of the stream."""
        self._wants_write = False
        try:
            count = self._socket.recv_into(buffer.room())
        except (BlockingIOError, ssl.SSLWantReadError):
            return 0
        except ssl.SSLWantWriteError:
            self._wants_write = True
            return 0
        if count == 0:
            raise ConnectionResetError("the broker closed the connection")
        buffer.wrote(count)
        return count

    def wait(self, timeout_s: float, *, for_reading: bool) -> None:
        """Until something can be read or, of what is kept, sent; at most `timeout_s`.

        Not for reading: only the end of the connection is awaited, and raised as ConnectionResetError, which a full
        reader would else not see.
        """
        events = _GONE | (select.POLLIN if for_reading else 0)
        if self._out or self._wants_write:
            events |= select.POLLOUT
        self._poll.register(self._socket, events)
        ready = self._poll.poll(math.ceil(timeout_s * 1000))
        if self._out:
            self.flush()
        if ready and ready[0][1] & _GONE and not for_reading:
            raise ConnectionResetError("the broker closed the connection")

    def close(self, farewell: bytes = b"") -> None:
        """Say good-bye within half a second; never raises.

        What lies unread is read first: to close on it would reset the connection, and the acknowledgements that the
        broker has not read yet would be lost with it.
        """
        try:
            if farewell:
                deadline_s = time.monotonic() + _FAREWELL_S
                self.send(farewell)
                while not self.flush() and (left_s := deadline_s - time.monotonic()) > 0:
                    self.wait(left_s, for_reading=False)
                self._socket.shutdown(socket.SHUT_WR)
                with socket.socket(fileno=self._socket.detach()) as raw:
                    while (left_s := deadline_s - time.monotonic()) > 0:
                        raw.settimeout(left_s)
                        if not raw.recv(1 << 16):
                            break
        except (OSError, ValueError):
            pass  # it is gone already
        finally:
            self._socket.close()


def _connected(host: str, port: int, context: ssl.SSLContext | None) -> socket.socket:
    deadline_s = time.monotonic() + CONNECT_S
    last: OSError = OSError("it has no address")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(f"{host!r} is no name of a host") from error
    for family, kind, protocol, _, address in found:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            break
        raw = socket.socket(family, kind, protocol)
        try:
            raw.settimeout(left_s)
            raw.connect(address)
            if context is None:
                return raw
            raw.settimeout(max(0.01, deadline_s - time.monotonic()))
            return context.wrap_socket(raw, server_hostname=host)
        except OSError as error:
            raw.close()
            last = error
    raise last
