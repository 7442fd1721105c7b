"""One suite for every kind of sensor link, against a real Mosquitto, and against servers that lie."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from edge_agent.adapters import link_stream
from edge_agent.core.intake import Message
from edge_agent.core.packets import MESSAGE_OVERHEAD_BYTES
from edge_agent.ports import SensorLink
from tests.agents import eventually
from tests.links import (
    CLIENT_ID,
    KINDS,
    PLAIN,
    FakeServer,
    LinkBroker,
    make_certificates,
    make_link,
    numbered,
    payloads,
    publish,
    started,
    take_count,
    take_rest,
    take_until,
    words,
)
from tests.servers import Mosquitto

EACH = pytest.mark.parametrize("kind", KINDS)
EACH_PLAIN = pytest.mark.parametrize("kind", PLAIN)
EACH_V5 = pytest.mark.parametrize("kind", ["lean", "paho-5"])
Make = Callable[..., LinkBroker]
SENT_S = 0.1  # for what must not be sent
TELLS_ALL = "log_type all"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)
    return folder


@pytest.fixture
def make_broker(mosquitto: Mosquitto, certificates: Path, tmp_path: Path) -> Iterator[Make]:
    """Starts a broker of the test's own."""
    del mosquitto  # it says whether there is one on this machine
    with ExitStack() as brokers:

        def make(*lines: str, persistence: bool = False) -> LinkBroker:
            broker = LinkBroker(tmp_path, lines=lines, certificates=certificates, persistence=persistence)
            return brokers.enter_context(broker)

        yield make


def acknowledge(link: SensorLink, messages: list[Message], broker: LinkBroker) -> None:
    """Returns when the broker has read it: of a connection that ends, it forgets what it has not read."""
    log, said = broker.folder / "log", f"Received PUBACK from {CLIENT_ID} "
    wanted = log.read_text().count(said) + len(messages)
    link.acknowledge(messages)
    eventually(lambda: log.read_text().count(said) >= wanted, "the broker knows it")


@EACH
def test_messages_come_in_order_with_ascending_stamps(kind: str, make_broker: Make) -> None:
    broker = make_broker()
    with started(make_link(kind, broker.settings(kind))) as link:
        publish(broker.port, numbered(600))
        found = take_count(link, 600, acknowledging=True)
    assert payloads(found) == numbered(600)
    stamps = [message.arrival_ns for message in found]
    assert stamps == sorted(set(stamps))
    assert all(message.packet_id > 0 and not message.is_again for message in found)


@EACH_PLAIN
def test_what_is_not_acknowledged_comes_again_and_nothing_else_does(kind: str, make_broker: Make) -> None:
    broker = make_broker(TELLS_ALL)
    with started(make_link(kind, broker.settings(kind))) as link:
        publish(broker.port, numbered(50))
        first = take_count(link, 50)
        acknowledge(link, first[:20], broker)
        link.reconnect()
        again = take_count(link, 30)
        assert payloads(again) == numbered(30, first=20)
        assert all(message.is_again for message in again)
        assert [message.packet_id for message in again] == [message.packet_id for message in first[20:]]
        acknowledge(link, again, broker)
        link.reconnect()
        assert take_rest(link) == []


@EACH_PLAIN
def test_an_acknowledgement_of_an_older_connection_confirms_nothing_of_a_new_one(kind: str, make_broker: Make) -> None:
    broker = make_broker()
    with capture_logs() as logs, started(make_link(kind, broker.settings(kind))) as link:
        publish(broker.port, numbered(5))
        old = take_count(link, 5)
        broker.restart()  # kill -9 without persistence: the session is lost, and packet ids begin again
        take_until(link, lambda _: link.is_connected and "lost the session" in words(logs))
        publish(broker.port, numbered(5, first=100))
        new = take_count(link, 5)
        assert [message.packet_id for message in new] == [message.packet_id for message in old]
        assert not any(message.is_again for message in new)
        link.acknowledge(old)
        link.take(SENT_S)
        link.reconnect()
        assert payloads(take_count(link, 5)) == numbered(5, first=100)


