"""What the process says of itself over HTTP: /metrics for Prometheus, /healthz and /readyz for those who start it.

In threads of their own, so that an event loop that stands still can be told from outside. Bounded: so many requests
at once and no more, and none takes longer than a few seconds.
"""

import json
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from aggregator.config import Metrics
from models.contract.config_errors import ConfigError

_AT_ONCE = 16
_REQUEST_S = 5.0
_POLL_S = 0.05
Check = Callable[[], Mapping[str, str]]  # what is wrong, by part; empty = nothing


class Answer(NamedTuple):
    """One reply."""

    status: HTTPStatus
    kind: str
    body: bytes


class StatusServer:
    """Serves from construction until `close`. Raises ConfigError when the port cannot be opened."""

    def __init__(self, config: Metrics, registry: CollectorRegistry, healthy: Check, ready: Check) -> None:
        pages = {
            "/metrics": lambda: Answer(HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(registry)),
            "/healthz": lambda: _verdict(healthy()),
            "/readyz": lambda: _verdict(ready()),
        }
        try:
            self._server = _Server((config.host, config.port), pages)
        except OSError as error:
            msg = f"metrics: {config.host}:{config.port} cannot be opened: {error.strerror or error}"
            raise ConfigError(msg) from error
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_POLL_S,), name="status", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Returns when the port is free."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], pages: Mapping[str, Callable[[], Answer]]) -> None:
        self.pages = pages
        self._slots = threading.BoundedSemaphore(_AT_ONCE)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - of the standard library
        """In a thread, if there is a slot; else the connection is closed without a word."""
        if self._slots.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - of the standard library
        """As before, and give the slot back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - of the standard library
        """A client that goes away is none of our troubles."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _REQUEST_S
    server_version, sys_version = "tocsin", ""

    def setup(self) -> None:
        """The time-out is for one silence; who sends a byte now and then ends by the alarm."""
        super().setup()
        self._alarm = threading.Timer(_REQUEST_S, self._hang_up)
        self._alarm.daemon = True
        self._alarm.start()

    def finish(self) -> None:
        """In time."""
        self._alarm.cancel()
        super().finish()

    def _hang_up(self) -> None:
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def do_GET(self) -> None:
        page = self.server.pages.get(self.path.partition("?")[0])
        answer = page() if page else Answer(HTTPStatus.NOT_FOUND, "text/plain", b"/metrics, /healthz, /readyz\n")
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_HEAD = do_GET  # noqa: N815 - of the standard library

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - of the standard library
        """Probes come every few seconds: they are not worth a line."""


def _verdict(wrong: Mapping[str, str]) -> Answer:
    status = HTTPStatus.SERVICE_UNAVAILABLE if wrong else HTTPStatus.OK
    return Answer(status, "application/json", json.dumps({"ok": not wrong, "missing": wrong}).encode() + b"\n")
