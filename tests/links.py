"""What the tests of the sensor link need: every kind of link, brokers by taste, a server that says anything."""

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import mqtt5

from edge_agent.adapters.link_lean import LeanLink
from edge_agent.adapters.link_paho import PahoLink
from edge_agent.config import SensorBroker
from edge_agent.core.intake import Message
from edge_agent.ports import SensorLink
from tests import publishing
from tests.agents import WAIT_S
from tests.servers import Mosquitto, find_binary, free_port

FILTER = "factory/+/+/+"
TOPIC = "factory/line1/pump-1/temperature"
CLIENT_ID = "tocsin-lab-gw1"
KINDS = ("lean", "lean-tls", "paho-5", "paho-5-tls", "paho-5-websockets", "paho-3.1.1")
PLAIN = ("lean", "paho-5", "paho-3.1.1")  # where the transport makes no difference
CONNACK = mqtt5.ConnAckPacket().write()


def make_certificates(folder: Path) -> None:
    """ca.pem, server.pem and server.key for 127.0.0.1."""
    folder.mkdir(parents=True, exist_ok=True)

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=test-ca")
    openssl("req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=127.0.0.1")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    sign = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
    openssl("x509", "-req", "-in", "server.csr", *sign, "-out", "server.pem")


class LinkBroker(Mosquitto):
    """Mosquitto with a listener for each transport; `lines` come first and hold before the usual limits."""

    def __init__(
        self, folder: Path, *, lines: Sequence[str] = (), certificates: Path | None = None, persistence: bool = False
    ) -> None:
        super().__init__(folder, persistence=persistence)
        self.lines, self.certificates = lines, certificates
        self.tls_port, self.websockets_port = free_port(), free_port()
        self.listeners += [self.websockets_port] if certificates is None else [self.websockets_port, self.tls_port]

    def command(self) -> list[str]:
        super().command()
        path = self.folder / "mosquitto.conf"
        said = {line.split()[0] for line in self.lines}
        usual = [line for line in path.read_text().splitlines() if line.split()[0] not in said]
        more = [f"listener {self.websockets_port} 127.0.0.1", "protocol websockets"]
        if self.certificates is not None:
            more += [f"listener {self.tls_port} 127.0.0.1"]
            more += [f"certfile {self.certificates}/server.pem", f"keyfile {self.certificates}/server.key"]
        path.write_text("\n".join([*usual, *self.lines, *more]) + "\n")
        return [find_binary("mosquitto") or "mosquitto", "-c", str(path)]

    def settings(self, kind: str, *, keepalive_s: int = 30) -> SensorBroker:
        """How a link of this kind finds the broker."""
        port = {"tls": self.tls_port, "websockets": self.websockets_port}.get(kind.rsplit("-", 1)[-1], self.port)
        return SensorBroker(
            port=port,
            protocol="3.1.1" if "3.1.1" in kind else "5",
            transport="websockets" if kind.endswith("websockets") else "tcp",
            tls=kind.endswith("tls"),
            ca_file=self.certificates / "ca.pem" if kind.endswith("tls") and self.certificates else None,
            keepalive_s=keepalive_s,
        )


class Stamps:
    """The agent's clock: strictly ascending, for any thread."""

    def __init__(self) -> None:
        self._lock, self._last_ns = threading.Lock(), 0

    def __call__(self, count: int) -> range:
        with self._lock:
            first_ns = max(time.time_ns(), self._last_ns + 1)
            self._last_ns = first_ns + count - 1
            return range(first_ns, first_ns + count)


def make_link(
    kind: str, settings: SensorBroker, *, client_id: str = CLIENT_ID, unacked_bytes: int = 1 << 26
) -> SensorLink:
    """A link of this kind, not started."""
    link = LeanLink if kind.startswith("lean") else PahoLink
    return link(settings, client_id, None, unacked_bytes, Stamps())


@contextmanager
def started(
    link: SensorLink, *, filters: Sequence[str] = (FILTER,), is_connecting: bool = True
) -> Iterator[SensorLink]:
    """Stopped behind the context; connected inside, if `is_connecting`, without what comes meanwhile."""
    link.start(filters)
    try:
        if is_connecting:
            take_until(link, lambda _: link.is_connected)
        yield link
    finally:
        link.stop()


def take_until(
    link: SensorLink, done: Callable[[list[Message]], bool], *, acknowledging: bool = False
) -> list[Message]:
    """Take until it holds of what came."""
    found: list[Message] = []
    deadline_s = time.monotonic() + WAIT_S
    while not done(found):
        assert time.monotonic() < deadline_s, f"not in {WAIT_S} s, after {len(found)} messages"
        messages = link.take(0.05)
        found += messages
        if acknowledging:
            link.acknowledge(messages)
    return found


def take_count(link: SensorLink, count: int, *, acknowledging: bool = False) -> list[Message]:
    """Take until so many have come."""
    return take_until(link, lambda found: len(found) >= count, acknowledging=acknowledging)


def take_rest(link: SensorLink) -> list[Message]:
    """Take until nothing comes for a while."""
    found: list[Message] = []
    while messages := link.take(0.2):
        found += messages
    return found


def publish(port: int, payloads: Sequence[bytes], topic: str = TOPIC) -> None:
    """To one topic; returns when the broker has confirmed all."""
    publishing.publish(port, [(topic, payload) for payload in payloads])


def numbered(count: int, first: int = 0) -> list[bytes]:
    """Payloads that can be told apart."""
    return [str(number).encode() for number in range(first, first + count)]


def payloads(messages: list[Message]) -> list[bytes]:
    return [message.payload for message in messages]


def words(logs: list[MutableMapping[str, Any]]) -> str:
    return "\n".join(f"{line['log_level']}: {line['event']} {line.get('cure', '')}" for line in logs)


class FakeServer:
    """Accepts connections and says to each what `answers` holds for it, the last answer to all later ones."""

    def __init__(self, *answers: bytes, closes: bool = False) -> None:
        self._answers, self._closes = answers, closes
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.accepted = 0
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def say(self, content: bytes) -> None:
        """To the newest connection."""
        self._open[-1].sendall(content)

    def hear(self) -> bytes:
        """What comes next on the newest connection."""
        self._open[-1].settimeout(WAIT_S)
        return self._open[-1].recv(1 << 16)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        for connection in self._open:
            connection.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            answer = self._answers[min(self.accepted, len(self._answers) - 1)]
            self._open.append(connection)
            self.accepted += 1
            try:
                if answer:
                    connection.recv(1 << 16)  # CONNECT
                    connection.sendall(answer)
                if self._closes:
                    connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # the link was faster
