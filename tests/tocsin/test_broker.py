"""Through a real embedded broker: its two protocols meet, and a replayed file arrives row by row, each once."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests.agents import WAIT_S
from tests.servers import free_port
from tocsin.demo.setup import free_ports, render
from tocsin.errors import UserError
from tocsin.plant.faults import DEMO_SCHEDULE
from tocsin.plant.ledger import read_ledger
from tocsin.plant.messages import Message
from tocsin.plant.publisher import Broker, Publisher
from tocsin.plant.replay import TOPIC, replay
from tocsin.plant.simulate import simulate
from tocsin.plant.table import Layout

iotcore = pytest.importorskip("iotcore", reason="needs the extra 'console'")

Received = list[tuple[str, bytes]]


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """Of MQTT 5 and of MQTT 3.1.1."""
    port_v5, port_v4 = free_ports(2)
    path = tmp_path_factory.mktemp("broker") / "broker.toml"
    path.write_text(render("broker.toml", {"port_v5": port_v5, "port_v4": port_v4}))
    with iotcore.Broker(config_path=str(path)):
        yield port_v5, port_v4


@contextmanager
def subscriber(port_v4: int, topic: str, wanted: int) -> Iterator[tuple[Received, threading.Event]]:
    """What an MQTT 3.1.1 subscriber receives, and an event for `wanted` messages."""
    received: Received = []
    ready, done = threading.Event(), threading.Event()

    def on_message(_client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        received.append((message.topic, bytes(message.payload)))
        if len(received) >= wanted:
            done.set()

    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv311)
    client.on_message = on_message
    client.on_subscribe = lambda *_: ready.set()
    client.connect("127.0.0.1", port_v4)
    client.loop_start()
    client.subscribe(topic, qos=1)
    assert ready.wait(WAIT_S)
    yield received, done
    client.disconnect()
    client.loop_stop()


def test_a_publisher_of_mqtt_5_reaches_a_subscriber_of_3_1_1(ports: tuple[int, int]) -> None:
    with subscriber(ports[1], "meet/#", 1) as (received, done):
        with Publisher(Broker(port=ports[0]), lambda _: None) as publisher:
            publisher.publish(Message("meet/here", b"hello", ()))
            publisher.drain(WAIT_S)
        assert done.wait(WAIT_S)
    assert received == [("meet/here", b"hello")]


def test_a_replayed_file_is_delivered_with_every_row_once(ports: tuple[int, int], tmp_path: Path) -> None:
    path = tmp_path / "recorded.csv"
    path.write_text("t,a,b\n" + "".join(f"{1_700_000_000 + i},{i}.25,{-i}\n" for i in range(1000)))
    with subscriber(ports[1], "factory/replay/rig/+", 2000) as (received, done):
        layout = Layout(time_unit="s", asset="rig")
        summary = replay(path, layout, Broker(port=ports[0]), topic=TOPIC, speed=0, stop=threading.Event())
        assert done.wait(WAIT_S)
    assert summary[:2] == (2000, 1000)
    seen = {(topic[-1], orjson.loads(payload)["ts"], orjson.loads(payload)["value"]) for topic, payload in received}
    assert len(received) == 2000
    assert seen == {
        (name, (1_700_000_000 + i) * 1000, value) for i in range(1000) for name, value in (("a", i + 0.25), ("b", -i))
    }


def test_the_ledger_of_the_plant_is_what_the_broker_acknowledged(ports: tuple[int, int], tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.csv"
    broker = Broker(port=ports[1], protocol="3.1.1")
    summary = simulate(broker, DEMO_SCHEDULE, for_s=1.5, ledger=ledger, stop=threading.Event())
    rows = read_ledger(ledger)
    assert summary == (len(rows), 0)
    assert len({row.asset for row in rows}) == 12
    assert len({row[:3] for row in rows}) == len(rows)


def test_a_broker_that_is_not_there_is_named() -> None:
    port = free_port()
    with pytest.raises(UserError, match=f"broker 127.0.0.1:{port}: cannot be reached"):
        Publisher(Broker(port=port), lambda _: None).__enter__()
