"""What we publish at QoS 1: what waits, what is on its way, and what the broker allows of it.

Pure: messages in, bytes out. Who uses it writes the bytes and tells of each PUBACK.
"""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import mqtt5

MAX_WAITING_BYTES = 16 * 1024 * 1024
OVERHEAD_BYTES = 512  # of a message that waits
_MAX_ID = 65_535


class Message(NamedTuple):
    """What is published."""

    topic: str
    payload: bytes
    correlation: bytes | None


class Outgoing:
    """Of one connection. `on_too_large` hears of each message that the broker would end the connection over."""

    def __init__(self, on_too_large: Callable[[str], None], max_waiting_bytes: int = MAX_WAITING_BYTES) -> None:
        """Until `allow`, nothing comes out."""
        self._on_too_large, self._max_waiting_bytes = on_too_large, max_waiting_bytes
        self._receive_max = self._largest_bytes = 0
        self._waiting: deque[Message] = deque()
        self._waiting_bytes = 0
        self._sent: set[int] = set()  # packet ids without a PUBACK
        self._last_id = 0

    def __len__(self) -> int:
        """How many the broker has not confirmed."""
        return len(self._waiting) + len(self._sent)

    def allow(self, receive_max: int, largest_bytes: int) -> None:
        """The broker's terms: messages on their way at once, at most 65535; bytes of a packet."""
        self._receive_max, self._largest_bytes = receive_max, largest_bytes

    def put(self, message: Message) -> bool:
        """Whether there is room for it."""
        size = self._waiting_bytes + len(message.payload) + OVERHEAD_BYTES
        if size > self._max_waiting_bytes:
            return False
        self._waiting.append(message)
        self._waiting_bytes = size
        return True

    def take(self, size_bytes: int) -> bytes:
        """Packets to be sent now, in order, little more than so many bytes; b"" when there are none, or may be none."""
        packets: list[bytes] = []
        size = 0
        while self._waiting and len(self._sent) < self._receive_max and size < size_bytes:
            message = self._waiting.popleft()
            self._waiting_bytes -= len(message.payload) + OVERHEAD_BYTES
            number = self.next_id()
            packet = mqtt5.PublishPacket(
                message.topic,
                message.payload,
                qos=mqtt5.QoS.AT_LEAST_ONCE,
                packet_id=number,
                correlation_data=message.correlation,
            ).write()
            if len(packet) > self._largest_bytes:
                limit = self._largest_bytes
                self._on_too_large(f"a message of {len(packet)} bytes to {message.topic}; the broker takes {limit}")
                continue
            self._sent.add(number)
            packets.append(packet)
            size += len(packet)
        return b"".join(packets)

    def confirm(self, packet_id: int) -> None:
        """The broker has answered to it."""
        self._sent.discard(packet_id)

    def next_id(self) -> int:
        """A packet id that is not in use."""
        self._last_id = self._last_id % _MAX_ID + 1
        while self._last_id in self._sent:
            self._last_id = self._last_id % _MAX_ID + 1
        return self._last_id
