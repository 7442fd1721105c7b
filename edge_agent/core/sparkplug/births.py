"""What a birth says of an edge node or a device, and what later messages mean by it.

A metric `Inputs/Pressure` is the channel `Inputs.Pressure`: a slash parts asset and channel elsewhere. The members of
a template are metrics of their own, `<name>/<member>`.
"""

import math
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from edge_agent.core.errors import DecodeError
from edge_agent.core.readings import Value
from edge_agent.core.sparkplug.payload import Metric, Payload
from edge_agent.core.sparkplug.values import is_reading, number
from models.contract.quality import Quality

_CONTROL = ("Node Control/", "Device Control/")
_BD_SEQ = "bdSeq"
MS_NS = 1_000_000


class Birth(msgspec.Struct):
    """The last birth of an edge node or a device."""

    asset: str
    time_ms: int | None
    types: dict[str, int]  # data types by metric, of members as well
    aliases: dict[int, str]  # metrics by alias
    channels: dict[str, str]  # by metric: what has had, or may have, readings
    is_alive: bool = True

    @property
    def size(self) -> int:
        """What it takes of the memory: itself and its metrics."""
        return 1 + len(self.types)

    @classmethod
    def of(cls, payload: Payload, asset: str) -> "Birth":
        """Raises DecodeError where the payload contradicts itself."""
        birth = cls(asset, payload.time_ms, {}, {}, {})
        for name, metric in _flat(payload.metrics, ""):
            if birth.types.setdefault(name, metric.datatype) != metric.datatype:
                raise DecodeError("sparkplug", f"metric {name:.60} is declared twice, with different types")
            if metric.alias is not None and birth.aliases.setdefault(metric.alias, name) != name:
                raise DecodeError("sparkplug", f"alias {metric.alias} stands for two metrics")
        readable = [name for name, datatype in birth.types.items() if is_reading(datatype, None) and is_open(name)]
        birth.channels.update((name, channel_of(name)) for name in readable)
        if len(set(birth.channels.values())) < len(readable):
            raise DecodeError("channel", "two metrics differ only in / and . and would be one channel")
        return birth

    def read(self, payload: Payload, states: Mapping[str, float]) -> tuple[list[Value], int]:
        """The readings of a message, and how many metrics are none. Raises DecodeError.

        `states`: texts that stand for numbers.
        """
        values: list[Value] = []
        skipped = 0
        asset, channels = self.asset, self.channels
        for name, metric, time_ms in self._named(payload.metrics, "", payload.time_ms):
            datatype, field, quality = self._type(name, metric), metric.field, metric.quality
            if field == "string_value" and metric.value in states:
                value = states[metric.value]
            elif not is_reading(datatype, field):
                skipped += is_open(name)
                continue
            else:
                value = math.nan if field is None else number(datatype, field, metric.value, name)
                quality = Quality.UNCERTAIN_STALE if math.isnan(value) else quality
            channel = channels.get(name)
            if channel is None:
                if not is_open(name):
                    continue
                channel = channels[name] = channel_of(name)
            values.append(Value((asset, channel), None if time_ms is None else time_ms * MS_NS, value, quality))
        return values, skipped

    def stale(self, time_ns: int, but: Iterable[str] = ()) -> list[Value]:
        """Marks that the channels have no value any more from `time_ns` on; not those of `but`."""
        gone = sorted(set(self.channels.values()).difference(but))
        return [Value((self.asset, channel), time_ns, math.nan, Quality.UNCERTAIN_STALE) for channel in gone]

    def _named(
        self, metrics: Iterable[Metric], prefix: str, time_ms: int | None
    ) -> Iterator[tuple[str, Metric, int | None]]:
        """Metrics that are no templates, with names and times; definitions of templates have no values."""
        for metric in metrics:
            if metric.is_definition:
                continue
            if metric.name is not None:
                name = prefix + metric.name
                if name not in self.types:
                    raise DecodeError("alias", f"metric {name:.60} is in no birth of {self.asset:.60}")
            elif metric.alias is not None:
                known = self.aliases.get(metric.alias)
                if known is None:
                    raise DecodeError("alias", f"alias {metric.alias} is in no birth of {self.asset:.60}")
                name = known
            else:
                raise DecodeError("sparkplug", "a metric with neither name nor alias")
            own_ms = metric.time_ms or time_ms
            if metric.members is None:
                yield name, metric, own_ms
            else:
                yield from self._named(metric.members, name + "/", own_ms)

    def _type(self, name: str, metric: Metric) -> int:
        declared = self.types.get(name, 0)
        if declared and metric.datatype and declared != metric.datatype:
            text = f"metric {name:.60} is declared with data type {declared}, and sent with {metric.datatype}"
            raise DecodeError("value", text)
        return declared or metric.datatype


class NodeBirths(msgspec.Struct):
    """An edge node with its devices. `heard_ns`: when the last of its messages arrived, as of the last birth."""

    group: str
    node: str
    bd_seq: int | None = None
    heard_ns: int = 0
    own: Birth | None = None
    devices: dict[str, Birth] = {}


_encoder, _decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(list[NodeBirths])


def encode_births(nodes: Iterable[NodeBirths]) -> bytes:
    """For the file that outlives a restart."""
    return _encoder.encode(list(nodes))


def decode_births(content: bytes) -> list[NodeBirths]:
    """Raises ValueError when the bytes are no births."""
    try:
        return _decoder.decode(content)
    except (msgspec.DecodeError, RecursionError) as error:
        msg = f"no births: {error}"
        raise ValueError(msg) from error


def channel_of(metric: str) -> str:
    """The channel's name."""
    return metric.replace("/", ".")


def is_open(name: str) -> bool:
    """Whether it is the plant's, and not of the protocol."""
    return name != _BD_SEQ and not name.startswith(_CONTROL)


def _flat(metrics: Iterable[Metric], prefix: str) -> Iterator[tuple[str, Metric]]:
    """What a birth declares: metrics and members of templates that are no definitions, with their names."""
    for metric in metrics:
        if metric.name is None:
            raise DecodeError("sparkplug", "a birth with a metric that has no name")
        if metric.is_definition:
            continue
        name = prefix + metric.name
        yield name, metric
        if metric.members is not None:
            yield from _flat(metric.members, name + "/")
