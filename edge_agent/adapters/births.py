"""The births of Sparkplug nodes in one small file, so that data which waits in the broker can be read after a restart.

Written beside and renamed, with its checksum in front: after any kill it is the last content or the one before.
"""

import os
import zlib
from contextlib import suppress
from pathlib import Path

import structlog

from edge_agent.ports import NoRoomError

_log = structlog.get_logger()
_SUM_BYTES = 4


class BirthsOnDisk:
    """Implements the port BirthFile."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> bytes | None:
        """The last content; None: there is no file yet, or it is damaged."""
        try:
            content = self._path.read_bytes()
            if zlib.crc32(content[_SUM_BYTES:]).to_bytes(_SUM_BYTES, "little") == content[:_SUM_BYTES]:
                return content[_SUM_BYTES:]
            reason = "its checksum is wrong"
        except FileNotFoundError:
            return None
        except OSError as error:
            reason = str(error)
        text = "the births of Sparkplug nodes cannot be read: each is asked for a rebirth when it is heard"
        _log.warning(text, file=str(self._path), reason=reason)
        return None

    def save(self, content: bytes) -> None:
        """Durable when it returns. Raises NoRoomError; the last content is kept then."""
        beside = self._path.with_name(self._path.name + ".new")
        try:
            with beside.open("wb") as file:
                file.write(zlib.crc32(content).to_bytes(_SUM_BYTES, "little") + content)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self._path)
            folder = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
            raise NoRoomError(f"{self._path}: {error.strerror or error}") from error
