"""From a message to rows that every store can take, or the reason why not.

A batch is refused whole when it cannot be read or is not the sender's; else single rows are refused and the rest
goes on. Nothing is left out without a refusal that says so, except rows in which no field has a value.

What a gateway does with the answers
    accepted   the batch leaves its outbox; refused rows become dead letters there, or the whole batch is set aside
               when they are too many to be named.
    refused    the batch is set aside on the gateway, for it would be refused for ever. A person may look at it.
    held       there is no answer, so the batch stays in the gateway's outbox and comes again, with back-off. That is
               the safe answer where the fault may lie here, or will pass: a receipt of either kind is final. Nothing
               is lost; the gateway's backlog and the batch that does not get through show that something is wrong.
"""

import sys
from typing import Literal, NamedTuple, Protocol

from aggregator.config import Validation
from aggregator.core.guard import SeriesGuard
from aggregator.core.points import Points
from aggregator.core.rows import MAX_TIME_NS, clean, sane_time
from models.contract.batch import Batch, ContractError, NewerVersionError, Refusal, decode_batch, ints
from models.contract.topics import parse

_MAX_REASON = 300  # characters: names that a sender chose stand in it


class Accepted(NamedTuple):
    """A batch's rows, and those of its rows that no store would take."""

    gateway: tuple[str, str]  # site, gateway
    epoch: str
    seq: int
    points: Points
    refused: list[Refusal]  # at most rows.MAX_NAMED
    unnamed: int = 0  # rows that were refused beside these
    beyond: int = 0  # refused rows, named or not, of series beyond validation.max_series
    is_clock_ahead: bool = False  # its heartbeat lies beyond validation.future_s, and was left out


class Refused(NamedTuple):
    """A batch of which nothing will ever be stored. `epoch` is empty and `seq` 0 when it could not even be read."""

    reason: str
    epoch: str = ""
    seq: int = 0


class Held(NamedTuple):
    """A batch that is neither stored nor refused. A person is needed, here or at the gateway."""

    reason: str
    kind: Literal["version", "clock", "identity"]


class Message(Protocol):
    """What the broker handed over (ports.Request)."""

    @property
    def topic(self) -> str:
        """Where it was published."""
        ...

    @property
    def payload(self) -> bytes:
        """A batch, as it should be."""
        ...

    @property
    def publisher(self) -> str | None:
        """The authenticated name, if the broker tells it."""
        ...


class Validator:
    """Remembers only which series each gateway has brought. For one thread at a time."""

    def __init__(self, limits: Validation, identity_property: str | None = None) -> None:
        """`identity_property`: the broker names the publisher of each message there; None = it does not."""
        self._limits, self._identity_property = limits, identity_property
        self._future_ns = int(limits.future_s * 1e9)
        self.guard = SeriesGuard(limits.max_series)

    def check(self, message: Message, now_ns: int) -> Accepted | Refused | Held:
        """Judges one message; never raises, whatever the bytes. `now_ns` is this machine's clock, epoch ns."""
        gateway = _gateway(message.topic)
        if isinstance(gateway, Refused):
            return gateway
        stranger = self._stranger(gateway, message.publisher)
        if stranger is not None:
            return stranger
        size, largest = len(message.payload), self._limits.max_payload_bytes
        if size > largest:
            return Refused(f"{size} bytes are more than the {largest} of validation.max_payload_bytes")
        batch = _read(gateway, message.payload)
        if not isinstance(batch, Batch):
            return batch
        limit_ns = now_ns + self._future_ns
        if _latest_ns(batch, limit_ns) > limit_ns:
            allowed = f"validation.future_s = {self._limits.future_s:g}"
            reason = f"its rows lie ahead of this machine's clock by more than {allowed}: one of the clocks is wrong"
            return Held(reason, "clock")
        is_ahead = bool(batch.gateway_fields) and sane_time(batch.gateway_time_ns) > limit_ns
        if is_ahead:  # a heartbeat is worth nothing later, so no reason to hold up what comes with it
            batch.gateway_fields = {}
        rows = clean(gateway, batch, self.guard)
        return Accepted(gateway, batch.epoch, batch.seq, *rows, is_clock_ahead=is_ahead)

    def _stranger(self, gateway: tuple[str, str], publisher: str | None) -> Held | None:
        """No receipt for it: one would go to the gateway of the topic, and settle a batch that it did not send."""
        if self._identity_property is None:
            return None
        if not publisher:
            reason = (
                f"the broker does not say who published this (broker.identity_property = {self._identity_property!r})"
            )
            return Held(reason, "identity")
        if publisher != "/".join(gateway):
            reason = f"{publisher} published on the topic of {'/'.join(gateway)}"
            return Held(reason[:_MAX_REASON], "identity")
        return None


def validate(topic: str, payload: bytes) -> Accepted | Refused:
    """Checks a batch against the contract alone; never raises, whatever the bytes."""
    gateway = _gateway(topic)
    if isinstance(gateway, Refused):
        return gateway
    batch = _read(gateway, payload)
    if isinstance(batch, Held):
        return Refused(batch.reason)
    if isinstance(batch, Refused):
        return batch
    return Accepted(gateway, batch.epoch, batch.seq, *clean(gateway, batch, SeriesGuard(sys.maxsize)))


def _gateway(topic: str) -> tuple[str, str] | Refused:
    place = parse(topic)
    if place is None or place[2] != "batch":
        return _refused(f"{topic[:_MAX_REASON]!r} is no topic for batches")
    return place[:2]


def _read(gateway: tuple[str, str], payload: bytes) -> Batch | Refused | Held:
    """The batch, if it is readable and its sender's."""
    try:
        batch = decode_batch(payload)
    except NewerVersionError as error:
        if any(error.sender) and error.sender != gateway:
            return _foreign(gateway, error.sender)
        return Held(f"{error}; an aggregator that is upgraded will take it", "version")
    except ContractError as error:
        return _refused(str(error))
    if (batch.site, batch.gateway) != gateway:
        return _foreign(gateway, (batch.site, batch.gateway), batch.epoch, batch.seq)
    return batch


def _foreign(gateway: tuple[str, str], sender: tuple[str, str], epoch: str = "", seq: int = 0) -> Refused:
    return Refused(f"a batch of {'/'.join(sender)[:130]} came on the topic of {'/'.join(gateway)}", epoch, seq)


def _refused(reason: str) -> Refused:
    return Refused(reason[:_MAX_REASON])


def _latest_ns(batch: Batch, limit_ns: int) -> int:
    """The latest time of a row of the plant, as far as it is a time; exact only when it lies beyond the limit."""
    columns = [ints(column) for column in (batch.readings.time_ns, batch.inferences.time_ns) if column]
    latest = [int(column.max()) for column in columns]
    if max(latest, default=0) > limit_ns:
        latest = [int(column[column <= MAX_TIME_NS].max(initial=0)) for column in columns]
    return max([*latest, *(sane_time(alarm.time_ns) for alarm in batch.alarms)], default=0)
