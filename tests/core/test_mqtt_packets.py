"""MQTT 5 of the aggregator without a socket: bytes cut anywhere, and what is on its way to the broker."""

from itertools import pairwise

import mqtt5
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.core.outgoing import OVERHEAD_BYTES, Message, Outgoing
from aggregator.core.packets import MalformedError, PacketStream
from tests.scripted_broker import CONNACK, RECEIPT, publish


def drawn(stream: PacketStream, pieces: list[bytes]) -> tuple[list[str], bool]:
    """What came out, and whether it went on to the end."""
    found: list[str] = []
    try:
        for piece in pieces:
            for packet in stream.feed(piece):
                found.append(repr(packet))  # noqa: PERF401 - what came before a fault counts
    except MalformedError:
        return found, False
    return found, True


def cut(content: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(place % (len(content) + 1) for place in places), len(content)]
    return [content[begin:end] for begin, end in pairwise(bounds)]


good = st.one_of(
    st.builds(publish, st.integers(1, 65_535), st.binary(max_size=300)),
    st.builds(lambda number: mqtt5.PubAckPacket(number).write(), st.integers(1, 65_535)),
    st.just(CONNACK),
    st.just(mqtt5.PingRespPacket().write()),
    st.just(mqtt5.DisconnectPacket(reason_code=mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER).write()),
)


@given(st.lists(st.one_of(good, good, good, st.binary(max_size=8))), st.lists(st.integers(0), max_size=20))
def test_the_same_packets_and_the_same_end_come_however_the_bytes_are_cut(
    parts: list[bytes], places: list[int]
) -> None:
    content = b"".join(parts)
    single = [content[i : i + 1] for i in range(len(content))]
    assert drawn(PacketStream(), cut(content, places)) == drawn(PacketStream(), [content])
    assert drawn(PacketStream(), single) == drawn(PacketStream(), [content])


@given(st.lists(good))
def test_all_that_was_written_is_read(parts: list[bytes]) -> None:
    found, is_good = drawn(PacketStream(), [b"".join(parts)])
    assert (found, is_good) == ([repr(mqtt5.read(memoryview(part))[0]) for part in parts], True)


def test_a_large_packet_in_small_pieces_comes_out_whole() -> None:
    content = publish(1, bytes(8_000_000)) + publish(2)
    pieces = [content[i : i + 500] for i in range(0, len(content), 500)]
    found = [packet for stream in [PacketStream()] for piece in pieces for packet in stream.feed(piece)]
    assert [len(packet.payload) for packet in found if isinstance(packet, mqtt5.PublishPacket)] == [8_000_000, 1]


def test_a_packet_larger_than_was_allowed_is_not_even_waited_for() -> None:
    with pytest.raises(MalformedError, match="more than the 1000"):
        list(PacketStream(1000).feed(publish(1, bytes(2000))[:10]))


@given(st.integers(1, 7), st.lists(st.one_of(st.just(None), st.integers(0, 6)), max_size=200))
def test_never_more_than_the_broker_allows_is_on_its_way_and_all_goes_in_order(
    most: int, acts: list[int | None]
) -> None:
    outgoing = Outgoing(lambda _: pytest.fail("nothing is too large"))
    outgoing.allow(most, 10_000)
    stream, on_way, sent, put = PacketStream(), list[int](), list[bytes](), 0

    def take() -> None:
        for packet in stream.feed(outgoing.take(100)):
            assert isinstance(packet, mqtt5.PublishPacket)
            assert packet.packet_id is not None
            assert packet.packet_id not in on_way
            on_way.append(packet.packet_id)
            sent.append(packet.payload)
        assert len(on_way) <= most
        assert len(outgoing) == put - len(sent) + len(on_way)

    for act in acts:
        if act is None:
            outgoing.put(Message(RECEIPT, str(put).encode(), None))
            put += 1
        elif on_way:
            outgoing.confirm(on_way.pop(act % len(on_way)))
        take()
    while len(outgoing):
        outgoing.confirm(on_way.pop())
        take()
    assert sent == [str(i).encode() for i in range(put)]


def test_an_id_in_use_is_passed_over_when_the_count_begins_again() -> None:
    outgoing = Outgoing(lambda _: None)
    outgoing.allow(2, 1000)
    outgoing.put(Message(RECEIPT, b"", None))
    assert outgoing.take(1)
    assert {outgoing.next_id() for _ in range(100_000)} == set(range(2, 65_536))


def test_what_waits_for_the_broker_is_bounded_in_bytes() -> None:
    outgoing = Outgoing(lambda _: None, max_waiting_bytes=10 * (100 + OVERHEAD_BYTES))
    taken = [outgoing.put(Message(RECEIPT, bytes(100), None)) for _ in range(12)]
    assert (taken, len(outgoing)) == ([True] * 10 + [False] * 2, 10)
