"""Payload decoders, one file a format, one table: `DECODERS`; `decoder_of` adds what a topic sets."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from edge_agent.config import Topic
from edge_agent.core.decode.cbor import decode_cbor
from edge_agent.core.decode.compression import UNPACKERS
from edge_agent.core.decode.json import decode_json
from edge_agent.core.decode.json_simple import decode_simple
from edge_agent.core.decode.line_protocol import decode_line_protocol
from edge_agent.core.decode.msgpack import decode_msgpack
from edge_agent.core.decode.raw import raw_decoder
from edge_agent.core.decode.senml import decode_senml_cbor, decode_senml_json
from edge_agent.core.readings import Decoded

# (payload, asset, channel of the topic or None, arrival_ns) -> what it holds. Raises DecodeError and nothing else.
Decoder = Callable[[bytes, str, str | None, int], Decoded]

# Of the formats that need no settings.
DECODERS: dict[str, Decoder] = {
    "json": decode_json,
    "msgpack": decode_msgpack,
    "cbor": decode_cbor,
    "senml-json": decode_senml_json,
    "senml-cbor": decode_senml_cbor,
    "influx-line": decode_line_protocol,
}

# Payloads of one reading each -> times in ns and values, [n] each; None: one of them is of another form.
SimpleDecoder = Callable[[Sequence[bytes]], tuple[NDArray[np.int64], NDArray[np.float64]] | None]

SIMPLE_DECODERS: dict[str, SimpleDecoder] = {"json": decode_simple}


def decoder_of(topic: Topic, limit_bytes: int) -> Decoder:
    """What decodes the topic's payloads; compressed ones may come to `limit_bytes`."""
    if topic.dtype is None or topic.rate_hz is None:
        inner = DECODERS[topic.format]
    else:
        inner = raw_decoder(topic.dtype, topic.scale, topic.offset, topic.rate_hz)
    unpack = UNPACKERS.get(topic.compression)
    if unpack is None:
        return inner

    def decode(payload: bytes, asset: str, channel: str | None, arrival_ns: int) -> Decoded:
        return inner(unpack(payload, limit_bytes), asset, channel, arrival_ns)

    return decode


def simple_decoder_of(topic: Topic) -> SimpleDecoder | None:
    """What decodes many of the topic's payloads at once, if something can."""
    return SIMPLE_DECODERS.get(topic.format) if topic.compression == "none" else None
