"""A client that sends to a real broker at QoS 1."""

import json
from collections.abc import Iterable
from types import TracebackType
from typing import Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from tests.agents import WAIT_S


class Publisher:
    """Connected inside the context; leaving it waits until the broker has confirmed all."""

    def __init__(self, port: int) -> None:
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self._client.max_inflight_messages_set(1000)
        self._client.connect("127.0.0.1", port)
        self._sent: list[mqtt.MQTTMessageInfo] = []

    def send(self, topic: str, content: object) -> None:
        """What is no bytes goes as JSON."""
        payload = content if isinstance(content, bytes) else json.dumps(content)
        self._sent.append(self._client.publish(topic, payload, qos=1))

    def __enter__(self) -> Self:
        self._client.loop_start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            for sent in self._sent:
                sent.wait_for_publish(WAIT_S)
                assert sent.is_published()
        self._client.disconnect()
        self._client.loop_stop()


def publish(port: int, messages: Iterable[tuple[str, object]]) -> None:
    """Topics and contents; returns when the broker has confirmed all."""
    with Publisher(port) as publisher:
        for topic, content in messages:
            publisher.send(topic, content)
