"""Who looks on while an agent works: at the batches on the uplink, and at its memory."""

import time

import numpy as np
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from models.contract.topics import subscription
from tests.bench.gateway import Daemon

LOOK_S = 0.5


class Batches:
    """The numbers of the batches on one broker, in order of arrival."""

    def __init__(self, port: int) -> None:
        self._seqs: list[int] = []
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self._client.on_message = self._note
        self._client.connect("127.0.0.1", port)
        self._client.subscribe(subscription("batch"))
        self._client.loop_start()

    def close(self) -> None:
        """Look no more."""
        self._client.disconnect()
        self._client.loop_stop()

    def out_of_order(self, newest: int) -> int:
        """How many batches up to `newest` came first behind a younger one of these."""
        arrivals = np.array(list(dict.fromkeys(seq for seq in self._seqs if seq <= newest)))
        return int((np.diff(arrivals) < 0).sum())

    def _note(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        correlation: bytes = getattr(message.properties, "CorrelationData", b"")
        self._seqs.append(int(correlation.decode().rpartition(":")[2]))


class Resident:
    """The agent's memory, looked at twice a second."""

    def __init__(self, agent: Daemon) -> None:
        self._agent, self._due_s, self._highest_mb = agent, 0.0, 0.0

    def look(self) -> None:
        """If it is time."""
        if time.monotonic() >= self._due_s:
            self._due_s = time.monotonic() + LOOK_S
            self._highest_mb = max(self._highest_mb, self._agent.resident_mb)

    def highest_mb(self) -> float:
        """Since the last time it was asked for, in 10^6 bytes."""
        self._due_s = 0.0
        self.look()
        highest_mb, self._highest_mb = self._highest_mb, 0.0
        return round(highest_mb, 1)
