"""CBOR payloads (RFC 8949) of the shapes shown in `json.py`; a time may also carry tag 0 (text) or 1 (seconds).

The other tags are refused: what some of them stand for costs more than their bytes.
"""

import io
import math

import cbor2

from edge_agent.core.decode.shapes import decode_content
from edge_agent.core.decode.times import Moment
from edge_agent.core.errors import DecodeError
from edge_agent.core.readings import Decoded

_MAGIC = b"\xd9\xd9\xf7"  # tag 55799, at the start only: "this is CBOR"
_MAX_DEPTH = 16


def decode_cbor(payload: bytes, asset: str, channel: str | None, arrival_ns: int) -> Decoded:
    """Raises DecodeError, and nothing else, whatever the bytes."""
    content_bytes = payload.removeprefix(_MAGIC)
    stream = io.BytesIO(content_bytes)
    try:
        content = cbor2.CBORDecoder(
            stream,
            semantic_decoders=_TAGS,
            tag_hook=_refuse,
            max_depth=_MAX_DEPTH,
            strict_hashable_types=True,  # keys made to collide would cost hours
        ).decode()
    except (cbor2.CBORError, ValueError, OverflowError, RecursionError) as error:
        raise DecodeError("cbor", f"no CBOR: {error}") from error
    if rest := len(content_bytes) - stream.tell():
        raise DecodeError("cbor", f"{rest} bytes follow the content")
    return decode_content(content, asset, channel, arrival_ns)


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


def _refuse(_raw: object, _is_immutable: bool) -> object:
    msg = "a tag other than 0 and 1"
    raise ValueError(msg)


# Those that the library would read by itself: big and decimal numbers, references, expressions, sets, dates and more.
_REFUSED = (2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000, 55799)
_TAGS = {0: _text_time, 1: _number_time} | dict.fromkeys(_REFUSED, _refuse)
