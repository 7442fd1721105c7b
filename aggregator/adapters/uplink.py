"""The uplink broker: batches of all gateways come in by a shared subscription, receipts go out.

Invariants
1. Nothing here is owned: a batch that is dropped, or lost with the process, has no receipt, and its gateway sends
   it again. So sessions are clean and acknowledgements automatic.
2. What waits is bounded in bytes. A batch that was sent again takes the place of the one that waits.
3. A receipt goes only to the gateway on whose topic the batch came, whatever its response topic says.
4. A connection that is gone or stands still holds up nobody: neither writing, nor the end of the process. Receipts wait
   for the broker inside the connection; those that it has not confirmed at its end are lost, and counted.
"""

import asyncio
import ssl
from collections.abc import Sequence
from random import Random

import mqtt5
import structlog

from aggregator.adapters.mqtt import Connection, connection
from aggregator.config import Broker
from aggregator.core.backoff import delay_s
from aggregator.core.outgoing import Message
from aggregator.metrics import Metrics
from aggregator.ports import Request
from models.broker import Address, BrokerError, pause
from models.contract.batch import Receipt, encode_receipt
from models.contract.topics import OLDEST, parse, subscription, topic

log = structlog.get_logger()

MAX_WAITING_BYTES = 64 * 1024 * 1024
_OVERHEAD_BYTES = 1024  # of a batch that waits: even empty ones must not add up without end


class MqttUplink:
    """Fulfils ports.Uplink while `run` runs."""

    def __init__(self, config: Broker, metrics: Metrics, max_waiting_bytes: int = MAX_WAITING_BYTES) -> None:
        self._config = config
        self._metrics = metrics
        self._max_bytes = max_waiting_bytes
        self._waiting: dict[tuple[str, bytes], Request] = {}
        self._bytes = 0
        self._has_news, self._closed = asyncio.Event(), asyncio.Event()
        self._link: Connection | None = None
        self._complaint = ""

    async def run(self) -> None:
        """Connects, and again whenever the connection is lost, until closed or cancelled. Raises ConfigError."""
        random = Random()  # noqa: S311 - jitter, no secret
        attempt = 0
        while not self._closed.is_set():
            try:
                await self._serve()
            except (BrokerError, OSError) as error:
                self._complain(error)
                # Two clients that take each other's place must not do so at full speed.
                attempt = 1 if self._link is not None and not _cure(error) else attempt + 1
            finally:
                if self._link is not None:
                    self._lose(self._link.unacknowledged)
                self._link = None
                self._metrics.broker_up.set(0)
            await pause(self._closed, delay_s(attempt, random))

    async def take(self) -> list[Request]:
        """See ports.Uplink."""
        while not self._waiting and not self._closed.is_set():
            self._has_news.clear()
            await self._has_news.wait()
        taken = [] if self._closed.is_set() else list(self._waiting.values())
        self._waiting.clear()
        self._bytes = 0
        self._metrics.waiting_bytes.set(0)
        return taken

    def close(self) -> None:
        """Ends `take`, and takes no more. What waits is left to the gateways, who send it again."""
        self._closed.set()
        self._has_news.set()

    async def answer(self, receipts: Sequence[tuple[Request, Receipt]]) -> None:
        """See ports.Uplink. Returns at once."""
        messages = [message for answer in receipts if (message := _message(*answer)) is not None]
        lost = len(receipts) - len(messages)
        self._lose(lost + (len(messages) if self._link is None else self._link.publish(messages)))

    async def _serve(self) -> None:
        """One connection until its end. Raises BrokerError, OSError, ConfigError."""
        async with connection(broker_address(self._config), self._put, self._refused) as link:
            await link.subscribe(subscription("batch", share=self._config.share))
            if self._closed.is_set():
                return
            self._link = link
            self._metrics.broker_up.set(1)
            self._complaint = ""
            log.info("broker connected", host=self._config.host, port=self._config.port)
            await link.ended()

    def _put(self, packets: Sequence[mqtt5.PublishPacket]) -> None:
        """Of what came with one read, all that there is room for."""
        for packet in packets:
            request = _request(packet, self._config.identity_property)
            key = (request.topic, request.payload if request.correlation is None else request.correlation)
            known = self._waiting.get(key)
            size = self._bytes + _size(request) - (_size(known) if known else 0)
            if size > self._max_bytes:
                self._metrics.batches.labels("dropped").inc()
                log.warning("too much waits; batch left to its gateway to send again", topic=request.topic)
                continue
            self._waiting[key] = request
            self._bytes = size
        self._metrics.waiting_bytes.set(self._bytes)
        if self._waiting:
            self._has_news.set()

    def _refused(self, error: BrokerError) -> None:
        """The broker does not take a receipt."""
        self._metrics.receipts_lost.inc()
        self._complain(error)

    def _lose(self, count: int) -> None:
        if count:
            self._metrics.receipts_lost.inc(count)
            log.warning("receipts not sent; the gateways will send these batches again", count=count)

    def _complain(self, error: OSError) -> None:
        """Each new fault is said once, not with every attempt."""
        if str(error) == self._complaint:
            return
        self._complaint = str(error)
        if cure := _cure(error):
            log.error("the broker does not let us work; trying again", reason=str(error), cure=cure)
        else:
            where = f"{self._config.host}:{self._config.port}"
            log.warning("broker not reachable; trying again", broker=where, reason=str(error))


def broker_address(config: Broker) -> Address:
    """Where the broker is and who we are. Raises ConfigError when the password cannot be read."""
    context = None
    if config.tls:
        context = ssl.create_default_context(cafile=config.ca_file)
        if config.cert_file is not None:
            context.load_cert_chain(config.cert_file, config.key_file)
    return Address(
        config.host,
        config.port,
        config.client_id,
        config.username,
        config.password(),
        config.keepalive_s,
        context,
    )


def _cure(error: OSError) -> str:
    return error.cure if isinstance(error, BrokerError) else ""


def _size(request: Request) -> int:
    return len(request.payload) + len(request.correlation or b"") + _OVERHEAD_BYTES


def _request(packet: mqtt5.PublishPacket, identity_property: str | None) -> Request:
    name, told = packet.topic, packet.user_properties
    response = packet.response_topic
    place = parse(name)
    is_trusted = place is not None and response == topic(place[0], place[1], "receipt")
    oldest = dict(told).get(OLDEST, "")
    # a gateway may add the property too: two different names are then nobody's
    publishers = {value for key, value in told if key == identity_property}
    return Request(
        name,
        packet.payload,
        packet.correlation_data,
        response if is_trusted else None,
        int(oldest) if oldest.isascii() and oldest.isdecimal() and len(oldest) < 20 else None,
        " and ".join(sorted(publishers)) or None,
    )


def _message(request: Request, receipt: Receipt) -> Message | None:
    """None where there is no gateway to answer to."""
    target = request.reply_topic
    if target is None and (place := parse(request.topic)):
        target = topic(place[0], place[1], "receipt")
    return Message(target, encode_receipt(receipt), request.correlation) if target else None
