"""The uplink: sealed batches to the aggregators, and their receipts back. MQTT 5 request/response.

    outbox ──batch, response topic, correlation data "epoch:seq", oldest──▶ broker ──▶ aggregator
    outbox ◀─discard────────────────receipt: stored──────────────────────────────────────┘

Only a receipt lets a batch go; the broker's PUBACK means nothing but that the wire is free (brokers lose what they
confirmed). Here the connection is made and kept; `exchange.py` says what goes through it, and `core/lanes.py` in
which order.
"""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress

import aiomqtt
import structlog
from pydantic import SecretStr

from edge_agent.adapters.exchange import Exchange, GivenUpError
from edge_agent.config import EdgeConfig
from edge_agent.core.reconnect import End, Reconnects
from edge_agent.ports import NoRoomError, Outbox, Sealed
from models.broker import CURES, TAKEN_OVER, Address, BrokerError, Client, connection, pause
from models.contract import topics
from models.contract.batch import Receipt, Refusal

_log = structlog.get_logger()
_FAREWELL_S = 1.0
_UNREADABLE_S = 2.0


class Uplink:
    """Sends what the outbox holds for as long as `run` runs."""

    def __init__(
        self,
        config: EdgeConfig,
        outbox: Outbox,
        password: SecretStr | None,
        state: Callable[[bool], bytes],
        on_receipt: Callable[[Sealed, Receipt], None],
        on_refused: Callable[[Sealed, list[Refusal]], None],
    ) -> None:
        """`state(online)` is the payload of the retained state topic.

        `on_refused` keeps refused rows; it is called in a worker thread and may raise NoRoomError: then the batch
        stays, and its receipt will come again.
        """
        self._config, self._password, self._state = config.uplink, password, state
        self._topic = {kind: topics.topic(config.site, config.gateway, kind) for kind in topics.KINDS}
        self._identifier = f"tocsin-uplink-{config.site}-{config.gateway}"
        self._on_receipt = on_receipt
        self._exchange = Exchange(config.uplink, self._topic, outbox, self._heard, on_refused)
        self._reconnects = Reconnects(random.Random())  # noqa: S311 - jitter
        self._stop, self._has_changed = asyncio.Event(), asyncio.Event()
        self._is_accepted = False
        self._complaint = ""

    @property
    def is_connected(self) -> bool:
        """Whether batches can go out now."""
        return self._exchange.is_open

    @property
    def has_room(self) -> bool:
        """Whether a batch sealed now would go out at once. May be asked by any thread."""
        return self._exchange.has_room

    def stop(self) -> None:
        """End `run` in order; cancel it then, for an attempt to connect may take longer. For the loop's thread."""
        self._stop.set()

    def hint(self) -> None:
        """A batch was sealed. To be called in the event loop's thread."""
        self._exchange.hint()

    def restate(self) -> None:
        """What `state` says has changed: tell it anew. To be called in the event loop's thread.

        The will stays as it was until the next connection: a broker knows no other.
        """
        self._has_changed.set()

    async def run(self) -> None:
        """Connect, send, receive; again after each fault, with full jitter. Ends by `stop` or by cancellation."""
        while not self._stop.is_set():
            self._is_accepted = False
            try:
                async with connection(self._client()) as client:
                    self._is_accepted = True
                    self._reconnects.connected(time.monotonic())
                    await self._serve(client)
            except (BrokerError, OSError) as error:
                await pause(self._stop, self._lost(error))
            except NoRoomError as error:
                _log.warning("the outbox cannot be read now; trying again", error=str(error))
                await pause(self._stop, _UNREADABLE_S)

    def _lost(self, error: OSError) -> float:
        """There is no connection, or no more: say so. Returns how long to wait before the next attempt."""
        if not self._is_accepted:
            self._complain(error)
            return self._reconnects.failed()
        end = End.CLOSED
        if isinstance(error, BrokerError) and error.code == TAKEN_OVER:
            end = End.TAKEN_OVER
        elif isinstance(error, GivenUpError) or _cure(error):
            end = End.GIVEN_UP
        wait_s = self._reconnects.ended(time.monotonic(), end)
        if self._reconnects.is_contested:  # Mosquitto 2.0 does not say why
            error = BrokerError("the broker takes us and throws us out, time after time", CURES[TAKEN_OVER])
        self._complain(error)
        return wait_s

    async def _serve(self, client: Client) -> None:
        client.on_refused = self._complain
        await client.listen(self._topic["receipt"])
        await self._tell(client, online=True)
        _log.info("connected to the uplink broker", host=self._config.host, port=self._config.port)
        exchange = asyncio.create_task(self._exchange.run(client), name="uplink-exchange")
        stating = asyncio.create_task(self._tell_changes(client), name="uplink-state")
        stopped = asyncio.create_task(self._stop.wait(), name="uplink-stop")
        try:
            await asyncio.wait({exchange, stating, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if exchange.done():
                exchange.result()
            if stating.done():
                stating.result()
        finally:
            for task in (exchange, stating, stopped):
                task.cancel()
            await asyncio.gather(exchange, stating, stopped, return_exceptions=True)
            if self._stop.is_set():  # the will covers a death; an orderly end says so itself
                with suppress(aiomqtt.MqttError):
                    await self._tell(client, online=False, timeout_s=_FAREWELL_S)

    async def _tell_changes(self, client: Client) -> None:
        while True:
            await self._has_changed.wait()
            await self._tell(client, online=True)

    async def _tell(self, client: Client, *, online: bool, timeout_s: float | None = None) -> None:
        self._has_changed.clear()
        await client.publish(self._topic["state"], self._state(online), qos=1, retain=True, timeout=timeout_s)

    def _heard(self, batch: Sealed, receipt: Receipt) -> None:
        self._complaint = ""
        self._reconnects.delivered()
        self._on_receipt(batch, receipt)

    def _complain(self, error: OSError) -> None:
        """Each new fault is said once, not with every attempt."""
        if str(error) == self._complaint:
            return
        self._complaint = str(error)
        where = f"{self._config.host}:{self._config.port}"
        if cure := _cure(error):
            _log.error(
                "the uplink broker does not let us work; trying again", broker=where, error=str(error), cure=cure
            )
        else:
            _log.warning("no connection to the uplink broker; trying again", broker=where, error=str(error))

    def _client(self) -> Client:
        broker = self._config
        password = self._password.get_secret_value() if self._password else None
        address = Address(
            broker.host,
            broker.port,
            self._identifier,
            broker.username,
            password,
            broker.keepalive_s,
            broker.tls_context(),
        )
        will = aiomqtt.Will(self._topic["state"], self._state(False), qos=1, retain=True)
        return Client(address, will, max_waiting=10_000)


def _cure(error: OSError) -> str:
    return error.cure if isinstance(error, BrokerError) else ""
