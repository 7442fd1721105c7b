"""A publisher at a given rate: QoS 1, one reading a message, its event time the moment at which it was sent."""

import multiprocessing
import socket
import time
from collections.abc import Callable, MutableSequence
from multiprocessing.process import BaseProcess

import mqtt5

_PUBACK_BYTES = 4
_WINDOW = 800  # under way: beyond its own window a broker ends the connection
_CONNACK_LIMIT = 4096

MakeMessage = Callable[[int, int], tuple[str, bytes]]  # number, time in ns -> topic, payload


def start(port: int, rate: float, message: MakeMessage, sent_ns: MutableSequence[int]) -> BaseProcess:
    """A process that sends one message for each place in `sent_ns`, shared memory, and notes its time there."""
    process = multiprocessing.get_context("fork").Process(
        target=publish, args=(port, rate, message, sent_ns), daemon=True
    )
    process.start()
    return process


def publish(port: int, rate: float, message: MakeMessage, sent_ns: MutableSequence[int]) -> None:
    """At `rate` a second; behind its time it sends without a pause. The times ascend strictly."""
    with socket.create_connection(("127.0.0.1", port)) as stream:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream.sendall(mqtt5.ConnectPacket("paced", clean_start=True, keep_alive=0).write())
        stream.recv(_CONNACK_LIMIT)
        begun_s, last_ns, confirmed_bytes = time.perf_counter(), 0, 0
        for number in range(len(sent_ns)):
            while (ahead_s := begun_s + number / rate - time.perf_counter()) > 0:
                time.sleep(ahead_s)
            confirmed_bytes += _received(stream, wait=number - confirmed_bytes // _PUBACK_BYTES >= _WINDOW)
            last_ns = sent_ns[number] = max(time.time_ns(), last_ns + 1)
            topic, payload = message(number, last_ns)
            packet = mqtt5.PublishPacket(
                topic, payload, qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=number % 65_535 + 1
            ).write()
            stream.sendall(packet)
        while confirmed_bytes < len(sent_ns) * _PUBACK_BYTES:
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
