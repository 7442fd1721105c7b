"""A payload's bytes as plain values; what they mean, a birth says (see births.py)."""

from typing import Any, NamedTuple

from google.protobuf.message import DecodeError as ProtobufError

from edge_agent.core.errors import DecodeError
from edge_agent.core.sparkplug.wire import Payload as WirePayload
from models.contract.quality import Quality

MAX_METRICS = 100_000  # of a payload, members of templates included
MAX_DEPTH = 16  # of templates in templates
_COMPRESSED = "SPBV1.0_COMPRESSED"
_STALE, _GOOD = 500, 192


class Metric(NamedTuple):
    """One metric as it was sent. None: not said."""

    name: str | None
    alias: int | None
    time_ms: int | None
    datatype: int  # 0: not said
    field: str | None  # where on the wire the value stands: `int_value`, …
    value: Any
    quality: int  # a `Quality`, of what the sender says
    is_definition: bool = False  # of a template: it has no values
    members: tuple["Metric", ...] | None = None  # of a template


class Payload(NamedTuple):
    """One message. `bd_seq`: the session's number, of NBIRTH and NDEATH."""

    time_ms: int | None
    seq: int | None
    bd_seq: int | None
    metrics: tuple[Metric, ...]


def parse(content: bytes) -> Payload:
    """Raises DecodeError, and nothing else, whatever the bytes."""
    try:
        wire = WirePayload.FromString(content)
    except ProtobufError as error:
        raise DecodeError("sparkplug", f"no Sparkplug B payload: {error!s:.200}") from error
    if wire.uuid == _COMPRESSED:
        raise DecodeError("sparkplug", f"a compressed payload ({_COMPRESSED}): let the edge node send it plain")
    seq = wire.seq if wire.HasField("seq") else None
    if seq is not None and seq > 255:
        raise DecodeError("sparkplug", f"seq {seq}: allowed are 0 to 255")
    if _count(wire.metrics) > MAX_METRICS:
        raise DecodeError("too_many", f"more than {MAX_METRICS} metrics")
    metrics = tuple([_metric(metric, 0) for metric in wire.metrics])
    numbers = (m.value for m in metrics if m.name == "bdSeq" and m.field in {"int_value", "long_value"})
    return Payload(wire.timestamp or None, seq, next(numbers, None), metrics)


def _count(metrics: Any) -> int:  # noqa: ANN401 - protobuf's classes are made at run time
    """With all members; protobuf has bounded the depth."""
    return len(metrics) + sum([_count(m.template_value.metrics) for m in metrics if m.HasField("template_value")])


def _metric(wire: Any, depth: int) -> Metric:  # noqa: ANN401 - as above
    field = wire.WhichOneof("value")
    value: Any = getattr(wire, field) if field else None
    name = None
    if wire.HasField("name"):
        name = wire.name
        if not (isinstance(name, str) and name and name.isprintable()):  # bytes: no UTF-8
            raise DecodeError("channel", f"metric {name!a:.60}: a name that cannot be printed")
    members, is_definition = None, False
    if field == "template_value":
        if depth == MAX_DEPTH:
            raise DecodeError("sparkplug", f"templates nested more than {MAX_DEPTH} deep")
        members, is_definition = tuple(_metric(m, depth + 1) for m in value.metrics), value.is_definition
        value = None
    if wire.is_null:
        field = value = None
    alias = wire.alias if wire.HasField("alias") else None
    quality = _quality(wire) if wire.HasField("properties") else Quality.GOOD
    return Metric(name, alias, wire.timestamp or None, wire.datatype, field, value, quality, is_definition, members)


def _quality(wire: Any) -> int:  # noqa: ANN401 - as above
    """Of the property `Quality`: 192 good, 500 stale, 0 bad; others by the classes of OPC: 192 to 255, 64 to 127."""
    for key, value in zip(wire.properties.keys, wire.properties.values, strict=False):
        if isinstance(key, str) and key.casefold() == "quality":
            said = value.WhichOneof("value")
            if said not in {"int_value", "long_value"} or value.is_null:
                raise DecodeError("quality", "the property Quality is no integer")
            code = getattr(value, said)
            if code == _STALE:
                return Quality.UNCERTAIN_STALE
            if _GOOD <= code < 256:
                return Quality.GOOD
            return Quality.UNCERTAIN_SOURCE if 64 <= code < 128 else Quality.BAD_SOURCE
    return Quality.GOOD
