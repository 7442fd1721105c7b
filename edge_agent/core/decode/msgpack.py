"""MessagePack payloads of the shapes shown in `json.py`; a time may also be MessagePack's own timestamp.

Only what these shapes can hold is read at all: no binary data, no other extension, no keys but text, no deeper nesting
(reason `shape`). So a forged length costs 8 MiB a level at most, and keys made to collide nothing.
"""

from typing import Annotated, Any

import msgspec
from msgspec.msgpack import Ext

from edge_agent.core.decode.rules import PLAIN, Rules
from edge_agent.core.decode.shapes import decode_content
from edge_agent.core.errors import DecodeError
from edge_agent.core.readings import Decoded

_LONGEST = msgspec.Meta(max_length=1 << 20)  # a list is allocated by the length that it claims
_DEPTH = 6  # lists and objects within each other


def _nested(depth: int) -> Any:  # noqa: ANN401 - a type that is made while the program runs has no other name
    leaf = None | bool | int | float | str | Ext
    if not depth:
        return leaf
    inner = _nested(depth - 1)
    return leaf | Annotated[list[inner], _LONGEST] | dict[str, inner]  # type: ignore[valid-type]


_decode = msgspec.msgpack.Decoder(_nested(_DEPTH)).decode


def decode_msgpack(payload: bytes, asset: str, channel: str | None, arrival_ns: int, rules: Rules = PLAIN) -> Decoded:
    """Raises DecodeError, and nothing else, whatever the bytes."""
    try:
        content = _decode(payload)
    except msgspec.ValidationError as error:
        raise DecodeError("shape", f"{error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError("msgpack", f"no MessagePack: {error}") from error
    return decode_content(content, asset, channel, arrival_ns, rules)
