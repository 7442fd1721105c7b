"""JSON payloads of these shapes, told apart by their keys.

    21.5                                                      one value of any kind (the topic names the channel)
    {"ts": 1700000000123, "value": 21.5}                      one reading (the topic names the channel)
    {"ts": …, "values": {"temperature": 21.5, …}}             many channels of an asset; also flat:
    {"ts": …, "temperature": 21.5, "pressure": 2.1}
    {"ts": …, "dt": 0.01, "values": [0.1, …]}                 a column: readings `dt` seconds apart, from `ts` on
    {"ts": [1700000000123, …], "values": [0.1, …]}            a column with a time for each
    {"ts": …, "dt": 0.01, "values": {"a": [0.1, …], …}}       columns of many channels
    [{"ts": …, "value": …}, …]                                a list of any of these

A message counts whole or not at all. `ts` may also be called `time` or `timestamp`, `value` also `v`. A column without
`ts` is taken to end when its message arrives. Other shapes are described by the topic's `fields`: see `places.py`.
"""

import orjson

from edge_agent.core.decode.rules import PLAIN, Rules
from edge_agent.core.decode.shapes import decode_content
from edge_agent.core.errors import DecodeError
from edge_agent.core.readings import Decoded


def decode_json(payload: bytes, asset: str, channel: str | None, arrival_ns: int, rules: Rules = PLAIN) -> Decoded:
    """Raises DecodeError, and nothing else, whatever the bytes."""
    try:
        content = orjson.loads(payload)
    except (orjson.JSONDecodeError, RecursionError) as error:
        raise DecodeError("json", f"no JSON: {error}") from error
    return decode_content(content, asset, channel, arrival_ns, rules)
