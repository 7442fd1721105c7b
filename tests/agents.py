"""Real agents and aggregators as child processes, for tests of the whole road."""

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import closing
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from typer.testing import CliRunner

WAIT_S = 90.0  # reached only when something is wrong, however busy the machine
EDGE = "import sys; from edge_agent.cli import app; sys.argv[0] = 'edge'; app()"
AGGREGATOR = "import sys; from aggregator.cli import app; sys.argv[0] = 'aggregator'; app()"
_ROOT = Path(__file__).parents[1]


def eventually(true: Callable[[], bool], what: str, *, every_s: float = 0.05) -> None:
    """Wait until it holds; fail with `what` after `WAIT_S`."""
    deadline = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < deadline, f"not in {WAIT_S} s: {what}"
        time.sleep(every_s)


class Process:
    """One daemon. Leaving the context kills it."""

    def __init__(self, code: str, arguments: Sequence[str], folder: Path) -> None:
        self._command = [sys.executable, "-c", code, *arguments]
        self.log = folder / f"{arguments[0]}-{arguments[-1].rsplit('/', 1)[-1]}.log"
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; the log goes on."""
        environment = os.environ | {"PYTHONPATH": str(_ROOT)}
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(self._command, stdout=log, stderr=log, env=environment)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._child is not None
        self._child.send_signal(number)

    def wait(self) -> int:
        """Its exit code; subprocess.TimeoutExpired when it does not end."""
        assert self._child is not None
        return self._child.wait(WAIT_S)

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """`kill -9`."""
        if self._child is not None and self._child.poll() is None:
            self._child.kill()
            self._child.wait()

    def says(self, text: str) -> bool:
        """Whether the log holds it."""
        return text in self.log.read_text(errors="replace")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


def edge(
    folder: Path,
    port: int,
    *,
    models: Sequence[Path] = (),
    extra: str = "",
    period_s: float = 1.0,
    inference: str = "allow_unsigned = true",
) -> Process:
    """An edge agent of the asset topics `factory/{line}/{asset}[/{channel}]` on one broker."""
    names = json.dumps([str(path) for path in models])
    (folder / "edge.toml").write_text(
        f"""
site = "lab"
gateway = "gw1"
state_dir = "state"
topics = [{{ template = "factory/{{line}}/{{asset}}/{{channel}}" }}, {{ template = "factory/{{line}}/{{asset}}" }}]
channels = [{{ match = "*/narrow", range = [0, 10] }}, {{ match = "*/known*" }}, {{ match = "[!s]*/*" }}]
assets = [{{ match = "*", period_s = {period_s}, lateness_s = 0, models = {names} }}]
{extra}
[sensor_broker]
port = {port}
[uplink]
port = {port}
receipt_timeout_s = 2
[inference]
providers = ["cpu"]
{inference}
"""
    )
    return Process(EDGE, ["run", str(folder / "edge.toml")], folder)


def aggregator(folder: Path, port: int, store: str) -> Process:
    """An aggregator; `store` is the TOML of its store."""
    (folder / "aggregator.toml").write_text(f"[broker]\nport = {port}\n[store]\n{store}\n")
    return Process(AGGREGATOR, ["run", str(folder / "aggregator.toml")], folder)


def run_cli(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One command to its end, in this process: a fresh one takes a second to start, and tests ask again and again."""
    done = CliRunner(env={"COLUMNS": "200"}).invoke(import_module(module).app, arguments)
    is_crash = done.exception is not None and not isinstance(done.exception, SystemExit)
    crash = "".join(traceback.format_exception(done.exception)) if is_crash else ""
    return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr + crash)


def query(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    """`tocsin aggregator query … --json` against the store of the folder's aggregator; [] before there is one."""
    done = run_cli("aggregator.cli", "query", *arguments, "--config", str(folder / "aggregator.toml"), "--json")
    found: list[dict[str, Any]] = json.loads(done.stdout) if done.returncode == 0 else []
    return found


def sqlite_rows(path: Path, statement: str) -> list[tuple[Any, ...]]:
    """Rows of an embedded store; [] before it exists."""
    import sqlite3

    if not path.exists():
        return []
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        try:
            return connection.execute(statement).fetchall()
        except sqlite3.OperationalError:  # no table yet
            return []
