"""A link that is a Sparkplug host application, against a real Mosquitto: its state, its will, its clean start."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.ports import SensorLink
from tests.agents import eventually
from tests.links import PLAIN, LinkBroker, make_link, publish, started, take_count, take_rest, take_until
from tests.servers import Mosquitto

EACH = pytest.mark.parametrize("kind", PLAIN)
STATE = "spBv1.0/STATE/tocsin"


class Observer:
    """What an edge node would see of the host's state."""

    def __init__(self, port: int) -> None:
        self.seen: list[tuple[dict[str, Any], bool]] = []  # content, whether it was retained
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)
        self._client.subscribe(STATE, 1)
        self._client.loop_start()

    def _on_message(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        self.seen.append((json.loads(message.payload), message.retain))

    @property
    def last(self) -> dict[str, Any]:
        return self.seen[-1][0] if self.seen else {}

    def deny(self) -> None:
        self._client.publish(STATE, b'{"online":false,"timestamp":1}', qos=1, retain=True)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def broker(mosquitto: Mosquitto, tmp_path: Path) -> Iterator[LinkBroker]:
    del mosquitto  # it says whether there is one on this machine
    with LinkBroker(tmp_path) as server:
        yield server


@pytest.fixture
def observer(broker: LinkBroker) -> Iterator[Observer]:
    found = Observer(broker.port)
    yield found
    found.close()


def host(kind: str, broker: LinkBroker) -> SensorLink:
    return make_link(kind, broker.settings(kind).model_copy(update={"sparkplug_host_id": "tocsin"}))


def take_till_seen(link: SensorLink, observer: Observer, *, is_online: bool) -> dict[str, Any]:
    found = take_until(link, lambda _: observer.last.get("online") is is_online)
    assert found == []  # its own state is no message of a sensor
    return observer.last


@EACH
def test_a_host_says_when_it_comes_and_when_it_goes(kind: str, broker: LinkBroker, observer: Observer) -> None:
    with started(host(kind, broker)) as link:
        online = take_till_seen(link, observer, is_online=True)
        assert set(online) == {"online", "timestamp"}
        late = Observer(broker.port)
        take_until(link, lambda _: bool(late.seen))
        late.close()
        assert late.seen == [(online, True)]
    eventually(lambda: observer.last == {"online": False, "timestamp": online["timestamp"]}, "offline")


@EACH
def test_a_host_that_vanishes_is_gone_by_its_will_and_comes_back_with_a_later_time(
    kind: str, broker: LinkBroker, observer: Observer
) -> None:
    with started(host(kind, broker)) as link:
        first = take_till_seen(link, observer, is_online=True)["timestamp"]
        with started(host(kind, broker)) as other:  # it takes over the connection: the broker publishes the will
            take_until(other, lambda _: observer.last.get("timestamp", 0) > first and bool(observer.last["online"]))
        assert {"online": False, "timestamp": first} in [content for content, _ in observer.seen]


@EACH
def test_a_host_that_is_said_to_be_gone_contradicts_with_the_time_of_its_birth(
    kind: str, broker: LinkBroker, observer: Observer
) -> None:
    with started(host(kind, broker)) as link:
        online = take_till_seen(link, observer, is_online=True)
        observer.deny()
        take_until(link, lambda _: len([1 for content, _ in observer.seen if content == online]) == 2)
        assert observer.last == online


@EACH
def test_a_host_starts_clean_and_a_listener_does_not(kind: str, broker: LinkBroker) -> None:
    with started(make_link(kind, broker.settings(kind))):
        pass
    publish(broker.port, [b"waits"])
    with started(make_link(kind, broker.settings(kind)), is_connecting=False) as listener:
        assert [message.payload for message in take_count(listener, 1, acknowledging=True)] == [b"waits"]
    publish(broker.port, [b"is lost"])
    with started(host(kind, broker)) as link:
        assert take_rest(link) == []


@EACH
def test_a_link_publishes_while_it_is_connected_and_says_when_it_is_not(kind: str, broker: LinkBroker) -> None:
    link = make_link(kind, broker.settings(kind))
    assert not link.publish("factory/a/b/c", b"x")
    with started(link):
        assert link.publish("factory/a/b/c", b"x")
        (message,) = take_count(link, 1, acknowledging=True)
        assert (message.topic, message.payload, message.packet_id) == ("factory/a/b/c", b"x", 0)
        broker.kill()
        take_until(link, lambda _: not link.is_connected)
        assert not link.publish("factory/a/b/c", b"x")
