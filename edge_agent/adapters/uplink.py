"""The uplink: sealed batches to the aggregators, and their receipts back. MQTT 5 request/response on aiomqtt.

    outbox ──batch, response topic, correlation data "epoch:seq"──▶ broker ──▶ aggregator
    outbox ◀─discard────────────────receipt: stored────────────────────────────────┘

Rules
1. Only a receipt lets a batch go; the broker's PUBACK means nothing (brokers lose what they confirmed).
2. A batch without a receipt is sent again after `receipt_timeout_s`, then after twice that, up to a minute.
3. A batch refused whole is a fault that a person must see: it is logged as an error and set aside, for it
   would be refused for ever and stand in the way of the others.
4. A receipt is matched by its correlation data: an aggregator that cannot read a batch knows nothing else of it.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import aiomqtt
import structlog
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from pydantic import SecretStr

from edge_agent.config import EdgeConfig
from edge_agent.ports import NoRoomError, Outbox, Sealed
from models.contract import topics
from models.contract.batch import ContractError, Receipt, decode_receipt

_log = structlog.get_logger()
_MAX_BACKOFF_S = 30.0
_MAX_RESEND_S = 60.0
_POLL_S = 0.25  # the outbox is also looked at without a hint, for resends


@dataclass
class _Sent:
    batch: Sealed
    due_s: float
    wait_s: float


class Uplink:
    """Sends what the outbox holds for as long as `run` runs."""

    def __init__(
        self,
        config: EdgeConfig,
        outbox: Outbox,
        password: SecretStr | None,
        state: Callable[[bool], bytes],
        on_receipt: Callable[[Sealed, Receipt], None],
    ) -> None:
        """`state(online)` is the payload of the retained state topic."""
        self._config, self._outbox, self._password = config, outbox, password
        self._state, self._on_receipt = state, on_receipt
        self._topic = {kind: topics.topic(config.site, config.gateway, kind) for kind in topics.KINDS}
        self._under_way: dict[int, _Sent] = {}
        self._hint = asyncio.Event()
        self.is_connected = self._stopping = False

    def stop(self) -> None:
        """Connect no more; to be called before the task is cancelled, for a fault of the client may hide that."""
        self._stopping = True

    def hint(self) -> None:
        """A batch was sealed. To be called in the event loop's thread."""
        self._hint.set()

    async def run(self) -> None:
        """Connect, send, receive; again after each fault, with full jitter. Ends by cancellation."""
        attempt = 0
        while not self._stopping:
            try:
                async with self._client() as client:
                    attempt, self.is_connected = 0, True
                    _log.info("connected to the uplink broker", host=self._config.uplink.host)
                    await self._serve(client)
            except (aiomqtt.MqttError, OSError) as error:
                where = f"{self._config.uplink.host}:{self._config.uplink.port}"
                _log.warning("no connection to the uplink broker; trying again", broker=where, error=str(error))
            finally:
                self.is_connected = False
            self._under_way.clear()
            attempt += 1
            await asyncio.sleep(random.uniform(0, min(_MAX_BACKOFF_S, 0.25 * 2**attempt)))  # noqa: S311 - jitter

    async def _serve(self, client: aiomqtt.Client) -> None:
        await client.subscribe(self._topic["receipt"], qos=1)
        await client.publish(self._topic["state"], self._state(True), qos=1, retain=True)
        parts = {
            asyncio.create_task(self._send(client), name="uplink-send"),
            asyncio.create_task(self._receive_all(client), name="uplink-receive"),
        }
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for part in done:
                part.result()
        finally:
            for part in parts:
                part.cancel()
            # The will covers a death; an orderly end says so itself.
            with suppress(aiomqtt.MqttError):
                await client.publish(self._topic["state"], self._state(False), qos=1, retain=True, timeout=1)

    async def _receive_all(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            if isinstance(message.payload, bytes):
                await self._receive(message.payload, getattr(message.properties, "CorrelationData", b""))

    async def _send(self, client: aiomqtt.Client) -> None:
        after = 0
        while True:
            self._hint.clear()
            room = self._config.uplink.window_batches - len(self._under_way)
            fresh = await asyncio.to_thread(self._outbox.pending, after, room) if room > 0 else []
            now_s = time.monotonic()
            for sent in [s for s in self._under_way.values() if s.due_s <= now_s]:
                sent.wait_s = min(_MAX_RESEND_S, 2 * sent.wait_s)
                sent.due_s = now_s + sent.wait_s
                _log.warning("no receipt in time; sending the batch again", seq=sent.batch.seq)
                await self._publish(client, sent.batch)
            wait_s = self._config.uplink.receipt_timeout_s
            for batch in fresh:
                after = batch.seq
                self._under_way[batch.seq] = _Sent(batch, now_s + wait_s, wait_s)
                await self._publish(client, batch)
            if not fresh:
                try:
                    await asyncio.wait_for(self._hint.wait(), _POLL_S)
                except TimeoutError:
                    continue

    async def _publish(self, client: aiomqtt.Client, batch: Sealed) -> None:
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic = self._topic["receipt"]
        properties.CorrelationData = f"{self._outbox.epoch}:{batch.seq}".encode()
        await client.publish(self._topic["batch"], batch.payload, qos=1, properties=properties)

    async def _receive(self, payload: bytes, correlation: bytes) -> None:
        try:
            receipt = decode_receipt(payload)
        except ContractError as error:
            _log.warning("a receipt cannot be read", error=str(error))
            return
        epoch, _, number = correlation.decode("ascii", "replace").partition(":")
        known = epoch == self._outbox.epoch and number.isdecimal()
        sent = self._under_way.pop(int(number), None) if known else None
        if sent is None:  # a second receipt of a batch that was sent twice
            return
        try:
            await self._settle(sent.batch, receipt)
        except NoRoomError as error:
            self._under_way[sent.batch.seq] = sent  # as if the receipt had not come: it will come again
            _log.warning("a receipt cannot be recorded now", seq=sent.batch.seq, error=str(error))

    async def _settle(self, batch: Sealed, receipt: Receipt) -> None:
        if not receipt.stored:
            _log.error("the aggregator refuses a batch; it is set aside", seq=batch.seq, reason=receipt.reason)
            await asyncio.to_thread(self._outbox.set_aside, batch.seq, receipt.reason)
            return
        for refusal in receipt.refused:
            _log.error("the database refuses a row", row=refusal.row, reason=refusal.reason)
        await asyncio.to_thread(self._outbox.discard, [batch.seq])
        self._on_receipt(batch, receipt)
        self._hint.set()

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[aiomqtt.Client]:
        broker = self._config.uplink
        client = aiomqtt.Client(
            broker.host,
            broker.port,
            identifier=f"tocsin-uplink-{self._config.site}-{self._config.gateway}",
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=True,
            username=broker.username,
            password=self._password.get_secret_value() if self._password else None,
            tls_context=broker.tls_context(),
            keepalive=broker.keepalive_s,
            will=aiomqtt.Will(self._topic["state"], self._state(False), qos=1, retain=True),
            max_queued_incoming_messages=10_000,
        )
        async with client:
            yield client
