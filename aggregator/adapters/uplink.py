"""The uplink broker: batches of all gateways come in by a shared subscription, receipts go out.

Invariants
1. Nothing here is owned: a batch that is dropped, or lost with the process, has no receipt, and its gateway sends
   it again. So sessions are clean and acknowledgements automatic.
2. What waits is bounded in bytes. A batch that was sent again takes the place of the one that waits.
3. A receipt goes only to the gateway on whose topic the batch came, whatever its response topic says.
"""

import asyncio
from collections.abc import Sequence
from random import Random

import aiomqtt
import structlog
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from aggregator.config import Broker
from aggregator.core.backoff import delay_s
from aggregator.metrics import Metrics
from aggregator.ports import Request
from models.contract.batch import Receipt, encode_receipt
from models.contract.topics import parse, subscription, topic

log = structlog.get_logger()

MAX_WAITING_BYTES = 64 * 1024 * 1024


class MqttUplink:
    """Fulfils ports.Uplink while `run` runs."""

    def __init__(self, config: Broker, metrics: Metrics, max_waiting_bytes: int = MAX_WAITING_BYTES) -> None:
        self._config = config
        self._metrics = metrics
        self._max_bytes = max_waiting_bytes
        self._waiting: dict[tuple[str, bytes], Request] = {}
        self._bytes = 0
        self._has_news = asyncio.Event()
        self._is_closed = False
        self._client: aiomqtt.Client | None = None

    async def run(self) -> None:
        """Connects, and again whenever the connection is lost, until cancelled. Raises ConfigError, OSError (files)."""
        random = Random()  # noqa: S311 - jitter, no secret
        attempt = 0
        while True:
            wait_s = 0.0
            try:
                async with self._connect() as client:
                    await self._subscribe(client)
                    self._client, attempt = client, 0
                    self._metrics.broker_up.set(1)
                    log.info("broker connected", host=self._config.host, port=self._config.port)
                    async for message in client.messages:
                        self._put(message)
            except aiomqtt.MqttError as error:
                attempt += 1
                wait_s = delay_s(attempt, random)
                log.warning("broker not reachable", reason=str(error), again_in_s=round(wait_s, 1))
            finally:
                self._client = None
                self._metrics.broker_up.set(0)
            await asyncio.sleep(wait_s)

    async def take(self) -> list[Request]:
        """See ports.Uplink."""
        while not self._waiting and not self._is_closed:
            self._has_news.clear()
            await self._has_news.wait()
        taken = [] if self._is_closed else list(self._waiting.values())
        self._waiting.clear()
        self._bytes = 0
        self._metrics.waiting_bytes.set(0)
        return taken

    def close(self) -> None:
        """Ends `take`. What waits is left to the gateways, who send it again."""
        self._is_closed = True
        self._has_news.set()

    async def answer(self, receipts: Sequence[tuple[Request, Receipt]]) -> None:
        """See ports.Uplink."""
        client = self._client
        sent = await asyncio.gather(*(_send(client, request, receipt) for request, receipt in receipts))
        lost = sent.count(False)
        if lost:
            self._metrics.receipts_lost.inc(lost)
            log.warning("receipts not sent; the gateways will send these batches again", count=lost)

    async def _subscribe(self, client: aiomqtt.Client) -> None:
        for code in await client.subscribe(subscription("batch", share=self._config.share), qos=1):
            if isinstance(code, ReasonCode) and code.is_failure:
                log.error("broker refuses the subscription; a person must grant it", reason=str(code))
                msg = f"subscription refused: {code}"
                raise aiomqtt.MqttError(msg)

    def _put(self, message: aiomqtt.Message) -> None:
        request = _request(str(message.topic), message.payload, message.properties)
        key = (request.topic, request.payload if request.correlation is None else request.correlation)
        known = self._waiting.get(key)
        size = self._bytes + len(request.payload) - (len(known.payload) if known else 0)
        if size > self._max_bytes:
            self._metrics.batches.labels("dropped").inc()
            log.warning("too much waits; batch left to its gateway to send again", topic=request.topic)
            return
        self._waiting[key] = request
        self._bytes = size
        self._metrics.waiting_bytes.set(size)
        self._has_news.set()

    def _connect(self) -> aiomqtt.Client:
        config = self._config
        tls = aiomqtt.TLSParameters(
            ca_certs=str(config.ca_file) if config.ca_file else None,
            certfile=str(config.cert_file) if config.cert_file else None,
            keyfile=str(config.key_file) if config.key_file else None,
        )
        client = aiomqtt.Client(
            config.host,
            config.port,
            identifier=config.client_id,
            username=config.username,
            password=config.password(),
            protocol=aiomqtt.ProtocolVersion.V5,
            tls_params=tls if config.tls else None,
        )
        client.pending_calls_threshold = 100_000  # receipts of one write are sent together on purpose
        return client


def _request(name: str, payload: bytes, properties: Properties | None) -> Request:
    correlation = getattr(properties, "CorrelationData", None)
    response = getattr(properties, "ResponseTopic", None)
    place = parse(name)
    is_trusted = place is not None and response == topic(place[0], place[1], "receipt")
    return Request(name, payload, correlation, response if is_trusted else None)


async def _send(client: aiomqtt.Client | None, request: Request, receipt: Receipt) -> bool:
    place = parse(request.topic)
    if client is None or place is None:
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
