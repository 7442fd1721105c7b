"""Payload decoders, one file a format, one table of them all: `DECODERS`."""

from collections.abc import Callable

from edge_agent.core.decode.json import decode_json
from edge_agent.core.readings import Decoded

# (payload, asset, channel of the topic or None, arrival_ns) -> what it holds. Raises DecodeError and nothing else.
Decoder = Callable[[bytes, str, str | None, int], Decoded]

DECODERS: dict[str, Decoder] = {"json": decode_json}
