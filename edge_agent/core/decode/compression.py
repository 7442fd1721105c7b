"""gzip and zstd around any payload: one stream or frame, whole, and no longer than the bound when it is unpacked."""

import zlib
from collections.abc import Callable
from io import BytesIO

import zstandard

from edge_agent.core.errors import DecodeError

_WINDOW_BYTES = 8 << 20  # a frame claims what memory its reader needs; RFC 8878 asks each reader to grant this


def unpack_gzip(payload: bytes, limit_bytes: int) -> bytes:
    """Raises DecodeError: `too_large` beyond `limit_bytes`, else `compression`."""
    stream = zlib.decompressobj(wbits=31)
    try:
        content = stream.decompress(payload, limit_bytes + 1)
    except zlib.error as error:
        raise DecodeError("compression", f"no gzip: {error}") from error
    _check_size(len(content), limit_bytes)
    return _whole(content, is_whole=stream.eof, rest=stream.unused_data)


def unpack_zstd(payload: bytes, limit_bytes: int) -> bytes:
    """Raises DecodeError: `too_large` beyond `limit_bytes`, else `compression`."""
    try:
        # An object tells whether the frame is whole but knows no bound; a reader has one. So the reader goes first.
        with _zstd().stream_reader(BytesIO(payload)) as reader:
            _check_size(len(reader.read(limit_bytes + 1)), limit_bytes)
        stream = _zstd().decompressobj()
        content = stream.decompress(payload)
    except zstandard.ZstdError as error:
        raise DecodeError("compression", f"no zstd: {error}") from error
    return _whole(content, is_whole=stream.eof, rest=stream.unused_data)


UNPACKERS: dict[str, Callable[[bytes, int], bytes]] = {"gzip": unpack_gzip, "zstd": unpack_zstd}


def _zstd() -> zstandard.ZstdDecompressor:
    return zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES)


def _check_size(size_bytes: int, limit_bytes: int) -> None:
    if size_bytes > limit_bytes:
        text = f"more than {limit_bytes} bytes when unpacked, which limits.payload_bytes allows"
        raise DecodeError("too_large", text)


def _whole(content: bytes, *, is_whole: bool, rest: bytes) -> bytes:
    if not is_whole:
        raise DecodeError("compression", "the compressed data end too early")
    if rest:
        raise DecodeError("compression", f"{len(rest)} bytes follow the compressed data")
    return content
