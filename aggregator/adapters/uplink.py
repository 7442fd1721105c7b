"""The uplink broker: batches of all gateways come in by a shared subscription, receipts go out.

Invariants
1. Nothing here is owned: a batch that is dropped, or lost with the process, has no receipt, and its gateway sends
   it again. So sessions are clean and acknowledgements automatic.
2. What waits is bounded in bytes. A batch that was sent again takes the place of the one that waits.
3. A receipt goes only to the gateway on whose topic the batch came, whatever its response topic says.
4. A connection that is gone or stands still holds up nobody: neither writing, nor the end of the process.
"""

import asyncio
import ssl
from collections.abc import Sequence
from random import Random

import aiomqtt
import structlog
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from aggregator.config import Broker
from aggregator.core.backoff import delay_s
from aggregator.metrics import Metrics
from aggregator.ports import Request
from models.broker import Address, BrokerError, Client, connection, pause
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
        self._client: Client | None = None
        self._gone = asyncio.Event()  # set while there is no connection
        self._complaint = ""

    async def run(self) -> None:
        """Connects, and again whenever the connection is lost, until closed or cancelled. Raises ConfigError."""
        random = Random()  # noqa: S311 - jitter, no secret
        attempt = 0
        while not self._closed.is_set():
            try:
                async with connection(Client(broker_address(self._config))) as client:
                    await client.listen(subscription("batch", share=self._config.share))
                    await self._serve(client)
            except (BrokerError, OSError) as error:
                self._complain(error)
                # Two clients that take each other's place must not do so at full speed.
                attempt = 1 if self._client is not None and not _cure(error) else attempt + 1
            finally:
                self._client = None
                self._gone.set()
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
        """See ports.Uplink. Waits for the broker to take them, but not beyond the end of the connection."""
        client = self._client
        lost = len(receipts)
        if client is not None:
            sending = asyncio.create_task(_send_all(client, receipts))
            gone = asyncio.create_task(self._gone.wait())
            try:
                await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
                if sending.done():
                    lost = sending.result()
            finally:
                gone.cancel()
                sending.cancel()
        if lost:
            self._metrics.receipts_lost.inc(lost)
            log.warning("receipts not sent; the gateways will send these batches again", count=lost)

    async def _serve(self, client: Client) -> None:
        if self._closed.is_set():
            return
        client.on_refused = self._complain
        self._client = client
        self._gone.clear()
        self._metrics.broker_up.set(1)
        self._complaint = ""
        log.info("broker connected", host=self._config.host, port=self._config.port)
        async for message in client.messages:
            self._put(message)

    def _put(self, message: aiomqtt.Message) -> None:
        request = _request(message, self._config.identity_property)
        key = (request.topic, request.payload if request.correlation is None else request.correlation)
        known = self._waiting.get(key)
        size = self._bytes + _size(request) - (_size(known) if known else 0)
        if size > self._max_bytes:
            self._metrics.batches.labels("dropped").inc()
            log.warning("too much waits; batch left to its gateway to send again", topic=request.topic)
            return
        self._waiting[key] = request
        self._bytes = size
        self._metrics.waiting_bytes.set(size)
        self._has_news.set()

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


def _request(message: aiomqtt.Message, identity_property: str | None) -> Request:
    name, properties = str(message.topic), message.properties
    correlation = getattr(properties, "CorrelationData", None)
    response = getattr(properties, "ResponseTopic", None)
    place = parse(name)
    is_trusted = place is not None and response == topic(place[0], place[1], "receipt")
    told: list[tuple[str, str]] = getattr(properties, "UserProperty", [])
    oldest = dict(told).get(OLDEST, "")
    # a gateway may add the property too: two different names are then nobody's
    publishers = {value for name, value in told if name == identity_property}
    return Request(
        name,
        message.payload,
        correlation,
        response if is_trusted else None,
        int(oldest) if oldest.isascii() and oldest.isdecimal() and len(oldest) < 20 else None,
        " and ".join(sorted(publishers)) or None,
    )


async def _send_all(client: Client, receipts: Sequence[tuple[Request, Receipt]]) -> int:
    """How many could not be sent."""
    return (await asyncio.gather(*(_send(client, request, receipt) for request, receipt in receipts))).count(False)


async def _send(client: Client, request: Request, receipt: Receipt) -> bool:
    place = parse(request.topic)
    if place is None:
        return False
    properties = Properties(PacketTypes.PUBLISH)
    if request.correlation is not None:
        properties.CorrelationData = request.correlation
    target = request.reply_topic or topic(place[0], place[1], "receipt")
    try:
        await client.publish(target, encode_receipt(receipt), qos=1, properties=properties)
    except aiomqtt.MqttError:
        return False
    return True
