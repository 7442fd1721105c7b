"""One agent a state folder: two would number the same entries and send each other's batches.

The lock is the kernel's (flock), so that it goes with the process, however that ends.
"""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from edge_agent.core.errors import StartError


class StateLock:
    """Held until `release`, or until the process ends."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "lock"
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._file, 32).decode("ascii", "replace").strip()
            os.close(self._file)
            raise StartError(
                f"{folder}: another agent uses this folder (process {holder or 'unknown'}):"
                " stop it, or give this one a state_dir of its own"
            ) from error
        with suppress(OSError):  # a full disk: the number is only for the text above
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Let another process have the folder."""
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def lock_state(folder: Path) -> StateLock:
    """To be called first, before any file of the folder is opened, and kept. Raises StartError, OSError."""
    return StateLock(folder)
