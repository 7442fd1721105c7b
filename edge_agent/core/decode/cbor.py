"""CBOR payloads (RFC 8949) of the shapes shown in `json.py`; a time may also carry tag 0 (text) or 1 (seconds)."""

import math

from edge_agent.core.decode.cbor_reader import cbor_reader
from edge_agent.core.decode.rules import PLAIN, Rules
from edge_agent.core.decode.shapes import decode_content
from edge_agent.core.decode.times import Moment
from edge_agent.core.readings import Decoded

_MAX_DEPTH = 16


def decode_cbor(payload: bytes, asset: str, channel: str | None, arrival_ns: int, rules: Rules = PLAIN) -> Decoded:
    """Raises DecodeError, and nothing else, whatever the bytes."""
    return decode_content(_read(payload), asset, channel, arrival_ns, rules)


def _text_time(raw: object, _is_immutable: bool) -> str:
    if not isinstance(raw, str):
        msg = "tag 0 on something else than text"
        raise TypeError(msg)
    return raw


def _number_time(raw: object, _is_immutable: bool) -> Moment:
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not math.isfinite(raw):
        msg = "tag 1 on something else than a number"
        raise TypeError(msg)
    # A float64 of seconds has no more than about 100 ns, as in times.py.
    return Moment(raw * 1_000_000_000 if isinstance(raw, int) else round(raw * 1e7) * 100)


_read = cbor_reader({0: _text_time, 1: _number_time}, _MAX_DEPTH, has_text_keys=True)
