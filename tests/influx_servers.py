"""Servers that write as InfluxDB 2.x and 3.x do, kept by a real 1.x, and that fail as they are told.

The first forwards: `/write` as it is, `/api/v2/write` and `/api/v3/write_lp` with the answers of these versions, and
`/query` for questions. The second stands before it and does first, for each write, what its script says.
"""

import gzip
import json
import re
import socket
import threading
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from aggregator.config import Influx1, Influx2, Influx3
from tests.servers import serving

TOKEN = "sesame-open"
HTTP_KINDS = ("influx1", "influx2", "influx3")
MAX_NAMED = 100
_DATA_ERROR = re.compile(r"partial write|unable to parse")
_AUTHORIZATIONS = {"/api/v2/write": f"Token {TOKEN}", "/api/v3/write_lp": f"Bearer {TOKEN}"}


class Fault(NamedTuple):
    """What a server does with one write instead of, or after, storing it."""

    name: str
    status: int = 0  # 0 = it never answers: the connection is cut
    text: str | bytes = ""  # bytes are the whole body; ECHO is what we are sent as credentials
    is_stored: bool = False
    hangs: bool = False  # it holds the connection, and its tongue
    headers: tuple[tuple[str, str], ...] = ()


PARSE, BARE = Fault("parse", 400, "unable to parse 'x': missing fields"), Fault("bare 400", 400, "wal error: no space")
UNAUTHORIZED, NOT_FOUND = Fault("401", 401, "unauthorized access"), Fault("404", 404, "bucket not found")
TOO_LARGE, PARTIAL = Fault("413", 413, "too large"), Fault("422", 422, "partial write: field type conflict dropped=1")
BUSY = Fault("429", 429, "too many requests", headers=(("Retry-After", "17"),))
FAILED, AWAY = Fault("500", 500, "engine: disk"), Fault("503", 503, "unavailable")
CUT, LOST = Fault("cut"), Fault("stored, cut", is_stored=True)
HANG, SLOW = Fault("hang", hangs=True), Fault("stored, hang", is_stored=True, hangs=True)
LOST_BEHIND_503 = Fault("stored, 503", 503, "gateway timeout", is_stored=True)


class Write(NamedTuple):
    """A write as it came."""

    path: str
    fields: dict[str, str]
    lines: int
    port: int  # the client's: tells connections apart
    packed: bytes


class Book:
    """What a server was told and what it saw."""

    def __init__(self) -> None:
        self.script: deque[Fault | None] = deque()  # None = as it should be
        self.always: Fault | None = None  # once the script is at its end
        self.max_bytes = 2**31  # a longer body is answered with 413
        self.shuns = b""  # a body with this in it is answered with BARE
        self.together: threading.Barrier | None = None  # as many writes are answered at the same time
        self.writes: list[Write] = []
        self.lock = threading.Lock()
        self.ended = threading.Event()

    def next_fault(self) -> Fault | None:
        with self.lock:
            return self.script.popleft() if self.script else self.always


class Server(NamedTuple):
    """An address and what happens there."""

    url: str
    book: Book


@contextmanager
def influx_server(real_url: str) -> Iterator[Server]:
    """A server in front of a real 1.x. `real_url` may lead nowhere when the script never lets a write through."""
    book = Book()
    with serving(type("Handler", (_Handler,), {"real_url": real_url, "book": book})) as url:
        try:
            yield Server(url, book)
        finally:
            book.ended.set()


def http_config(
    kind: str, url: str, database: str = "d", token_file: Path | None = None, **more: Any
) -> Influx1 | Influx2 | Influx3:
    """The section of the configuration for a kind of store over HTTP."""
    common: dict[str, Any] = {"kind": kind, "url": url, "timeout_s": 30.0, **more}
    if kind == "influx1":
        return Influx1(database=database, **common)
    if kind == "influx2":
        return Influx2(bucket=database, org="o", token_file=token_file, **common)
    return Influx3(database=database, token_file=token_file, **common)


def token_file(folder: Path, token: str = TOKEN) -> Path:
    path = folder / "token"
    path.write_text(f"{token}\n")
    return path


def ask(url: str, query: str, database: str = "") -> list[list[Any]]:
    """The values of all series that a real 1.x answers with. Raises AssertionError on an error of any kind."""
    fields = {"db": database, "epoch": "ns", "q": query}
    with urllib.request.urlopen(f"{url}/query?{urlencode(fields)}", b"") as answer:  # noqa: S310 - the test server
        content = json.loads(answer.read())
    assert "error" not in json.dumps(content)
    return [
        row for result in content["results"] for series in result.get("series", []) for row in series.get("values", [])
    ]


