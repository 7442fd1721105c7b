"""A Sparkplug edge node for tests: makes the messages that a real one would send; and one that talks to a broker."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.core.sparkplug.wire import Payload
from tests.agents import WAIT_S

TYPES = (
    "Unknown Int8 Int16 Int32 Int64 UInt8 UInt16 UInt32 UInt64 Float Double Boolean String DateTime Text UUID DataSet "
    "Bytes File Template"
)
CODES = {name: code for code, name in enumerate(TYPES.split(" "))}
_FIELDS = {
    **dict.fromkeys(("Int8", "Int16", "Int32", "UInt8", "UInt16", "UInt32"), "int_value"),
    **dict.fromkeys(("Int64", "UInt64", "DateTime"), "long_value"),
    **dict.fromkeys(("String", "Text", "UUID"), "string_value"),
    **dict.fromkeys(("Bytes", "File"), "bytes_value"),
    "Float": "float_value",
    "Double": "double_value",
    "Boolean": "boolean_value",
}
_WIDTHS = {"Int8": 32, "Int16": 32, "Int32": 32, "Int64": 64}  # signs are extended to the width of the field


class M(NamedTuple):
    """A metric. `value` None: null; a tuple: the members of a template."""

    value: Any
    type: str = "Double"
    name: str | None = None
    alias: int | None = None
    time_ms: int | None = None
    quality: int | None = None
    is_historical: bool = False
    is_definition: bool = False
    says_type: bool = True


def payload(metrics: Sequence[M] = (), *, seq: int | None = None, time_ms: int | None = None) -> bytes:
    """A message's bytes."""
    wire = Payload(timestamp=time_ms, seq=seq)
    for metric in metrics:
        _add(wire.metrics.add(), metric)
    content: bytes = wire.SerializeToString()
    return content


def _add(wire: Any, metric: M) -> None:
    said = {
        "name": metric.name,
        "alias": metric.alias,
        "timestamp": metric.time_ms,
        "datatype": CODES[metric.type] if metric.says_type else None,
        "is_historical": metric.is_historical or None,
    }
    for field, content in said.items():
        if content is not None:
            setattr(wire, field, content)
    if metric.quality is not None:
        wire.properties.keys.append("Quality")
        wire.properties.values.add(type=CODES["Int32"], int_value=metric.quality)
    if metric.type == "Template":
        wire.template_value.is_definition = metric.is_definition
        for member in metric.value:
            _add(wire.template_value.metrics.add(), member)
    elif metric.value is None:
        wire.is_null = True
    elif metric.type in _WIDTHS:
        setattr(wire, _FIELDS[metric.type], metric.value % (1 << _WIDTHS[metric.type]))
    elif metric.type == "DataSet":
        wire.dataset_value.num_of_columns = metric.value
    else:
        setattr(wire, _FIELDS[metric.type], metric.value)


def topic(kind: str, device: str | None = None, *, group: str = "plant-1", node: str = "press-7") -> str:
    """Where a message goes."""
    return f"spBv1.0/{group}/{kind}/{node}" + (f"/{device}" if device else "")


class EdgeNode:
    """On a real broker: births on connecting and when asked, a will, `seq` and `bdSeq` of its own."""

    def __init__(
        self,
        port: int,
        births: Mapping[str | None, Sequence[M]],
        *,
        time_ms: int,
        node: str = "press-7",
        bd_seq: int = 0,
        qos: int = 0,
    ) -> None:
        """`births`: metrics by device; None: the node's own. `qos`: of births and data; the specification wants 0."""
        self.births, self.node, self.bd_seq, self.time_ms = dict(births), node, bd_seq, time_ms
        self.rebirths = 0
        self._port, self._qos, self._seq, self._answers = port, qos, 0, True
        self._lock, self._connected = threading.RLock(), threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv311, clean_session=True)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self._connected.set()
        self._client.on_message = self._on_command

    def deaf(self) -> Self:
        """It counts requests for a rebirth, and does not answer."""
        self._answers = False
        return self

    def __enter__(self) -> Self:
        self._client.will_set(topic("NDEATH", node=self.node), self._death(), qos=1)
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        assert self._connected.wait(WAIT_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def vanish(self) -> None:
        """The connection breaks: the broker publishes the will."""
        self._client.loop_stop()
        found = self._client.socket()
        assert found is not None
        found.close()

    def be_born(self) -> None:
        """All births, in order."""
        with self._lock:
            bd_seq = M(self.bd_seq, "Int64", "bdSeq")
            rebirth = M(False, "Boolean", "Node Control/Rebirth")
            self.send("NBIRTH", None, [bd_seq, rebirth, *self.births.get(None, ())], seq=0)
            for device, metrics in self.births.items():
                if device is not None:
                    self.send("DBIRTH", device, metrics)

    def send(self, kind: str, device: str | None, metrics: Sequence[M], *, seq: int | None = None) -> None:
        """One message, later than the one before by a ms; returns when the broker has it, at QoS 0 when it is sent."""
        with self._lock:
            self._seq = self._seq if seq is None else seq
            self.time_ms += 1
            content = payload(metrics, seq=self._seq, time_ms=self.time_ms)
            sent = self._client.publish(topic(kind, device, node=self.node), content, qos=self._qos)
            self._seq = (self._seq + 1) % 256
        if threading.current_thread() is not self._client._thread:  # noqa: SLF001 - it must not wait for itself
            sent.wait_for_publish(WAIT_S)

    def skip(self, count: int = 1) -> None:
        """Messages that the world never sees."""
        self._seq = (self._seq + count) % 256

    def _death(self) -> bytes:
        return payload([M(self.bd_seq, "Int64", "bdSeq")], time_ms=self.time_ms)

    def _on_connect(self, *_: object) -> None:
        self._client.subscribe(topic("NCMD", node=self.node), 1)

    def _on_command(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        wire = Payload.FromString(message.payload)
        asked = [metric.boolean_value for metric in wire.metrics if metric.name == "Node Control/Rebirth"]
        assert asked == [True]
        self.rebirths += 1
        if self._answers:
            self.be_born()
