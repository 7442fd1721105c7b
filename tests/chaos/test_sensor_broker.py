"""What deploy/mosquitto-gateway.conf keeps, and that it says what it cannot keep.

Losses after `kill -9` are Mosquitto's and are measured in the file's own table; here only what must always hold.
"""

import re
import threading
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.agents import eventually
from tests.publishing import publish
from tests.servers import Mosquitto

CONF = (Path(__file__).parents[2] / "deploy" / "mosquitto-gateway.conf").read_text(encoding="utf-8")
COUNT = 2_500  # more than Mosquitto keeps by default


class GatewayMosquitto(Mosquitto):
    """With the shipped settings for what survives and how much may wait."""

    def command(self) -> list[str]:
        binary, flag, path = super().command()
        kept = re.findall(r"^(?:persistence|autosave|max_|persistent_).*$", CONF, re.MULTILINE)
        settings = [line for line in kept if not line.startswith("persistence_location")]
        own = [f"listener {self.port} 127.0.0.1", "allow_anonymous true", f"persistence_location {self.folder}/"]
        user = [line for line in Path(path).read_text().splitlines() if line.startswith("user ")]
        Path(path).write_text("\n".join([*own, *user, *settings]) + "\n")
        return [binary, flag, path]


def subscribe(port: int, received: list[bytes]) -> mqtt.Client:
    """The agent's session: QoS 1, and it stays when the client goes."""
    subscribed = threading.Event()

    def on_connect(client: mqtt.Client, *_: object) -> None:
        client.subscribe("factory/#", 1)

    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="agent", protocol=mqtt.MQTTv5)
    client.on_connect = on_connect
    client.on_subscribe = lambda *_: subscribed.set()
    client.on_message = lambda _client, _data, message: received.append(bytes(message.payload))
    session = Properties(PacketTypes.CONNECT)
    session.SessionExpiryInterval = 3600
    client.connect("127.0.0.1", port, clean_start=False, properties=session)
    client.loop_start()
    assert subscribed.wait(30)
    return client


def leave(client: mqtt.Client) -> None:
    client.disconnect()
    client.loop_stop()


def test_a_restart_in_order_loses_nothing_that_waits_for_the_agent(tmp_path: Path, mosquitto: Mosquitto) -> None:
    del mosquitto  # only makes sure that one is installed
    received: list[bytes] = []
    with GatewayMosquitto(tmp_path / "broker") as broker:
        leave(subscribe(broker.port, received))
        publish(broker.port, [("factory/a", number) for number in range(COUNT)])
        broker.stop()
        broker.start()
        client = subscribe(broker.port, received)
        eventually(lambda: len(received) >= COUNT, "all messages have come")
        leave(client)
    assert received == [str(number).encode() for number in range(COUNT)]


@pytest.mark.parametrize("setting", ["autosave_on_changes", "autosave_interval", "kill -9", "lost"])
def test_what_a_kill_can_lose_stands_beside_the_settings_that_decide_it(setting: str) -> None:
    _, _, survives = CONF.partition("what survives")
    assert setting in survives.partition("persistence true")[0]