@EACH_PLAIN
def test_a_restart_of_a_broker_with_persistence_in_good_order_keeps_everything(kind: str, make_broker: Make) -> None:
    broker = make_broker(TELLS_ALL, persistence=True)
    with started(make_link(kind, broker.settings(kind))) as link:
        publish(broker.port, numbered(40))
        acknowledge(link, take_count(link, 40)[:10], broker)
        broker.stop()
        broker.start()
        again = take_count(link, 30)
    assert payloads(again) == numbered(30, first=10)
    assert all(message.is_again for message in again)


@EACH_PLAIN
def test_unacknowledged_bytes_are_bounded_and_everything_arrives(kind: str, make_broker: Make) -> None:
    broker = make_broker()
    size = 1000
    with started(make_link(kind, broker.settings(kind), unacked_bytes=20_000)) as link:
        publish(broker.port, [b"x" * size] * 300)
        held = take_rest(link)
        assert len(held) * (size + MESSAGE_OVERHEAD_BYTES) <= 20_000 + 2 * (size + MESSAGE_OVERHEAD_BYTES)
        for _ in range(3):
            link.keep_alive()
        link.acknowledge(held)
        assert len(held) + len(take_count(link, 300 - len(held), acknowledging=True)) == 300


@EACH_PLAIN
def test_a_broker_that_allows_few_messages_in_flight_does_not_stall(kind: str, make_broker: Make) -> None:
    broker = make_broker("max_inflight_messages 20")
    with capture_logs() as logs, started(make_link(kind, broker.settings(kind))) as link:
        publish(broker.port, numbered(300))
        assert payloads(take_count(link, 300, acknowledging=True)) == numbered(300)
        link.reconnect()
        take_until(link, lambda _: words(logs).count("connected to the sensor broker") == 2)
    if kind != "paho-3.1.1":  # its CONNACK says nothing
        assert words(logs).count("set max_inflight_messages 1000") == 1


@EACH_V5
def test_a_message_larger_than_any_buffer_arrives_among_small_ones(kind: str, make_broker: Make) -> None:
    broker = make_broker()
    large = bytes(range(256)) * 12_000
    with started(make_link(kind, broker.settings(kind))) as link:
        publish(broker.port, [b"before", large, b"behind"])
        assert payloads(take_count(link, 3, acknowledging=True)) == [b"before", large, b"behind"]


@EACH_V5
def test_dropped_messages_are_said_when_the_broker_counts_them(kind: str, make_broker: Make) -> None:
    broker = make_broker("max_inflight_messages 20", "max_queued_messages 10", "sys_interval 1")
    with started(make_link("lean", broker.settings("lean"), client_id="away"), filters=["away"]):
        pass  # its session stays
    with capture_logs() as logs, started(make_link(kind, broker.settings(kind))) as link:

        def is_said(_: object) -> bool:
            publish(broker.port, numbered(20), "away")
            return "error: the sensor broker has dropped messages" in words(logs)

        assert take_until(link, is_said) == []


@pytest.mark.parametrize("kind", ["lean", "paho-3.1.1"])
def test_a_second_client_with_the_same_id_is_named_clearly(kind: str, make_broker: Make) -> None:
    broker, stop = make_broker(), threading.Event()

    def live() -> None:
        with started(make_link(kind, broker.settings(kind)), is_connecting=False) as other:
            while not stop.is_set():
                other.take(0.05)

    other = threading.Thread(target=live)
    with capture_logs() as logs, started(make_link(kind, broker.settings(kind))) as link:
        other.start()
        try:
            take_until(link, lambda _: f"client uses the id {CLIENT_ID}" in words(logs))
        finally:
            stop.set()
            other.join()
    said = next(line for line in logs if CLIENT_ID in line["event"])
    assert said["log_level"] == "error"
    assert "two agents must not share site and gateway" in said["event"]
    assert said["again_in_s"] >= 15


@EACH_PLAIN
def test_what_was_acknowledged_right_before_the_stop_does_not_come_again(kind: str, make_broker: Make) -> None:
    broker = make_broker()
    with started(make_link(kind, broker.settings(kind))) as link:
        publish(broker.port, numbered(400))
        link.acknowledge(take_count(link, 400)[:200])
    # A connection that takes the place of one still open makes the broker forget what it has not read of that one.
    eventually(lambda: f"Client {CLIENT_ID} disconnected" in (broker.folder / "log").read_text(), "the broker let go")
    with started(make_link(kind, broker.settings(kind)), is_connecting=False) as link:
        assert payloads(take_count(link, 200) + take_rest(link)) == numbered(200, first=200)


