"""JSON payloads of four shapes, told apart by their keys.

    {"ts": 1700000000123, "value": 21.5}                      one reading (the topic names the channel)
    [{"ts": …, "value": …}, …]                                many readings of that channel
    {"ts": …, "values": {"temperature": 21.5, …}}             many channels of an asset; also flat:
    {"ts": …, "temperature": 21.5, "pressure": 2.1}
    {"ts": …, "dt": 0.000078125, "values": [0.1, …]}          a column: samples `dt` seconds apart

A message counts whole or not at all. `ts` may also be called `time` or `timestamp`, `value` also `v`.
"""

import orjson

from edge_agent.core.decode.shapes import decode_content
from edge_agent.core.errors import DecodeError
from edge_agent.core.readings import Decoded


def decode_json(payload: bytes, asset: str, channel: str | None, arrival_ns: int) -> Decoded:
    """Raises DecodeError, and nothing else, whatever the bytes."""
    try:
        content = orjson.loads(payload)
    except (orjson.JSONDecodeError, RecursionError) as error:
        raise DecodeError("json", f"no JSON: {error}") from error
    return decode_content(content, asset, channel, arrival_ns)
