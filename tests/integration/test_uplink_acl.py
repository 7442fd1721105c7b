"""deploy/mosquitto-uplink.conf and its ACL file in a real Mosquitto: who is heard, who hears, who gets in."""

import asyncio
import os
import re
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from aggregator.adapters.uplink import MqttUplink
from aggregator.config import Broker, Validation
from aggregator.metrics import Metrics
from models.contract.topics import subscription
from tests.agents import AGGREGATOR, EDGE, WAIT_S, Process, eventually, sqlite_rows
from tests.links import make_certificates
from tests.servers import Mosquitto, free_port

DEPLOY = Path(__file__).parents[2] / "deploy"
CONF = (DEPLOY / "mosquitto-uplink.conf").read_text(encoding="utf-8")
GATEWAYS, AGGREGATORS = 8883, 8884
SHARE = "aggregators-5f0c2a9e"
PASSWORD = "plant"


class UplinkMosquitto(Mosquitto):
    """The shipped files as they are, but for places and ports."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.ports = {GATEWAYS: self.port, AGGREGATORS: free_port()}
        self.listeners = list(self.ports.values())

    def command(self) -> list[str]:
        make_certificates(self.folder)
        for user in ("aggregator", "north/gw1", "north/gw2"):
            file = self.folder / ("tocsin-gateways.passwd" if "/" in user else "tocsin-aggregators.passwd")
            create = () if file.exists() else ("-c",)
            subprocess.run(["mosquitto_passwd", *create, "-b", str(file), user, PASSWORD], check=True)
        shutil.copy(DEPLOY / "mosquitto-uplink.acl", self.folder)
        places = {
            "/etc/mosquitto/certs/ca.crt": "ca.pem",
            "/etc/mosquitto/certs/uplink.crt": "server.pem",
            "/etc/mosquitto/certs/uplink.key": "server.key",
            "/etc/mosquitto/": "",
            "/run/mosquitto/mosquitto.pid": "pid",
            "/var/lib/mosquitto/": "",
        }
        text = CONF.replace("log_dest syslog", "log_dest stderr")
        for place, name in places.items():
            text = text.replace(place, f"{self.folder}/{name}")
        for port, own in self.ports.items():
            text = text.replace(f"listener {port}\n", f"listener {own} 127.0.0.1\n")
        if os.geteuid() == 0:  # it would change to a user who may not read the folder
            text += "user root\n"
        command = super().command()
        Path(command[-1]).write_text(text)
        return command


class Client:
    """A connection, what it heard, and the broker's word on what it says."""

    def __init__(
        self,
        broker: UplinkMosquitto,
        user: str | None,
        *filters: str,
        name: str = "",
        password: str = PASSWORD,
        listener: int | None = None,
    ) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.code: ReasonCode | None = None  # of the connection
        self.max_packet_bytes = 0  # as the broker allows
        self._filters, self._granted, self._answered = filters, threading.Semaphore(0), threading.Event()
        self._codes: dict[int, ReasonCode] = {}
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv5, reconnect_on_failure=False
        )
        if user is not None:
            self._client.username_pw_set(user, password)
        self._client.tls_set(ca_certs=str(broker.folder / "ca.pem"), cert_reqs=ssl.CERT_REQUIRED)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self._granted.release()
        self._client.on_message = self._on_message
        self._client.on_publish = self._on_publish
        self._port = broker.ports[listener or (AGGREGATORS if user == "aggregator" else GATEWAYS)]

    @property
    def is_connected(self) -> bool:
        return self._client.is_connected()

    def say(self, topic: str, payload: bytes = b"x") -> str:
        """What the broker answers."""
        message = self._client.publish(topic, payload, qos=1)
        eventually(lambda: message.mid in self._codes, f"the broker answers to {topic}")
        return str(self._codes[message.mid])

    def throw(self, topic: str, payload: bytes) -> None:
        """Say it without waiting for an answer."""
        self._client.publish(topic, payload, qos=1)

    def __enter__(self) -> Self:
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        assert self._answered.wait(WAIT_S)
        for name in self._filters:
            self._client.subscribe(name, 1)
            assert self._granted.acquire(timeout=WAIT_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(
        self, _client: object, _data: object, _flags: object, code: ReasonCode, more: Properties | None
    ) -> None:
        self.code = code
        self.max_packet_bytes = getattr(more, "MaximumPacketSize", 0)
        self._answered.set()

    def _on_message(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        self.heard.append((message.topic, bytes(message.payload)))

    def _on_publish(self, _client: object, _data: object, mid: int, code: ReasonCode, _more: object) -> None:
        self._codes[mid] = code


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, mosquitto: Mosquitto) -> Iterator[UplinkMosquitto]:
    del mosquitto  # only makes sure that one is installed
    with UplinkMosquitto(tmp_path_factory.mktemp("uplink")) as server:
        yield server


def own(kind: str, gateway: str = "gw1") -> str:
    return f"tocsin/v1/north/{gateway}/{kind}"


def test_a_gateway_is_heard_in_its_own_name_and_in_no_other(broker: UplinkMosquitto) -> None:
    with (
        Client(broker, "aggregator", "tocsin/v1/+/+/batch", "tocsin/v1/+/+/state", "tocsin/v1/+/+/reply") as aggregator,
        Client(broker, "north/gw1") as gateway,
    ):
        for kind in ("batch", "state", "reply"):
            for name in (own(kind, "gw2"), f"tocsin/v1/south/gw1/{kind}", f"tocsin/v1/north/{kind}", own(kind) + "/x"):
                assert gateway.say(name) == "Not authorized"
        for name in (own("receipt"), own("receipt", "gw2"), own("command"), "factory/line/pump/t", "$SYS/x"):
            assert gateway.say(name) == "Not authorized"
        for kind in ("batch", "state", "reply"):
            assert gateway.say(own(kind), kind.encode()) != "Not authorized"
        eventually(lambda: len(aggregator.heard) >= 3, "the aggregator hears the gateway")
        assert sorted(aggregator.heard) == [(own(kind), kind.encode()) for kind in ("batch", "reply", "state")]


def test_a_gateway_hears_only_what_is_meant_for_it(broker: UplinkMosquitto) -> None:
    with (
        Client(broker, "aggregator") as aggregator,
        Client(
            broker, "north/gw1", "#", "tocsin/v1/+/+/receipt", own("receipt", "gw2"), own("batch", "gw2")
        ) as curious,
        Client(broker, "north/gw2", own("receipt", "gw2")) as meant,
    ):
        meant.say(own("batch", "gw2"))
        aggregator.say(own("receipt", "gw2"))
        aggregator.say(own("command", "gw2"))
        aggregator.say(own("receipt"))
        eventually(lambda: len(meant.heard) == 1, "the gateway that is meant hears its receipt")
        eventually(lambda: len(curious.heard) > 0, "the other hears its own")
        assert {name for name, _ in curious.heard} == {own("receipt")}


def test_aggregators_share_the_batches_of_all_gateways(broker: UplinkMosquitto) -> None:
    shared = subscription("batch", share=SHARE)
    with (
        Client(broker, "aggregator", shared, name="one") as one,
        Client(broker, "aggregator", shared, name="two") as two,
        Client(broker, "north/gw1") as gateway,
    ):
        for number in range(20):
            assert gateway.say(own("batch"), str(number).encode()) == "Success"
        eventually(lambda: len(one.heard) + len(two.heard) == 20, "each batch came to one of the two")
        assert sorted(int(payload) for _, payload in one.heard + two.heard) == list(range(20))
        assert one.heard
        assert two.heard


def test_who_does_not_know_the_name_of_the_share_gets_none_of_it(broker: UplinkMosquitto) -> None:
    with (
        Client(broker, "aggregator", subscription("batch", share=SHARE)) as aggregator,
        Client(broker, "north/gw2", subscription("batch", share="aggregators")) as thief,
        Client(broker, "north/gw1") as gateway,
    ):
        for number in range(10):
            gateway.say(own("batch"), str(number).encode())
        eventually(lambda: len(aggregator.heard) == 10, "the aggregator gets all")
        assert thief.heard == []


@pytest.mark.parametrize(
    ("user", "password"), [(None, ""), ("north/gw1", "wrong"), ("north/gw9", PASSWORD), ("aggregator", "")]
)
def test_nobody_gets_in_without_a_name_and_its_password(
    broker: UplinkMosquitto, user: str | None, password: str
) -> None:
    with Client(broker, user, password=password) as stranger:
        assert stranger.code is not None
        assert stranger.code.is_failure


@pytest.mark.parametrize(("user", "listener"), [("north/gw1", AGGREGATORS), ("aggregator", GATEWAYS)])
def test_nobody_gets_in_by_the_door_of_the_others(broker: UplinkMosquitto, user: str, listener: int) -> None:
    with Client(broker, user, listener=listener) as stranger:
        assert stranger.code is not None
        assert stranger.code.is_failure


def test_nobody_gets_in_in_plain_text(broker: UplinkMosquitto) -> None:
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5, reconnect_on_failure=False)
    client.username_pw_set("north/gw1", PASSWORD)
    client.connect("127.0.0.1", broker.port)
    assert client.loop_forever() != mqtt.MQTT_ERR_SUCCESS


