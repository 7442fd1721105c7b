"""MQTT 5 packets out of a stream of bytes, however it is cut.

Rules
1. The codec is shown exactly one whole packet: if it wants more bytes, the packet is at fault and not the cut. What
   no packet begins with is known by its first byte; the end of it is not waited for.
2. A packet's beginning waits in one buffer that grows in place, and is not looked at before the end is there: large
   packets in small pieces cost no more than their bytes.

Pure: bytes in, packets out.
"""

from collections.abc import Iterator

import mqtt5

LARGEST_BYTES = 32 * 1024 * 1024  # of a packet; to be said in CONNECT, so that a broker holds back what is larger
_FIRST_BYTES = frozenset(
    (*range(0x30, 0x40), 0x10, 0x20, 0x40, 0x50, 0x62, 0x70, 0x82, 0x90, 0xA2, 0xB0, 0xC0, 0xD0, 0xE0, 0xF0)
)


class MalformedError(Exception):
    """What came is no MQTT 5, or nothing that may come now: the connection cannot go on."""


class PacketStream:
    """What one connection receives."""

    def __init__(self, largest_bytes: int = LARGEST_BYTES) -> None:
        self._largest_bytes = largest_bytes
        self._rest = bytearray()
        self._needed = 0  # bytes in `_rest` before another look is worth it

    def feed(self, data: bytes) -> Iterator[mqtt5.Packet]:
        """The packets that are complete now; to be drawn to the end before more is fed.

        Raises MalformedError behind the last good packet; nothing more can be read from this stream then.
        """
        content: bytes | bytearray = data
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return
            content = self._rest
        view, begin = memoryview(content), 0
        while begin < len(view):
            size = _size(view, begin)
            if size > self._largest_bytes:
                raise MalformedError(
                    f"a packet of {size} bytes, more than the {self._largest_bytes} that CONNECT allows"
                )
            if size > len(view) - begin:
                self._needed = size
                break
            yield _packet(view[begin : begin + size])
            begin += size
        self._rest = bytearray(view[begin:])


def _size(view: memoryview, begin: int) -> int:
    """Bytes of the packet that begins there; while its header is not whole, one more than there are."""
    if view[begin] not in _FIRST_BYTES:
        raise MalformedError(f"what is no packet: {view[begin : begin + 16].hex()}")
    size = 0
    for place in range(1, 5):
        if begin + place >= len(view):
            return place + 1
        byte = view[begin + place]
        size |= (byte & 0x7F) << 7 * (place - 1)
        if byte < 0x80:
            return size + place + 1
    raise MalformedError("a packet whose length has no end")


def _packet(whole: memoryview) -> mqtt5.Packet:
    try:
        return mqtt5.read(whole)[0]
    except BaseException as error:
        # where a text is no UTF-8 the codec panics, which is no Exception
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise MalformedError(f"a packet that begins with {whole[:16].hex()}: {error}") from error
        raise
