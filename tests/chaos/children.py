"""Child processes that die with this one, are restarted when they end by themselves, and a small disk.

The kernel kills a child when its parent dies, even by `kill -9` (setpriv --pdeathsig); so nothing is left behind.
Children must therefore be started by the main thread: the kernel watches the thread that forked.
"""

import asyncio
import os
import subprocess
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_TETHER = ("setpriv", "--pdeathsig", "KILL")
_LOOK_S, _RESTART_S, _WAIT_S = 0.2, 0.5, 90.0


class Child:
    """One process of a name, with a log that goes on over restarts."""

    def __init__(self, name: str, command: Sequence[str], folder: Path) -> None:
        self.name, self._command = name, [*_TETHER, *command]
        self.log = folder / f"{name}.log"
        self.is_wanted = False
        self.ended: Counter[int] = Counter()  # exit codes with which it ended by itself
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; returns at once."""
        assert threading.current_thread() is threading.main_thread(), "the tether would be the other thread's"
        environment = os.environ | {"PYTHONPATH": str(_ROOT)}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
            )
        self.is_wanted = True

    def kill(self) -> bool:
        """`kill -9`; whether it ran until then."""
        process = self._give_up()
        if process is None or process.poll() is not None:
            return False
        process.kill()
        process.wait(_WAIT_S)
        return True

    async def terminate(self) -> bool:
        """SIGTERM, and wait for its end; whether it ran until then."""
        process = self._give_up()
        if process is None or process.poll() is not None:
            return False
        process.terminate()
        async with asyncio.timeout(_WAIT_S):
            while process.poll() is None:
                await asyncio.sleep(0.01)
        return True

    async def keep(self) -> None:
        """Restart it whenever it ends by itself, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_S)
            code = self._process.poll() if self._process is not None else None
            if self.is_wanted and code is not None:
                self.ended[code] += 1
                await asyncio.sleep(_RESTART_S)
                if self.is_wanted:
                    self.start()

    def _give_up(self) -> subprocess.Popen[bytes] | None:
        process, self._process = self._process, None
        self.is_wanted = False
        return process


class SmallDisk:
    """A tmpfs of its own for a folder, where mounting is allowed; elsewhere an ordinary folder that never fills up."""

    def __init__(self, folder: Path, size_bytes: int) -> None:
        folder.mkdir(parents=True)
        self.folder, self._ballast = folder, folder / "ballast"
        command = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder)]
        done = subprocess.run(command, check=False, capture_output=True)
        self.is_mounted = done.returncode == 0

    def fill(self) -> None:
        """Until nothing more fits."""
        with self._ballast.open("wb", buffering=0) as ballast:
            for size in (65_536, 4096, 1):
                try:
                    while True:
                        ballast.write(b"\0" * size)
                except OSError:
                    continue

    def empty(self) -> None:
        """Give the room back."""
        self._ballast.unlink(missing_ok=True)

    def close(self) -> None:
        """Unmount, whoever still uses it."""
        if self.is_mounted:
            subprocess.run(["umount", "-l", str(self.folder)], check=True)
            self.is_mounted = False
