"""A publisher at a given rate: QoS 1, one reading a message, its event time the moment at which it was sent."""

import multiprocessing
import socket
import time
from collections.abc import Callable, MutableSequence
from multiprocessing.sharedctypes import RawArray, RawValue

import mqtt5
import numpy as np

_PUBACK_BYTES = 4
_WINDOW = 800  # under way: beyond its own window a broker ends the connection
_CONNACK_BYTES = 4096  # at most

MakeMessage = Callable[[int, int], tuple[str, bytes]]  # number, time in ns -> topic, payload


class Paced:
    """Publishes in a process of its own, which has its own time. `sent_ns`: when each message was sent, 0 = not yet."""

    def __init__(self, port: int, rate: float, message: MakeMessage, count: int) -> None:
        """At `rate` a second, `count` messages at most."""
        self.sent_ns: MutableSequence[int] = RawArray("q", count)
        self._stopping = RawValue("b", 0)
        self._process = multiprocessing.get_context("fork").Process(
            target=publish, args=(port, rate, message, self.sent_ns, lambda: bool(self._stopping.value)), daemon=True
        )

    def start(self) -> None:
        """Returns at once."""
        self._process.start()

    def stop(self) -> None:
        """No more messages; returns when the broker has confirmed those that were sent."""
        self._stopping.value = 1
        self._process.join()

    @property
    def count(self) -> int:
        """How many messages were sent."""
        return int(np.count_nonzero(self.sent_ns))


def publish(
    port: int,
    rate: float,
    message: MakeMessage,
    sent_ns: MutableSequence[int],
    is_stopping: Callable[[], bool] = lambda: False,
) -> None:
    """One message for each place in `sent_ns`; behind its time it sends without a pause. The times ascend strictly."""
    with socket.create_connection(("127.0.0.1", port)) as stream:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream.sendall(mqtt5.ConnectPacket("paced", clean_start=True, keep_alive=0).write())
        stream.recv(_CONNACK_BYTES)
        begun_s, last_ns, sent, confirmed_bytes = time.perf_counter(), 0, 0, 0
        while sent < len(sent_ns) and not is_stopping():
            while (ahead_s := begun_s + sent / rate - time.perf_counter()) > 0:
                time.sleep(ahead_s)
            confirmed_bytes += _received(stream, wait=sent - confirmed_bytes // _PUBACK_BYTES >= _WINDOW)
            last_ns = sent_ns[sent] = max(time.time_ns(), last_ns + 1)
            topic, payload = message(sent, last_ns)
            packet_id = sent % 65_535 + 1
            stream.sendall(
                mqtt5.PublishPacket(topic, payload, qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=packet_id).write()
            )
            sent += 1
        while confirmed_bytes < sent * _PUBACK_BYTES:
            confirmed_bytes += _received(stream, wait=True)


def _received(stream: socket.socket, *, wait: bool) -> int:
    """How many bytes of PUBACKs came."""
    try:
        content = stream.recv(65_536, 0 if wait else socket.MSG_DONTWAIT)
    except BlockingIOError:
        return 0
    if not content:
        raise ConnectionError("the broker closed the connection")
    return len(content)
