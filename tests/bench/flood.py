"""A publisher that costs as little as can be: QoS 1 packets made beforehand, sent over a plain socket.

What is to be measured shares two cores with it. A window of messages under way; PUBACKs are counted, not parsed.
"""

import socket
import struct
from collections.abc import Sequence

import mqtt5

_PUBACK_BYTES = 4
WINDOW = 500


def packets(messages: Sequence[tuple[str, bytes]]) -> list[bytes]:
    """PUBLISH packets at QoS 1 with ascending packet ids."""
    return [
        mqtt5.PublishPacket(topic, payload, qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=i % 65_535 + 1).write()
        for i, (topic, payload) in enumerate(messages)
    ]


def publish(port: int, flood: Sequence[bytes]) -> None:
    """Send all and wait for all PUBACKs."""
    with socket.create_connection(("127.0.0.1", port)) as stream:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream.sendall(mqtt5.ConnectPacket("flood", clean_start=True).write())
        (rest,) = struct.unpack_from("B", _exactly(stream, 2), 1)
        _exactly(stream, rest)
        sent, received = 0, 0
        while received < len(flood) * _PUBACK_BYTES:
            room = WINDOW - (sent - received // _PUBACK_BYTES)
            if room >= WINDOW // 2 or sent == len(flood):
                stream.sendall(b"".join(flood[sent : sent + room]))
                sent = min(len(flood), sent + room)
            received += len(stream.recv(65_536))


def _exactly(stream: socket.socket, count: int) -> bytes:
    content = b""
    while len(content) < count:
        content += stream.recv(count - len(content))
    return content