def test_a_gateway_cannot_throw_out_another_by_its_client_id(broker: UplinkMosquitto) -> None:
    with (
        Client(broker, "aggregator") as aggregator,
        Client(broker, "north/gw1", own("receipt"), name="tocsin-uplink-north-gw1") as gateway,
        Client(broker, "north/gw2", name="tocsin-uplink-north-gw1") as other,
    ):
        assert other.say(own("state", "gw2")) != "Not authorized"
        aggregator.say(own("receipt"))
        eventually(lambda: bool(gateway.heard), "the first is still there")
        assert gateway.is_connected


def test_the_largest_batch_gets_through_and_what_is_larger_ends_the_connection(broker: UplinkMosquitto) -> None:
    limit = int(re.findall(r"^max_packet_size (\d+)$", CONF, re.MULTILINE)[0])
    largest = Validation().max_payload_bytes
    with (
        Client(broker, "aggregator", subscription("batch")) as aggregator,
        Client(broker, "north/gw1") as gateway,
    ):
        assert gateway.max_packet_bytes == limit
        gateway.say(own("batch"), bytes(largest))
        gateway.throw(own("batch"), bytes(limit + 1))
        log = broker.folder / "log"
        eventually(lambda: "disconnected due to oversize packet" in log.read_text(), "the broker ends the connection")
        eventually(lambda: bool(aggregator.heard), "the aggregator hears the largest batch")
        assert [len(payload) for _, payload in aggregator.heard] == [largest]


