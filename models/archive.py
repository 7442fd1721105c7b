"""The outer form of a bundle: a zip archive of stored files that can be written in one way only.

Time stamps, flags and attributes are fixed, so the same parts give the same bytes; what reads back differently
from how it would be written is refused. Nothing can hide between, before or behind the parts.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping

from models.manifest import BundleError

MAX_BUNDLE_BYTES = 64 * 1024 * 1024
MAX_PARTS = 16
_TIME, _DATE = 0, 1 << 5 | 1  # 1980-01-01 00:00:00, the earliest that a zip archive can hold
_UNIX, _VERSION = 3, 20
_MODE = 0o100644 << 16
_LOCAL, _ENTRY, _END = struct.Struct("<4s5H3I2H"), struct.Struct("<4s6H3I5H2I"), struct.Struct("<4s4H2IH")


def pack(parts: Mapping[str, bytes]) -> bytes:
    """The archive of these parts, in their order. Names are ASCII."""
    files, directory = bytearray(), bytearray()
    for name, content in parts.items():
        label, size, check = name.encode("ascii"), len(content), zlib.crc32(content)
        about = (0, 0, _TIME, _DATE, check, size, size, len(label), 0)
        directory += _ENTRY.pack(b"PK\x01\x02", _UNIX << 8 | _VERSION, _VERSION, *about, 0, 0, 0, _MODE, len(files))
        directory += label
        files += _LOCAL.pack(b"PK\x03\x04", _VERSION, *about) + label + content
    end = _END.pack(b"PK\x05\x06", 0, 0, len(parts), len(parts), len(directory), len(files), 0)
    return bytes(files + directory + end)


def unpack(content: bytes, label: str) -> dict[str, bytes]:
    """The parts, in order. Raises BundleError for all that `pack` would not have written so; `label` names it."""
    if len(content) > MAX_BUNDLE_BYTES:
        msg = f"{label}: larger than {MAX_BUNDLE_BYTES} bytes"
        raise BundleError(msg)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            _check_entries(entries, label)
            parts = {entry.filename: archive.read(entry) for entry in entries}
        again = pack(parts)
    except BundleError:
        raise
    except (zipfile.BadZipFile, zlib.error, OSError, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        msg = f"{label}: no bundle, or one that was cut or changed: {error}; fetch it again"
        raise BundleError(msg) from error
    if again != content:
        msg = f"{label}: holds bytes that belong to no part: it was changed, or not written by `tocsin model`"
        raise BundleError(msg)
    return parts


def _check_entries(entries: list[zipfile.ZipInfo], label: str) -> None:
    """Before anything is unpacked."""
    names = [entry.filename for entry in entries]
    if len(names) > MAX_PARTS:
        msg = f"{label}: holds {len(names)} parts; at most {MAX_PARTS} are allowed"
        raise BundleError(msg)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        msg = f"{label}: holds {twice[0]!r} more than once"
        raise BundleError(msg)
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        msg = f"{label}: holds compressed parts; a bundle's are stored as they are"
        raise BundleError(msg)
    if sum(entry.file_size for entry in entries) > MAX_BUNDLE_BYTES:
        msg = f"{label}: unpacks to more than {MAX_BUNDLE_BYTES} bytes"
        raise BundleError(msg)