def write(url: str, database: str, lines: str) -> None:
    """Straight into a real 1.x. Raises urllib.error.HTTPError."""
    with urllib.request.urlopen(f"{url}/write?db={quote(database)}", lines.encode()) as answer:  # noqa: S310
        assert answer.status == 204


class _Handler(BaseHTTPRequestHandler):
    real_url: str
    book: Book
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._reply(*self._forward(self.path, None))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        parts = urlsplit(self.path)
        if parts.path == "/query":
            self._reply(*self._forward(self.path, body))
            return
        text = gzip.decompress(body)
        assert self.headers["Content-Encoding"] == "gzip"
        fields = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        lines = text.count(b"\n") + 1
        self.book.writes.append(Write(parts.path, fields, lines, self.client_address[1], body))
        if self.book.together:
            self.book.together.wait(30)
        fault = BARE if self.book.shuns and self.book.shuns in text else self.book.next_fault()
        if fault is None or fault.is_stored:
            answer = self._store(parts.path, fields, text)
        if fault is None:
            self._reply(*answer)
        elif fault.status:
            content = fault.text if isinstance(fault.text, bytes) else _content(fault.text)
            content = content.replace(b"ECHO", self.headers.get("Authorization", "").encode())
            self._reply(fault.status, content, fault.headers)
        else:
            self._vanish(after_s=60 if fault.hangs else 0)

    def _store(self, path: str, fields: dict[str, str], text: bytes) -> tuple[int, bytes]:
        if self.headers["Authorization"] != (expected := _AUTHORIZATIONS.get(path)) and expected:
            return 401, _content("unauthorized access")
        if len(text) > self.book.max_bytes:
            return 413, _content("Request Entity Too Large")
        if path == "/write":
            assert fields["precision"] == "ns"
            return self._put(fields["db"], text)
        if path == "/api/v2/write":
            assert (fields["precision"], fields["org"]) == ("ns", "o")
            return self._store2(fields["bucket"], text)
        assert path == "/api/v3/write_lp"
        assert (fields["precision"], fields["accept_partial"], fields["no_sync"]) == ("nanosecond", "true", "false")
        return self._store3(fields["db"], text)

    def _store2(self, bucket: str, text: bytes) -> tuple[int, bytes]:
        status, content = self._put(bucket, text)
        if status != 400:
            return status, content
        reason = json.loads(content)["error"]
        if "partial write" in reason:
            return 422, _content(f"failure writing points to database: {reason}", code="unprocessable entity")
        return 400, _content(reason, code="invalid")

    def _store3(self, database: str, text: bytes) -> tuple[int, bytes]:
        status, content = self._put(database, text)
        if status != 400 or not _DATA_ERROR.search(content.decode()):
            return status, content
        # 3 says which they are; 1.x does not
        named = self._named(database, _lines(text), first=1)
        told = {"error": "partial write of line protocol occurred", "data": named[:MAX_NAMED]}
        return 400, json.dumps(told).encode()

    def _named(self, database: str, lines: list[bytes], first: int) -> list[dict[str, object]]:
        status, content = self._put(database, b"\n".join(lines))
        if status != 400:
            return []
        if len(lines) > 1:
            middle = len(lines) // 2
            front = self._named(database, lines[:middle], first)
            return front + self._named(database, lines[middle:], first + middle)
        reason = json.loads(content)["error"]
        return [{"original_line": lines[0].decode()[:20], "line_number": first, "error_message": reason}]

    def _put(self, database: str, text: bytes) -> tuple[int, bytes]:
        status, content, _ = self._forward(f"/write?db={quote(database)}&precision=ns", text)
        return status, content

    def _forward(self, path: str, body: bytes | None) -> tuple[int, bytes, tuple[tuple[str, str], ...]]:
        try:
            with urllib.request.urlopen(self.real_url + path, body) as answer:  # noqa: S310 - the test server
                return answer.status, answer.read(), ()
        except urllib.error.HTTPError as error:
            return error.code, error.read(), ()

    def _reply(self, status: int, content: bytes, headers: tuple[tuple[str, str], ...] = ()) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if status != 204:
            self.wfile.write(content)

    def _vanish(self, after_s: float) -> None:
        self.book.ended.wait(after_s)
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: object) -> None:
        """Quiet."""


def _lines(text: bytes) -> list[bytes]:
    """Lines as a database counts them: a newline within quotes ends none."""
    return re.findall(rb'(?:[^"\n]|"(?:\\.|[^"\\])*")+', text, re.DOTALL)


def _content(text: str, code: Literal["invalid", "unprocessable entity", ""] = "") -> bytes:
    return json.dumps({"code": code, "message": text} if code else {"error": text}).encode()
