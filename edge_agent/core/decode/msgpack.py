"""MessagePack payloads of the shapes shown in `json.py`; a time may also be MessagePack's own timestamp.

Only what these shapes can hold is read at all: no binary data, no other extension, no keys but text, no deeper nesting
(reason `shape`). So a forged length costs 8 MiB at most, and keys made to collide nothing.
"""

import struct
from typing import Annotated

import msgspec
from msgspec.msgpack import Ext

from edge_agent.core.decode.shapes import TIME_KEYS, decode_content
from edge_agent.core.decode.times import Moment
from edge_agent.core.errors import DecodeError
from edge_agent.core.readings import Decoded

_LONGEST = msgspec.Meta(max_length=1 << 20)  # a list is allocated by the length that it claims
_Leaf = None | bool | int | float | str | Ext
_Flat = Annotated[list[_Leaf], _LONGEST] | dict[str, _Leaf]
_Items = Annotated[list[_Leaf | dict[str, _Leaf]], _LONGEST]

_decode = msgspec.msgpack.Decoder(_Leaf | _Items | dict[str, _Leaf | _Flat]).decode

_TIMESTAMP = -1  # the extension's code
_SECONDS, _NANOSECONDS_AND_SECONDS = struct.Struct(">I"), struct.Struct(">Iq")


def decode_msgpack(payload: bytes, asset: str, channel: str | None, arrival_ns: int) -> Decoded:
    """Raises DecodeError, and nothing else, whatever the bytes."""
    try:
        content = _decode(payload)
    except msgspec.ValidationError as error:
        raise DecodeError("shape", f"{error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError("msgpack", f"no MessagePack: {error}") from error
    for item in content if isinstance(content, list) else [content]:
        if isinstance(item, dict):
            item.update({key: _moment(item[key]) for key in TIME_KEYS if isinstance(item.get(key), Ext)})
    return decode_content(content, asset, channel, arrival_ns)


def _moment(extension: Ext) -> Moment:
    """The timestamp in its three lengths: s; 30 bits of ns and 34 of s; ns and signed s."""
    data = bytes(extension.data)
    if extension.code != _TIMESTAMP or len(data) not in {4, 8, 12}:
        raise DecodeError("time", f"extension {extension.code} of {len(data)} bytes: no timestamp")
    if len(data) == 4:
        nanoseconds, seconds = 0, _SECONDS.unpack(data)[0]
    elif len(data) == 8:
        nanoseconds, seconds = divmod(int.from_bytes(data), 1 << 34)
    else:
        nanoseconds, seconds = _NANOSECONDS_AND_SECONDS.unpack(data)
    if nanoseconds >= 1_000_000_000:
        raise DecodeError("time", f"a timestamp with {nanoseconds} ns within its second")
    return Moment(seconds * 1_000_000_000 + nanoseconds)
