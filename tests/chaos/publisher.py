"""Publishes the data set at QoS 1, in order, on one connection at a time, and comes through restarts of the broker.

Invariant: a message is sent again only together with all that follow it and are unconfirmed, in order. So the
broker's sequence is the data set's, with repetitions of stretches; nothing overtakes.
"""

import asyncio
import queue
import time
from collections import deque
from collections.abc import Sequence

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from tests.chaos.plant import Publication
from tocsin.plant.messages import Message

_IN_FLIGHT = 40
_POLL_S = 0.005
_RECONNECT_S = 0.1
_CONNECT_S = 5.0
_NO_SUBSCRIBER = 0x10


class Publisher:
    """Knows of each message, by its place in the data set, when it was confirmed (monotonic s)."""

    def __init__(self, port: int, publications: Sequence[Publication]) -> None:
        self._port, self._publications = port, publications
        self._waiting: deque[int] = deque()
        self._next = 0
        self.confirmed_s: list[float] = []
        self.repeated = 0  # sent again after a connection was lost
        self.unheard = 0  # confirmed although the broker knew no subscriber: it lost the agent's session

    async def run(self, speed: float | None) -> None:
        """Until all is confirmed; `speed`: plant seconds a second, None = as fast as the broker takes it."""
        begin_s = time.monotonic()
        while not self._is_done:
            connection = _Connection(self._port)
            try:
                await connection.open()
                self.repeated += len(self._waiting)
                for number in self._waiting:
                    connection.publish(self._publications[number].message)
                while connection.is_alive and not self._is_done:
                    until_s = float("inf") if speed is None else (time.monotonic() - begin_s) * speed
                    self._send(connection, until_s)
                    await asyncio.sleep(_POLL_S)
                    self._book(connection)
            except OSError:
                await asyncio.sleep(_RECONNECT_S)
            finally:
                connection.close()

    @property
    def _is_done(self) -> bool:
        return len(self.confirmed_s) == len(self._publications)

    def _send(self, connection: "_Connection", until_s: float) -> None:
        while (
            len(self._waiting) < _IN_FLIGHT
            and self._next < len(self._publications)
            and self._publications[self._next].at_s <= until_s
        ):
            connection.publish(self._publications[self._next].message)
            self._waiting.append(self._next)
            self._next += 1

    def _book(self, connection: "_Connection") -> None:
        now_s = time.monotonic()
        for is_heard in connection.confirmed():
            self._waiting.popleft()
            self.confirmed_s.append(now_s)
            self.unheard += not is_heard


class _Connection:
    """One connection; paho's own reconnection, which would send in an order of its own, is off."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5, reconnect_on_failure=False)
        self._client.max_inflight_messages_set(_IN_FLIGHT)
        self._client.on_publish = self._on_publish
        self._acknowledged: queue.SimpleQueue[tuple[int, bool]] = queue.SimpleQueue()
        self._sent: deque[int] = deque()

    @property
    def is_alive(self) -> bool:
        """Whether the broker is there."""
        return self._client.is_connected()

    async def open(self) -> None:
        """Raises OSError when the broker does not answer."""
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        until_s = time.monotonic() + _CONNECT_S
        while not self._client.is_connected():
            if time.monotonic() > until_s:
                raise TimeoutError
            await asyncio.sleep(_POLL_S)

    def publish(self, message: Message) -> None:
        """Hand one over; the order is kept."""
        self._sent.append(self._client.publish(message.topic, message.payload, qos=1).mid)

    def confirmed(self) -> list[bool]:
        """For each message confirmed since the last call: whether it had a subscriber."""
        heard = []
        while not self._acknowledged.empty():
            mid, is_heard = self._acknowledged.get()
            assert mid == self._sent.popleft(), "the broker confirms out of order"
            heard.append(is_heard)
        return heard

    def close(self) -> None:
        """Without ado."""
        self._client.disconnect()
        self._client.loop_stop()

    def _on_publish(
        self, _client: mqtt.Client, _data: object, mid: int, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        self._acknowledged.put((mid, reason.value != _NO_SUBSCRIBER))
