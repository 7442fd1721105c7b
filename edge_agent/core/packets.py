"""MQTT 5 packets out of a stream of bytes: the hot loop of the lean link.

The bytes lie in one buffer; a packet is parsed in place and a partial one waits at its end for the rest. PUBLISH
packets come out as plain tuples, in one list, because a tuple is all that a message needs; every other packet, and
what the broker says of itself under $SYS, ends the list, so that messages and control packets keep their order.

Pure: bytes in, packets out.
"""

import mqtt5

LARGEST_PACKET_BYTES = 32 * 1024 * 1024  # to be said in CONNECT: a larger one would come again for ever
MESSAGE_OVERHEAD_BYTES = 200  # what a small message costs besides its payload
COMMIT_MESSAGES, COMMIT_BYTES = 5000, 4 * 1024 * 1024  # handed over at once: a flood is cut, so that commits stay small
_BUFFER_BYTES = 1024 * 1024
_DUPLICATE, _QOS, _QOS_1 = 0x08, 0x06, 0x02  # bits of a PUBLISH's first byte

# topic, payload, packet id (0 = QoS 0), whether it may have come before
Publish = tuple[str, bytes, int, bool]


class MalformedError(Exception):
    """The broker sent what is no MQTT 5, or what was not asked for: the connection cannot go on."""


class PacketBuffer:
    """Between `room`, which the socket fills, and `read`."""

    def __init__(self) -> None:
        self._bytes = memoryview(bytearray(_BUFFER_BYTES))
        self._begin = self._end = 0

    def clear(self) -> None:
        """Another connection: what lies here means nothing any more."""
        self._bytes = memoryview(bytearray(_BUFFER_BYTES))
        self._begin = self._end = 0

    def room(self) -> memoryview:
        """Where the next bytes go; never empty. `wrote` says how many they were. Raises MalformedError."""
        rest = self._bytes[self._begin : self._end]
        size = _BUFFER_BYTES
        if len(rest) == len(self._bytes):
            if len(self._bytes) > LARGEST_PACKET_BYTES:
                raise MalformedError(f"a packet of more than {LARGEST_PACKET_BYTES} bytes, which CONNECT ruled out")
            size = 2 * len(self._bytes)
        if size > len(self._bytes) or (size < len(self._bytes) and not rest):
            larger = memoryview(bytearray(size))
            larger[: len(rest)] = rest
            self._bytes = larger
        else:
            self._bytes[: len(rest)] = rest
        self._begin, self._end = 0, len(rest)
        return self._bytes[self._end :]

    def wrote(self, count: int) -> None:
        """So many bytes were put into the room."""
        self._end += count

    def read(self, messages: int, size_bytes: int) -> tuple[list[Publish], mqtt5.Packet | None]:
        """What is complete: messages, at most so many and little more than so large, up to the next other packet.

        ([], None) = more bytes are needed. Raises MalformedError; the packets before it came with earlier calls.
        """
        found: list[Publish] = []
        view, begin, end = self._bytes, self._begin, self._end
        read, publish = mqtt5.read, mqtt5.PublishPacket
        other: mqtt5.Packet | None = None
        try:
            while len(found) < messages and size_bytes > 0:
                packet, length = read(view[begin:end])
                if type(packet) is not publish:
                    begin += length
                    other = packet
                    break
                flags = view[begin]
                if flags & _QOS != _QOS_1:
                    if flags & _QOS:
                        raise MalformedError("a message of QoS 2, which was not subscribed to")  # noqa: TRY301 - see below
                    if packet.topic.startswith("$SYS/"):
                        begin += length
                        other = packet
                        break
                payload = packet.payload
                found.append((packet.topic, payload, packet.packet_id or 0, flags & _DUPLICATE != 0))
                size_bytes -= len(payload) + MESSAGE_OVERHEAD_BYTES
                begin += length
        except IndexError:
            pass  # the rest is still to come
        except BaseException as error:
            # The codec panics, beside all Exceptions, where a text is no UTF-8. What came before is still good.
            if not isinstance(error, ValueError | MalformedError) and type(error).__name__ != "PanicException":
                raise
            if not found:
                raise MalformedError(f"a packet that begins with {view[begin : begin + 16].hex()}: {error}") from error
        self._begin = begin
        return found, other
