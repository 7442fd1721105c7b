"""MQTT 5 packets come out of the buffer whatever way the bytes were cut, and nothing but MalformedError is raised."""

import mqtt5
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge_agent.core.packets import LARGEST_PACKET_BYTES, MESSAGE_OVERHEAD_BYTES, MalformedError, PacketBuffer, Publish

MANY, MUCH = 10_000, 1 << 30

publishes = st.builds(
    lambda topic, payload, number, again: mqtt5.PublishPacket(
        topic,
        payload,
        qos=mqtt5.QoS.AT_LEAST_ONCE if number else mqtt5.QoS.AT_MOST_ONCE,
        packet_id=number or None,
        duplicate=again and number > 0,
    ),
    st.text("abc/äß", min_size=1, max_size=20),
    st.binary(max_size=300),
    st.integers(0, 65_535),
    st.booleans(),
)
others = st.sampled_from([mqtt5.PingRespPacket(), mqtt5.ConnAckPacket(), mqtt5.UnsubAckPacket(7, [])])


def put(buffer: PacketBuffer, content: bytes) -> None:
    """As a socket does: as much as there is room for."""
    while content:
        room = buffer.room()
        part, content = content[: len(room)], content[len(room) :]
        room[: len(part)] = part
        buffer.wrote(len(part))
        if content and len(part) == len(room):
            return  # the reader's turn


def read_all(buffer: PacketBuffer) -> list[Publish | str]:
    found: list[Publish | str] = []
    while True:
        messages, other = buffer.read(MANY, MUCH)
        found += messages
        if other is not None:
            found.append(type(other).__name__)
        elif not messages:
            return found


def expected(packets: list[mqtt5.Packet]) -> list[Publish | str]:
    return [
        (p.topic, p.payload, p.packet_id or 0, p.duplicate) if isinstance(p, mqtt5.PublishPacket) else type(p).__name__
        for p in packets
    ]


@given(st.lists(publishes | others, max_size=20), st.lists(st.integers(1, 50), min_size=1))
def test_packets_keep_content_and_order_however_the_bytes_are_cut(
    packets: list[mqtt5.Packet], sizes: list[int]
) -> None:
    content, buffer = b"".join(packet.write() for packet in packets), PacketBuffer()
    found: list[Publish | str] = []
    position = turn = 0
    while position < len(content):
        size = sizes[turn % len(sizes)]
        put(buffer, content[position : position + size])
        found += read_all(buffer)
        position, turn = position + size, turn + 1
    assert found == expected(packets)


@given(st.lists(publishes, min_size=1, max_size=30), st.integers(1, 5), st.integers(1, 2000))
def test_a_read_ends_at_its_bounds_and_the_rest_comes_with_the_next(
    packets: list[mqtt5.PublishPacket], messages: int, size_bytes: int
) -> None:
    buffer = PacketBuffer()
    put(buffer, b"".join(packet.write() for packet in packets))
    found: list[Publish | str] = []
    while part := buffer.read(messages, size_bytes)[0]:
        assert len(part) <= messages
        assert sum(len(payload) + MESSAGE_OVERHEAD_BYTES for _, payload, _, _ in part[:-1]) < size_bytes
        found += part
    assert found == expected(list(packets))


def test_a_packet_larger_than_the_buffer_is_read_and_the_buffer_shrinks_again() -> None:
    payload = bytes(5_000_000)
    content = mqtt5.PublishPacket("a", payload).write()
    buffer, usual = PacketBuffer(), len(PacketBuffer().room())
    while content:
        room = buffer.room()
        part, content = content[: len(room)], content[len(room) :]
        room[: len(part)] = part
        buffer.wrote(len(part))
        messages, _ = buffer.read(MANY, MUCH)
    assert messages == [("a", payload, 0, False)]
    assert len(buffer.room()) == usual


def test_a_packet_larger_than_connect_allowed_is_refused_before_it_fills_the_memory() -> None:
    buffer = PacketBuffer()
    buffer.room()[:5] = b"\x30\xff\xff\xff\x7f"  # 256 MiB
    buffer.wrote(5)
    taken = 5

    def fill() -> None:
        nonlocal taken
        while buffer.read(MANY, MUCH) == ([], None):
            room = len(buffer.room())
            buffer.wrote(room)
            taken += room

    with pytest.raises(MalformedError, match="CONNECT ruled out"):
        fill()
    assert taken <= 2 * LARGEST_PACKET_BYTES


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the codec's panic
@settings(deadline=None)  # which prints at length
@given(st.binary(max_size=200))
@example(b"\x32\x06\x00\x01\xff\x00\x01\x00")  # a topic that is no UTF-8: the codec panics
@example(b"\x34\x06\x00\x01a\x00\x01\x00")  # QoS 2
def test_no_bytes_raise_anything_but_malformed(content: bytes) -> None:
    buffer = PacketBuffer()
    put(buffer, content)
    try:
        read_all(buffer)
    except MalformedError:
        return


@given(st.lists(publishes, min_size=1, max_size=5))
def test_what_came_before_a_malformed_packet_is_still_read(packets: list[mqtt5.PublishPacket]) -> None:
    buffer = PacketBuffer()
    put(buffer, b"".join(packet.write() for packet in packets) + b"\x00\x00")
    assert buffer.read(MANY, MUCH)[0] == expected(list(packets))
    with pytest.raises(MalformedError, match="begins with 0000"):
        buffer.read(MANY, MUCH)


def test_what_the_broker_says_of_itself_is_no_message() -> None:
    buffer = PacketBuffer()
    put(buffer, mqtt5.PublishPacket("$SYS/broker/x", b"1").write() + mqtt5.PublishPacket("$other", b"2").write())
    messages, other = buffer.read(MANY, MUCH)
    assert messages == []
    assert isinstance(other, mqtt5.PublishPacket)
    assert buffer.read(MANY, MUCH)[0] == [("$other", b"2", 0, False)]
