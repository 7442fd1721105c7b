"""What one connection of the uplink does: batches out, receipts in, and what each receipt means for the outbox.

    outbox ──▶ lanes ──▶ under way ──batch──▶ broker
    outbox ◀─ discard ◀─ settle ◀──receipt── broker

Rules
1. Only what is under way is in memory, never the backlog.
2. A receipt is matched by its correlation data: an aggregator that cannot read a batch knows nothing else of it.
3. Refused rows are handed on before their batch is let go. A batch refused whole is set aside, for it would be
   refused for ever; so is one with more refused rows than its receipt could name.
4. Each batch says which is the oldest that still waits for a receipt: what is older, aggregators need not miss.
5. Silence is broken by connecting anew, less and less often: a broker may have forgotten our subscription.
"""

import asyncio
import time
from collections.abc import Callable

import aiomqtt
import structlog
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_agent.config import UplinkBroker
from edge_agent.core.lanes import Lane, Lanes, Limits
from edge_agent.ports import NoRoomError, Outbox, Sealed
from models.broker import BrokerError, Client, pause
from models.contract import topics
from models.contract.batch import ContractError, Receipt, Refusal, decode_receipt

_log = structlog.get_logger()
_PUBACK_S = 60.0  # slow links take their time; a dead one is noticed by the keep-alive before
_POLL_S = 0.25  # the outbox is also looked at without a hint
_SILENCES = 3  # receipt time-outs
_MAX_SILENCE_S = 600.0
_MAX_DIGITS = 19
_HEARTBEAT = "gateway"  # the measurement

Topics = dict[topics.Kind, str]


class GivenUpError(BrokerError):
    """The connection is well, but we begin anew."""


