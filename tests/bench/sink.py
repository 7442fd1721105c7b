"""A database that takes everything and keeps nothing: it answers each write with 204."""

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.servers import free_port


class Taking(BaseHTTPRequestHandler):
    """Keep-alive; nothing is logged."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        self.took(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()

    def took(self, body: bytes) -> None:
        """What came; to be kept by whoever wants it."""

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def sink() -> Iterator[str]:
    """The URL of one in a process of its own, whose CPU time is its own too."""
    server = ThreadingHTTPServer(("127.0.0.1", free_port()), Taking)
    process = multiprocessing.get_context("fork").Process(target=server.serve_forever, daemon=True)
    process.start()
    server.socket.close()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        process.kill()
        process.join()
