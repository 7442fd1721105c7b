"""Every kind of sensor link against servers that lie, break off or fall silent."""

import threading

import mqtt5
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from edge_agent.config import SensorBroker
from tests.links import (
    CLIENT_ID,
    CONNACK,
    FILTER,
    FakeServer,
    make_link,
    payloads,
    started,
    take_count,
    take_until,
    words,
)

EACH_V5 = pytest.mark.parametrize("kind", ["lean", "paho-5"])


@EACH_V5
def test_a_takeover_that_the_broker_names_is_said_at_once(kind: str) -> None:
    taken = mqtt5.DisconnectPacket(reason_code=mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER).write()
    with (
        FakeServer(CONNACK + taken) as server,
        capture_logs() as logs,
        started(make_link(kind, SensorBroker(port=server.port)), is_connecting=False) as link,
    ):
        take_until(link, lambda _: f"error: another client uses the id {CLIENT_ID}" in words(logs))
    assert server.accepted == 1


MALFORMED = {
    "no packet": b"\x00\x00\x00",
    "a topic longer than its packet": b"\x32\x02\x00\x09",
    "a message of QoS 3": b"\x36\x06\x00\x01a\x00\x01\x00",
    "a length without end": b"\x30\xff\xff\xff\xff\x01",
}


@EACH_V5
@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_bytes_end_the_connection_and_not_the_link(kind: str, name: str) -> None:
    good = CONNACK + mqtt5.PublishPacket("factory/a/b/c", b"good").write()
    with (
        FakeServer(CONNACK + MALFORMED[name], good, CONNACK, closes=True) as server,
        started(make_link(kind, SensorBroker(port=server.port)), is_connecting=False) as link,
    ):
        assert payloads(take_count(link, 1)) == [b"good"]


@EACH_V5
def test_a_broker_that_falls_silent_is_left_by_the_keep_alive_time_that_it_set(kind: str) -> None:
    silent = mqtt5.ConnAckPacket(server_keep_alive=1).write()
    with (
        FakeServer(silent) as server,
        started(make_link(kind, SensorBroker(port=server.port, keepalive_s=3600)), is_connecting=False) as link,
    ):
        take_until(link, lambda _: server.accepted == 2)


@EACH_V5
@pytest.mark.parametrize("answer", [b"", CONNACK], ids=["before CONNACK", "behind CONNACK"])
def test_stop_does_not_wait_for_a_silent_broker(kind: str, answer: bytes) -> None:
    with FakeServer(answer) as server, capture_logs() as logs:
        link = make_link(kind, SensorBroker(port=server.port))
        link.start([FILTER])
        take_until(link, lambda _: server.accepted == 1 and bool(answer) == ("info: connected" in words(logs)))
        stopping = threading.Thread(target=link.stop, daemon=True)
        stopping.start()
        stopping.join(10)
        assert not stopping.is_alive()


@EACH_V5
def test_a_refused_subscription_is_an_error_that_names_the_filter(kind: str) -> None:
    refused = [mqtt5.SubAckPacket(n, [mqtt5.SubAckReasonCode.NOT_AUTHORIZED]).write() for n in (1, 2)]
    with (
        FakeServer(CONNACK) as server,
        capture_logs() as logs,
        started(make_link(kind, SensorBroker(port=server.port)), is_connecting=False) as link,
    ):
        take_until(link, lambda _: "connected to the sensor broker" in words(logs))
        link.take(0)  # the lean one asks for its filters in it
        assert FILTER.encode() in server.hear()
        server.say(b"".join(refused))
        take_until(link, lambda _: "refuses a subscription" in words(logs))
        assert not link.is_connected
    assert [line["filter"] for line in logs if "refuses a subscription" in line["event"]] == [FILTER]


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=100), st.booleans())
def test_no_bytes_of_a_broker_ever_raise_out_of_the_lean_link(content: bytes, is_accepted: bool) -> None:
    answer = CONNACK + content if is_accepted else content or b"\x00"
    with FakeServer(answer, closes=True) as server, capture_logs():
        link = make_link("lean", SensorBroker(port=server.port))
        with started(link, is_connecting=False):
            take_until(link, lambda _: server.accepted > 0)
            for _ in range(3):
                link.acknowledge(link.take(0))
            link.keep_alive()