class Exchange:
    """Runs once for each connection; `is_open` while it does."""

    def __init__(
        self,
        config: UplinkBroker,
        topic: Topics,
        outbox: Outbox,
        on_receipt: Callable[[Sealed, Receipt], None],
        on_refused: Callable[[Sealed, list[Refusal]], None],
    ) -> None:
        self._topic, self._outbox, self._epoch = topic, outbox, outbox.epoch
        self._on_receipt, self._on_refused = on_receipt, on_refused
        limits = Limits(
            config.window_batches, config.window_bytes, config.backlog_bytes_per_s, config.receipt_timeout_s
        )
        self._lanes = Lanes(limits)
        self._under_way: dict[int, Sealed] = {}
        self._receipts: list[tuple[Sealed, Receipt]] = []
        self._hint, self._has_receipts = asyncio.Event(), asyncio.Event()
        self._heard_s = 0.0
        self._silence_s = self._patience_s = _SILENCES * config.receipt_timeout_s
        self.is_open = False
        self._has_told = False  # of refused heartbeats

    @property
    def has_room(self) -> bool:
        """Whether a batch sealed now would go out at once. May be asked by any thread."""
        return self.is_open and self._lanes.has_room(Lane.LIVE)

    def hint(self) -> None:
        """A batch was sealed."""
        self._hint.set()

    async def run(self, client: Client) -> None:
        """Until cancelled, or until the connection is lost: raises aiomqtt.MqttError, or GivenUpError."""
        self._under_way.clear()
        self._receipts.clear()
        oldest, newest = await asyncio.to_thread(_span, self._outbox, 0)
        self._lanes.connect(oldest, newest, time.monotonic())
        self._heard_s = time.monotonic()
        self.is_open = True
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._send(client, tasks), name="uplink-send")
                tasks.create_task(self._receive(client), name="uplink-receive")
                tasks.create_task(self._settle(), name="uplink-settle")
        except BaseExceptionGroup as group:
            # A fault of ours before one of the connection, which may only be its consequence.
            fault = min(group.exceptions, key=lambda error: isinstance(error, (aiomqtt.MqttError, BrokerError)))
            raise fault from fault.__cause__
        finally:
            self.is_open = False

    async def _send(self, client: Client, tasks: asyncio.TaskGroup) -> None:
        while True:
            self._hint.clear()
            now_s = time.monotonic()
            self._check_silence(now_s)
            for seq in self._lanes.step_aside(now_s):
                del self._under_way[seq]
            if late := self._lanes.due(now_s):
                if self._lanes.is_heard:
                    _log.warning("no receipt in time; sending again", batches=len(late), oldest=late[0])
                for seq in late:
                    tasks.create_task(self._publish(client, self._under_way[seq]))
            while await self._send_next(Lane.LIVE, client, tasks) or await self._send_next(Lane.BACKLOG, client, tasks):
                pass
            await pause(self._hint, _POLL_S)

    async def _send_next(self, lane: Lane, client: Client, tasks: asyncio.TaskGroup) -> bool:
        """Whether there was a batch to send, or to pass over."""
        after = self._lanes.after(lane, time.monotonic())
        if after is None:
            return False
        if lane is Lane.LIVE and self._lanes.is_late(time.monotonic()):
            _, newest = await asyncio.to_thread(_span, self._outbox, after)
            self._lanes.split(newest, time.monotonic())
            return True
        found = await asyncio.to_thread(self._outbox.pending, after, 1)
        if not found:
            self._lanes.drained(lane, time.monotonic())
            return False
        batch = found[0]
        if self._lanes.admit(lane, batch.seq, len(batch.payload)):
            self._under_way[batch.seq] = batch
            tasks.create_task(self._publish(client, batch))
        return True

    async def _publish(self, client: Client, batch: Sealed) -> None:
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic = self._topic["receipt"]
        properties.CorrelationData = f"{self._epoch}:{batch.seq}".encode()
        properties.UserProperty = (topics.OLDEST, str(self._lanes.floor))
        is_heard = await client.deliver(self._topic["batch"], batch.payload, properties, _PUBACK_S)
        if is_heard != self._lanes.is_heard:
            text = "an aggregator listens again" if is_heard else "no aggregator listens; batches wait here"
            _log.info(text) if is_heard else _log.warning(text)
        self._lanes.confirmed(batch.seq, time.monotonic(), is_heard=is_heard)
        self._hint.set()

    async def _receive(self, client: Client) -> None:
        async for message in client.messages:
            try:
                receipt = decode_receipt(message.payload)
            except ContractError as error:
                _log.warning("a receipt cannot be read", error=str(error))
                continue
            correlation = getattr(message.properties, "CorrelationData", b"")
            epoch, _, number = correlation.decode("ascii", "replace").partition(":")
            is_ours = epoch == self._epoch and number.isdecimal() and len(number) <= _MAX_DIGITS
            batch = self._under_way.get(int(number)) if is_ours else None
            if batch is not None:  # else a second receipt of a batch that was sent twice
                self._receipts.append((batch, receipt))
                self._has_receipts.set()

    async def _settle(self) -> None:
        """Receipts that come while some are recorded make up the next commit."""
        while True:
            await self._has_receipts.wait()
            self._has_receipts.clear()
            receipts = {
                batch.seq: (batch, receipt) for batch, receipt in self._receipts if batch.seq in self._under_way
            }
            self._receipts.clear()
            for seq in await asyncio.to_thread(self._record, list(receipts.values())):
                self._under_way.pop(seq, None)  # it may have stepped aside meanwhile
                self._lanes.settled(seq)
                self._heard_s, self._patience_s = time.monotonic(), self._silence_s
                self._on_receipt(*receipts[seq])
            self._hint.set()

    def _record(self, receipts: list[tuple[Sealed, Receipt]]) -> list[int]:
        """In a worker thread. The batches that are settled; without room the others stay as if no receipt had come."""
        aside, stored = [], []
        try:
            for batch, receipt in receipts:
                if refused := self._without_heartbeats(receipt.refused):
                    self._on_refused(batch, refused)
                    _log.error(
                        "the database refuses rows; they are kept as dead letters",
                        seq=batch.seq,
                        rows=len(refused) + receipt.unnamed,
                        reason=refused[0].reason,
                    )
                if receipt.stored and not receipt.unnamed:
                    stored.append(batch.seq)
                    continue
                reason = receipt.reason or f"{receipt.unnamed} refused rows beside those named"
                self._outbox.set_aside(batch.seq, reason)
                aside.append(batch.seq)
                _log.error("the aggregator refuses a batch; it is set aside", seq=batch.seq, reason=reason)
        except NoRoomError as error:
            _log.warning("a refusal cannot be recorded now; it will come again", error=str(error))
        try:
            self._outbox.discard(stored)
        except NoRoomError as error:
            _log.warning("receipts cannot be recorded now; they will come again", error=str(error))
            return aside
        return aside + stored

    def _without_heartbeats(self, refused: list[Refusal]) -> list[Refusal]:
        """Dead letters are for data of the plant. An aggregator older than we are does not know all our heartbeat."""
        rest = [one for one in refused if one.row.partition(",")[0] != _HEARTBEAT]
        if len(rest) < len(refused) and not self._has_told:
            self._has_told = True
            reason = next(one.reason for one in refused if one not in rest)
            _log.info("the aggregator does not take all that this gateway says of itself", reason=reason)
        return rest

    def _check_silence(self, now_s: float) -> None:
        if not self._lanes.under_way or not self._lanes.is_heard:
            self._heard_s = now_s
        elif now_s - self._heard_s > self._patience_s:
            silence_s, self._patience_s = self._patience_s, min(_MAX_SILENCE_S, 2 * self._patience_s)
            raise GivenUpError(
                f"no receipt for {silence_s:.0f} s: does an aggregator run? May it publish {self._topic['receipt']}?"
            )


def _span(outbox: Outbox, after: int) -> tuple[int, int]:
    """The oldest and the newest seq behind `after`, by doubling and halving; without any, `after` + 1 and `after`."""
    first = outbox.pending(after, 1)
    if not first:
        return after + 1, after
    oldest = low = first[0].seq
    step = 1
    while found := outbox.pending(low + step - 1, 1):
        low, step = found[0].seq, 2 * step
    high = low + step - 1
    while low < high:
        middle = (low + high) // 2
        if found := outbox.pending(middle, 1):
            low = found[0].seq
        else:
            high = middle
    return oldest, low