@EACH_PLAIN
def test_a_refused_connection_is_an_error_with_its_cure(kind: str, make_broker: Make) -> None:
    broker = make_broker("allow_anonymous false")
    with capture_logs() as logs, started(make_link(kind, broker.settings(kind)), is_connecting=False) as link:
        take_until(link, lambda _: "error: the sensor broker refuses the connection" in words(logs))
        assert not link.is_connected
    assert "access rules" in words(logs) or "user" in words(logs)


@EACH_PLAIN
def test_subscriptions_of_the_life_before_end_with_its_topics(kind: str, make_broker: Make) -> None:
    broker = make_broker()
    with started(make_link(kind, broker.settings(kind)), filters=["old/+"]):
        pass
    link = make_link(kind, broker.settings(kind))
    link.start(["new/+"], ["old/+"])
    try:
        take_until(link, lambda _: link.is_connected)
        publish(broker.port, [b"unwanted"], topic="old/a")
        publish(broker.port, [b"wanted"], topic="new/a")
        assert payloads(take_count(link, 1) + take_rest(link)) == [b"wanted"]
    finally:
        link.stop()


@EACH_PLAIN
def test_filters_are_replaced_at_run_time(kind: str, make_broker: Make) -> None:
    broker = make_broker()
    with started(make_link(kind, broker.settings(kind)), filters=["a/+", "b/+"]) as link:
        other = threading.Thread(target=link.subscribe, args=[["b/+", "c/+"]])
        other.start()
        other.join()

        def is_subscribed(found: list[Message]) -> bool:
            publish(broker.port, [b""], "c/x")
            return bool(found)

        link.acknowledge(take_until(link, is_subscribed))
        for topic in ("a/x", "b/x", "c/x"):
            publish(broker.port, [topic.encode()], topic)
        found = take_until(link, lambda found: b"c/x" in payloads(found)) + take_rest(link)
        assert [payload for payload in payloads(found) if payload] == [b"b/x", b"c/x"]


@EACH_PLAIN
def test_the_listening_clock_stands_still_while_there_is_no_broker(kind: str, make_broker: Make) -> None:
    broker = make_broker()
    with started(make_link(kind, broker.settings(kind))) as link:
        take_until(link, lambda _: link.listened_ns > 0)
        broker.kill()
        take_until(link, lambda _: not link.is_connected)
        before_ns = link.listened_ns
        take_rest(link)
        assert link.listened_ns == before_ns


@pytest.mark.parametrize("kind", ["lean-tls", "paho-5-tls"])
def test_a_peer_that_never_answers_the_tls_handshake_is_given_up(
    kind: str, make_broker: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_stream, "CONNECT_S", 0.3)
    settings = make_broker().settings(kind)
    with FakeServer(b"") as server, capture_logs() as logs:
        link = make_link(kind, settings.model_copy(update={"port": server.port}))
        with started(link, is_connecting=False):
            take_until(link, lambda _: "the sensor broker cannot be reached" in words(logs))


@pytest.mark.parametrize("kind", ["lean-tls", "paho-5-tls"])
def test_a_certificate_that_is_not_to_be_trusted_is_an_error_with_its_cure(kind: str, make_broker: Make) -> None:
    settings = make_broker().settings(kind).model_copy(update={"ca_file": None})
    with capture_logs() as logs, started(make_link(kind, settings), is_connecting=False) as link:
        take_until(link, lambda _: "certificate is not to be trusted" in words(logs))
    assert "sensor_broker.ca_file" in words(logs)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("kind", ["paho-5", "paho-3.1.1"])
def test_a_network_thread_that_died_is_noticed_and_started_again(kind: str, make_broker: Make) -> None:
    broker = make_broker()
    with capture_logs() as logs, started(make_link(kind, broker.settings(kind))) as link:

        def fail(*_: object) -> None:
            raise SystemExit

        link._client.on_message = fail  # type: ignore[attr-defined] # noqa: SLF001 - nothing else ends that thread
        publish(broker.port, numbered(1))
        take_until(link, lambda _: "the network thread of the sensor link had died" in words(logs))
        link._client.on_message = link._on_message  # type: ignore[attr-defined] # noqa: SLF001
        assert payloads(take_count(link, 1)) == numbered(1)
