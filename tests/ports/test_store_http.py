"""What each status, header and failure of HTTP means: wait, call a person, or look closer. And no secret is told."""

import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from aggregator.adapters import stores
from aggregator.config import StoreConfig
from aggregator.ports import RetryLater, StoreMisconfigured
from tests.influx_servers import HTTP_KINDS, TOKEN, Fault, http_config, influx_server, token_file
from tests.links import make_certificates
from tests.servers import free_port
from tests.store_rows import readings

STATUSES = [
    (401, "unauthorized", StoreMisconfigured),
    (403, "forbidden", StoreMisconfigured),
    (404, "bucket not found", StoreMisconfigured),
    (405, "method not allowed", StoreMisconfigured),
    (500, "retention policy not found: zz", StoreMisconfigured),
    (200, "hello from a proxy", StoreMisconfigured),
    (202, "queued", StoreMisconfigured),
    (301, "moved", StoreMisconfigured),
    (307, "elsewhere", StoreMisconfigured),
    (408, "slow", RetryLater),
    (429, "too many", RetryLater),
    (500, "engine: disk", RetryLater),
    (502, "bad gateway", RetryLater),
    (503, "unavailable", RetryLater),
    (400, "wal error: object store", RetryLater),
    (400, "Bad Request: cannot parse the header", RetryLater),
    (422, "limit exceeded", RetryLater),
]


@pytest.mark.parametrize("kind", HTTP_KINDS)
@pytest.mark.parametrize(("status", "text", "raised"), STATUSES)
def test_a_status_says_whether_time_or_a_person_is_needed(
    kind: str, status: int, text: str, raised: type[Exception]
) -> None:
    with influx_server("http://127.0.0.1:1") as server:
        server.book.always = Fault("one", status, text, headers=(("Location", f"{server.url}/elsewhere"),))
        # the client library has no text for what it takes for success
        with pytest.raises(raised, match=f"HTTP {status}" if status < 300 else text):
            stores.open_store(http_config(kind, server.url)).prepare(readings("p", [1.0]))()
        assert {written.path for written in server.book.writes} <= {"/write", "/api/v2/write", "/api/v3/write_lp"}


@pytest.mark.parametrize("kind", HTTP_KINDS)
@pytest.mark.parametrize(
    "body", ["Dienst nicht verfügbar".encode("latin-1"), b"", b"\xff" * 1000, b'{"error": null}', b"[]"]
)
def test_an_error_page_in_whatever_letters_is_an_error(kind: str, body: bytes) -> None:
    with influx_server("http://127.0.0.1:1") as server:
        server.book.always = Fault("page", 502, body)
        with pytest.raises(RetryLater):
            stores.open_store(http_config(kind, server.url)).prepare(readings("p", [1.0]))()


NOW = "Sat, 21 Nov 2026 22:00:00 GMT"


@pytest.mark.parametrize("kind", HTTP_KINDS)
@pytest.mark.parametrize(
    ("headers", "after_s"),
    [
        ([("Retry-After", "17")], 17.0),
        ([("Retry-After", "86400")], 900.0),
        ([("Retry-After", "9" * 400)], 900.0),
        ([("Retry-After", "0")], None),
        ([("Retry-After", "soon")], None),
        ([("Retry-After", "-5")], None),
        ([], None),
        ([("Date", NOW), ("Retry-After", "Sat, 21 Nov 2026 22:01:30 GMT")], 90.0),
        ([("Date", NOW), ("Retry-After", "Sun, 22 Nov 2026 22:00:00 GMT")], 900.0),
        ([("Date", NOW), ("Retry-After", "Sat, 21 Nov 2026 21:00:00 GMT")], None),
        ([("Retry-After", "Sat, 21 Nov 2026 22:01:30 GMT")], None),
        ([("Date", "yesterday"), ("Retry-After", "Sat, 21 Nov 2026 22:01:30 GMT")], None),
    ],
)
def test_the_server_says_how_long_to_wait(kind: str, headers: list[tuple[str, str]], after_s: float | None) -> None:
    with influx_server("http://127.0.0.1:1") as server:
        server.book.always = Fault("busy", 503, "busy", headers=tuple(headers))
        with pytest.raises(RetryLater) as caught:
            stores.open_store(http_config(kind, server.url)).prepare(readings("p", [1.0]))()
    assert caught.value.after_s == after_s


@pytest.mark.parametrize("kind", HTTP_KINDS)
def test_a_server_that_is_not_there_means_later(kind: str) -> None:
    with pytest.raises(RetryLater, match="no answer"):
        stores.open_store(http_config(kind, f"http://127.0.0.1:{free_port()}")).prepare(readings("p", [1.0]))()


@pytest.mark.parametrize("kind", HTTP_KINDS)
@pytest.mark.parametrize("status", [400, 401, 413, 500, 503])
def test_a_secret_that_a_server_repeats_is_in_no_error(kind: str, status: int, tmp_path: Path) -> None:
    with influx_server("http://127.0.0.1:1") as server:
        server.book.always = Fault("echo", status, "you sent ECHO")
        store = stores.open_store(secret_config(kind, server.url, tmp_path))
        try:
            told = str(store.prepare(readings("p", [1.0]))())
        except (RetryLater, StoreMisconfigured) as error:
            told = str(error)
    assert "you sent " in told
    assert not any(secret in told for secret in (TOKEN, "ZnJlZDpzZXNhbWUtb3Blbg"))


@pytest.mark.parametrize("kind", HTTP_KINDS)
def test_a_secret_that_fits_into_no_header_needs_a_person_and_is_not_told(kind: str, tmp_path: Path) -> None:
    config = secret_config(kind, "http://127.0.0.1:1", tmp_path, "sesame\n-open 温")
    error: type[Exception] = RetryLater if kind == "influx1" else StoreMisconfigured  # Basic carries all characters
    with pytest.raises(error) as caught:
        stores.open_store(config).prepare(readings("p", [1.0]))()
    assert "sesame" not in str(caught.value)


def secret_config(kind: str, url: str, folder: Path, secret: str = TOKEN) -> StoreConfig:
    path = token_file(folder, secret)
    if kind == "influx1":
        return http_config(kind, url, username="fred", password_file=path)
    return http_config(kind, url, token_file=path)


@pytest.mark.parametrize("kind", HTTP_KINDS)
def test_a_certificate_of_somebody_else_needs_a_person(kind: str, tmp_path: Path) -> None:
    make_certificates(tmp_path / "theirs")
    make_certificates(tmp_path / "ours")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "theirs" / "server.pem", tmp_path / "theirs" / "server.key")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        with ThreadPoolExecutor(1) as threads:
            greeted = threads.submit(greet, listener, context)
            config = http_config(kind, url, ca_file=tmp_path / "ours" / "ca.pem")
            with pytest.raises(StoreMisconfigured, match="certificate"):
                stores.open_store(config).prepare(readings("p", [1.0]))()
            greeted.result()


@pytest.mark.parametrize("kind", HTTP_KINDS)
def test_a_server_that_hangs_up_in_the_handshake_means_later(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as threads:
        greeted = threads.submit(hang_up, listener)
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(RetryLater, match="no answer"):
            stores.open_store(http_config(kind, url)).prepare(readings("p", [1.0]))()
        greeted.result()


def hang_up(listener: socket.socket) -> None:
    listener.accept()[0].close()


def greet(listener: socket.socket, context: ssl.SSLContext) -> None:
    connection, _ = listener.accept()
    with connection, suppress(OSError):
        context.wrap_socket(connection, server_side=True)
