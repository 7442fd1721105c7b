"""Payload decoders, one file a format, one table: `DECODERS`; `decoder_of` adds what a topic sets."""

from collections.abc import Callable, Sequence
from typing import Protocol

from edge_agent.config import Topic
from edge_agent.core.decode.cbor import decode_cbor
from edge_agent.core.decode.compression import UNPACKERS
from edge_agent.core.decode.json import decode_json
from edge_agent.core.decode.json_simple import Together, decode_columns, decode_singles
from edge_agent.core.decode.line_protocol import decode_line_protocol
from edge_agent.core.decode.msgpack import decode_msgpack
from edge_agent.core.decode.raw import raw_decoder
from edge_agent.core.decode.rules import COUNTING, PLAIN, Rules, rules_of
from edge_agent.core.decode.senml import decode_senml_cbor, decode_senml_json
from edge_agent.core.decode.text import decode_text
from edge_agent.core.readings import Decoded

# (payload, asset, channel of the topic or None, arrival_ns) -> what it holds. Raises DecodeError and nothing else.
Decoder = Callable[[bytes, str, str | None, int], Decoded]


class FormatDecoder(Protocol):
    """A decoder that takes what a topic sets; without it, what is usual for the format holds."""

    def __call__(
        self, payload: bytes, asset: str, channel: str | None, arrival_ns: int, /, rules: Rules = ...
    ) -> Decoded:
        """Raises DecodeError and nothing else."""
        ...


# Of the formats that can do without settings.
DECODERS: dict[str, FormatDecoder] = {
    "json": decode_json,
    "msgpack": decode_msgpack,
    "cbor": decode_cbor,
    "senml-json": decode_senml_json,
    "senml-cbor": decode_senml_cbor,
    "influx-line": decode_line_protocol,
    "text": decode_text,
}
_COUNT_BOOLEANS = frozenset({"senml-json", "senml-cbor", "influx-line"})  # they have a type of their own for them

# Payloads of m messages -> their readings; None: one of them is of another form.
SimpleDecoder = Callable[[Sequence[bytes]], Together | None]

# In the order in which they are tried.
SIMPLE_DECODERS: dict[str, tuple[SimpleDecoder, ...]] = {"json": (decode_singles, decode_columns)}


def decoder_of(topic: Topic, limit_bytes: int) -> Decoder:
    """What decodes the topic's payloads; compressed ones may come to `limit_bytes`."""
    unpack, inner = UNPACKERS.get(topic.compression), _inner_of(topic)
    if unpack is None:
        return inner

    def decode(payload: bytes, asset: str, channel: str | None, arrival_ns: int) -> Decoded:
        return inner(unpack(payload, limit_bytes), asset, channel, arrival_ns)

    return decode


def _inner_of(topic: Topic) -> Decoder:
    if topic.dtype is not None and topic.rate_hz is not None:
        return raw_decoder(topic.dtype, topic.scale, topic.offset, topic.rate_hz)
    inner = DECODERS[topic.format]
    rules = rules_of(topic, COUNTING if topic.format in _COUNT_BOOLEANS else PLAIN)

    def decode(payload: bytes, asset: str, channel: str | None, arrival_ns: int) -> Decoded:
        return inner(payload, asset, channel, arrival_ns, rules)

    return decode


def simple_decoders_of(topic: Topic) -> tuple[SimpleDecoder, ...]:
    """What decodes many of the topic's payloads at once, if something can.

    How booleans, texts and nulls are read does not matter: none of these takes a payload that holds one.
    """
    is_plain = topic.compression == "none" and topic.fields is None and topic.time_unit == "auto"
    return SIMPLE_DECODERS.get(topic.format, ()) if is_plain else ()