def snippet(section: str, changes: dict[str, str]) -> str:
    """What the file tells an operator to write, with this test's places."""
    found = re.search(rf"^#   (\[{section}\]\n(?:#   .*\n)+)", CONF, re.MULTILINE)
    assert found is not None
    text = found[1].replace("#   ", "")
    for before, after in changes.items():
        assert before in text
        text = text.replace(before, after)
    return text


def test_an_agent_and_an_aggregator_set_up_as_the_file_says_do_their_work(
    tmp_path: Path, broker: UplinkMosquitto, mosquitto: Mosquitto
) -> None:
    (tmp_path / "password").write_text(PASSWORD)
    places = {
        "uplink.example.com": "127.0.0.1",
        "/etc/tocsin/ca.crt": f"{broker.folder}/ca.pem",
    }
    uplink = snippet(
        "uplink", places | {"8883": str(broker.port), "/etc/tocsin/uplink.password": f"{tmp_path}/password"}
    )
    own_port = str(broker.ports[AGGREGATORS])
    central = snippet("broker", places | {"8884": own_port, "/etc/tocsin/broker.password": f"{tmp_path}/password"})
    (tmp_path / "edge.toml").write_text(
        f"""
site = "north"
gateway = "gw1"
state_dir = "state"
topics = [{{ template = "acl/{{asset}}/{{channel}}" }}]
channels = [{{ match = "*/*" }}]
assets = [{{ match = "*" }}]
[sensor_broker]
port = {mosquitto.port}
[inference]
providers = ["cpu"]
{uplink}
"""
    )
    store = f'[store]\nkind = "sqlite"\npath = "{tmp_path}/tocsin.db"\n'
    (tmp_path / "aggregator.toml").write_text(central + store)
    sensor = mqtt.Client(CallbackAPIVersion.VERSION2)
    with (
        Process(AGGREGATOR, ["run", str(tmp_path / "aggregator.toml")], tmp_path),
        Process(EDGE, ["run", str(tmp_path / "edge.toml")], tmp_path) as agent,
    ):
        eventually(lambda: agent.says("connected to the uplink broker"), "the agent is in")
        sensor.connect("127.0.0.1", mosquitto.port)
        sensor.loop_start()
        sensor.publish("acl/pump/t", b'{"value": 21.5}', qos=1, retain=True)  # for the agent may still be coming
        count = "SELECT count(*) FROM sqlite_master WHERE name = 'reading'"
        eventually(lambda: sqlite_rows(tmp_path / "tocsin.db", count) == [(1,)], "there is a store")
        eventually(
            lambda: bool(sqlite_rows(tmp_path / "tocsin.db", "SELECT 1 FROM reading WHERE value = 21.5")),
            "the reading is stored",
        )
        sensor.publish("acl/pump/t", b"", qos=1, retain=True).wait_for_publish(WAIT_S)
        sensor.disconnect()
        sensor.loop_stop()


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([("publisher", "north/gw1")], "north/gw1"),
        ([("publisher", "north/gw1"), ("publisher", "north/gw1")], "north/gw1"),
        ([("publisher", "north/gw1"), ("publisher", "north/gw2")], "north/gw1 and north/gw2"),
        ([("other", "north/gw1")], None),
        ([], None),
    ],
)
def test_who_published_is_read_from_the_property_that_is_configured(
    mosquitto: Mosquitto, told: list[tuple[str, str]], expected: str | None
) -> None:
    async def publisher() -> str | None:
        uplink = MqttUplink(Broker(port=mosquitto.port, identity_property="publisher", share="identity"), Metrics())
        running = asyncio.create_task(uplink.run())
        client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        client.connect("127.0.0.1", mosquitto.port)
        client.loop_start()
        properties = Properties(PacketTypes.PUBLISH)
        for pair in told:
            properties.UserProperty = pair
        taking = asyncio.create_task(uplink.take())
        while not taking.done():
            client.publish("tocsin/v1/north/gw1/batch", b"x", qos=1, properties=properties)
            await asyncio.wait({taking}, timeout=0.1)
        client.disconnect()
        client.loop_stop()
        uplink.close()
        running.cancel()
        return taking.result()[0].publisher

    assert asyncio.run(publisher()) == expected
