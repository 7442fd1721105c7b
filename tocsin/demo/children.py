"""The demo's child processes: started with a log file each, watched, ended in order."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import iotcore

from tocsin.errors import UserError

_TERM_S = 15.0  # the plant waits up to 10 s for its last PUBACKs
_TAIL_LINES = 15


class Children:
    """A context; leaving it ends whatever still runs, the last started first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._broker: iotcore.Broker | None = None

    def start_broker(self, config: Path) -> None:
        """Returns once it listens. Raises UserError."""
        broker = iotcore.Broker(config_path=str(config))
        # Ctrl-C reaches the whole terminal group, but the broker must outlive the drain: it inherits this.
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            broker.start()
        except (OSError, RuntimeError) as error:
            msg = f"the embedded broker does not start with {config}: {error}"
            raise UserError(msg) from error
        finally:
            signal.signal(signal.SIGINT, handler)
        self._broker = broker

    def start(self, name: str, *command: str) -> None:
        """Start `tocsin COMMAND …`; what it prints goes to NAME.log."""
        call = [sys.executable, "-m", "tocsin.demo.tethered", str(os.getpid()), *command]
        with self._log(name).open("wb") as log:
            self._running[name] = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                call, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def check(self) -> None:
        """Raises UserError with the end of its log when a child has ended by itself."""
        for name, process in self._running.items():
            if process.poll() is not None:
                lines = self._log(name).read_text(errors="replace").splitlines()[-_TAIL_LINES:]
                msg = f"{name} ended with exit code {process.returncode}:\n" + "\n".join(lines)
                raise UserError(msg)
        if self._broker is not None and not self._broker.is_running:
            msg = "the embedded broker ended"
            raise UserError(msg)

    def stop(self, name: str) -> int:
        """SIGTERM, and SIGKILL when that does not help in time; the exit code."""
        process = self._running.pop(name)
        process.terminate()
        try:
            return process.wait(_TERM_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in reversed(list(self._running)):
            self.stop(name)
        if self._broker is not None:
            self._broker.stop()

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"
