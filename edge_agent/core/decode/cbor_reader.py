"""Reads CBOR (RFC 8949) with bounded cost: all tags are refused but those that a format names.

What some tags stand for costs more than their bytes: huge numbers, references, regular expressions.
"""

from collections.abc import Callable, Mapping
from io import BytesIO

import cbor2

from edge_agent.core.errors import DecodeError

TagReader = Callable[[object, bool], object]  # (content, whether it must be immutable); raises TypeError, ValueError

_MAGIC = b"\xd9\xd9\xf7"  # tag 55799, at the start only: "this is CBOR"
# Those that the library reads by itself: times, big and decimal numbers, references, expressions, sets and more.
_READ_BY_LIBRARY = (0, 1, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000, 55799)


def cbor_reader(tags: Mapping[int, TagReader], max_depth: int, *, has_text_keys: bool) -> Callable[[bytes], object]:
    """A reader of one item and nothing else; it raises DecodeError (`cbor`). `has_text_keys`: no other ones."""
    known = {number: tags.get(number, _refuse) for number in {*_READ_BY_LIBRARY, *tags}}

    def read(payload: bytes) -> object:
        content_bytes = payload.removeprefix(_MAGIC)
        stream = BytesIO(content_bytes)
        try:
            content: object = cbor2.CBORDecoder(
                stream,
                semantic_decoders=known,
                tag_hook=_refuse,
                max_depth=max_depth,
                strict_hashable_types=has_text_keys,  # keys made to collide would cost hours
            ).decode()
        except (cbor2.CBORError, ValueError, OverflowError, RecursionError) as error:
            raise DecodeError("cbor", f"no CBOR: {error!s:.200}") from error
        if rest := len(content_bytes) - stream.tell():
            raise DecodeError("cbor", f"{rest} bytes follow the content")
        return content

    return read


def _refuse(_raw: object, _is_immutable: bool) -> object:
    msg = "a tag that is not read here"
    raise ValueError(msg)
