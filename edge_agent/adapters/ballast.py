"""Room put by for a full disk, and how much room the disk has.

SQLite on a full disk cannot even delete: what it deletes is first written to its log. So a file of real bytes
lies beside the databases. It is removed when something must be written that frees room (a receipt, a trim, a
thinning) or without which the agent cannot start, and made again once the disk has ample room.
"""

import os
import threading
from contextlib import suppress
from pathlib import Path

import structlog

_log = structlog.get_logger()
_MIB = 1024 * 1024
BALLAST_BYTES = 8 * _MIB  # the logs of journal and outbox, 4 MiB each: then both can delete until the disk has room
HEADROOM_BYTES = 4 * _MIB  # a file stops growing this far before the disk is full: its log has to fit as well
_lock = threading.Lock()  # journal and outbox share one folder, and so one ballast


class Ballast:
    """The file `ballast` of a state folder."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "ballast"
        self._folder = str(folder)

    def has_room(self, size_bytes: int) -> bool:
        """Whether a file may grow by a commit of that size: once in its log, once in itself."""
        return self._free_bytes() >= HEADROOM_BYTES + 2 * size_bytes

    def release(self) -> None:
        """Give the room away, for work that frees more."""
        with _lock:
            if self.file.exists():
                self.file.unlink()
                _log.warning("the disk is full: the ballast was dropped, so that deletions go on", file=str(self.file))

    def restore(self) -> None:
        """Make the file when it is not there and the disk has ample room."""
        with _lock:
            if self.file.exists() or self._free_bytes() < BALLAST_BYTES + HEADROOM_BYTES:
                return
            new = self.file.with_name("ballast.new")
            try:
                self._write(new)
                new.rename(self.file)
            except OSError:  # full again meanwhile: the next call tries again
                with suppress(OSError):
                    new.unlink()

    def _free_bytes(self) -> int:
        disk = os.statvfs(self._folder)
        return disk.f_bavail * disk.f_frsize

    @staticmethod
    def _write(path: Path) -> None:
        noise = os.urandom(_MIB)  # a file system that compresses must not save the room
        with path.open("wb") as file:
            for _ in range(BALLAST_BYTES // _MIB):
                file.write(noise)
            file.flush()
            os.fsync(file.fileno())
