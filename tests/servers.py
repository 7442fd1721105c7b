"""Real servers for tests, each in its own folder and on its own ports of the loopback."""

import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import SystemRandom
from types import TracebackType
from typing import Self

START_S = 90.0
_LENT = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = 10_000
_given: set[int] = set()


def quiet_ports(count: int) -> list[int]:
    """Distinct TCP ports of the loopback, free now, and below those that the system lends to clients.

    A server that is stopped and started again must find its port as it left it. Each worker of a test run has a
    share of the ports of its own, and gives out none twice: a port is free also between its choice and its use.
    """
    highest = int(_LENT.read_text().split()[0]) if _LENT.exists() else 32_768
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    share = (highest - _LOWEST) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    lowest = _LOWEST + worker * share
    found: list[int] = []
    random = SystemRandom()  # two runs at once must not choose the same
    with ExitStack() as stack:
        while len(found) < count:
            port = random.randrange(lowest, lowest + share)
            if port in _given:
                continue
            probe = stack.enter_context(socket.socket())
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            _given.add(port)
            found.append(port)
    return found


def free_port() -> int:
    """One of them."""
    return quiet_ports(1)[0]


def find_binary(name: str) -> str | None:
    """The server's binary; daemons often lie outside a user's PATH."""
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(("/usr/sbin", "/usr/local/sbin")))


class Server:
    """A child process with a folder and a port. Leaving the context kills it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """What to start; writes the configuration first."""
        raise NotImplementedError

    def is_up(self) -> bool:
        """Whether it answers."""
        raise NotImplementedError

    def start(self) -> None:
        """Returns once the server answers. Raises RuntimeError with its log when it does not."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self.command(), stdout=log, stderr=log)
        deadline = time.monotonic() + START_S
        while not self.is_up():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError((self.folder / "log").read_text(errors="replace")[-2000:])
            time.sleep(0.02)

    def stop(self) -> None:
        """Ends it in good order."""
        if self._process:
            self._process.terminate()
            self._process.wait(START_S)
            self._process = None

    def kill(self) -> None:
        """`kill -9`."""
        if self._process:
            self._process.kill()
            self._process.wait(START_S)
            self._process = None

    def restart(self) -> None:
        """On the same port and with the same data."""
        self.kill()
        self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


class Mosquitto(Server):
    """An MQTT broker, open to everyone on the loopback."""

    def __init__(self, folder: Path, *, persistence: bool = False) -> None:
        super().__init__(folder)
        self.persistence = persistence
        self.listeners = [self.port]  # it opens one after the other

    def command(self) -> list[str]:
        lines = [
            f"listener {self.port} 127.0.0.1",
            "allow_anonymous true",
            "max_inflight_messages 1000",
            "max_queued_messages 1000000",
            "set_tcp_nodelay true",
            f"persistence {str(self.persistence).lower()}",
        ]
        if self.persistence:
            lines += [f"persistence_location {self.folder}/", "autosave_interval 1"]
        if os.geteuid() == 0:  # it would change to a user who may not write into the folder
            lines.append("user root")
        path = self.folder / "mosquitto.conf"
        path.write_text("\n".join(lines) + "\n")
        return [find_binary("mosquitto") or "mosquitto", "-c", str(path)]

    def is_up(self) -> bool:
        try:
            for port in self.listeners:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            return False
        return True


class Influx1(Server):
    """InfluxDB 1.x without authentication."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        path = self.folder / "influxdb.conf"
        path.write_text(
            f"""
reporting-disabled = true
bind-address = "127.0.0.1:{free_port()}"
[meta]
  dir = "{self.folder}/meta"
[data]
  dir = "{self.folder}/data"
  wal-dir = "{self.folder}/wal"
  index-version = "inmem"
  query-log-enabled = false
[http]
  bind-address = "127.0.0.1:{self.port}"
  log-enabled = false
[monitor]
  store-enabled = false
"""
        )
        return [find_binary("influxd") or "influxd", "run", "-config", str(path)]

    def is_up(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/ping", timeout=1) as answer:  # noqa: S310 - always http on the loopback
                return int(answer.status) == 204
        except OSError:
            return False


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The URL of a small HTTP server that answers by `handler` until the context is left."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
