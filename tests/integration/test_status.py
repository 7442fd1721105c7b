"""/metrics, /healthz and /readyz, asked over real sockets, of a real process too."""

import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import publish
from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.parser import text_string_to_metric_families

from aggregator.adapters.status import StatusServer
from aggregator.config.services import Metrics as Section
from aggregator.metrics import Metrics
from models.contract.batch import encode_batch
from models.contract.config_errors import ConfigError
from models.contract.topics import topic
from tests.agents import AGGREGATOR, Process, eventually
from tests.batches import batch
from tests.servers import Influx1, Mosquitto, free_port


class Asked:
    """A server whose two verdicts a test can set."""

    def __init__(self) -> None:
        self.ill: dict[str, str] = {}
        self.missing: dict[str, str] = {}
        self.metrics = Metrics()
        port = free_port()
        self.server = StatusServer(Section(port=port), self.metrics.registry, lambda: self.ill, lambda: self.missing)

    def get(self, path: str, method: str = "GET") -> tuple[int, Any, bytes]:
        return get(self.server.port, path, method)


def get(port: int, path: str, method: str = "GET") -> tuple[int, Any, bytes]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - the loopback
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


@pytest.fixture
def asked() -> Iterator[Asked]:
    one = Asked()
    yield one
    one.server.close()


def test_metrics_are_what_prometheus_reads(asked: Asked) -> None:
    asked.metrics.rows_written.inc(7)
    status, headers, body = asked.get("/metrics?name[]=x")
    assert (status, headers["Content-Type"]) == (200, CONTENT_TYPE_LATEST)
    found = {one.name: one.samples for one in text_string_to_metric_families(body.decode())}
    assert found["tocsin_aggregator_rows_written"][0].value == 7
    assert "tocsin_aggregator_oldest_waiting_seconds" in found


def test_health_and_readiness_are_two_questions_and_the_answer_says_what_is_missing(asked: Asked) -> None:
    assert [asked.get(path)[0] for path in ("/healthz", "/readyz")] == [200, 200]
    asked.missing = {"store": "did not take the last write"}
    status, headers, body = asked.get("/readyz")
    assert (status, headers["Content-Type"]) == (503, "application/json")
    assert json.loads(body) == {"ok": False, "missing": asked.missing}
    assert asked.get("/healthz")[0] == 200
    asked.ill = {"loop": "has stood still"}
    assert asked.get("/healthz")[0] == 503


def test_a_head_has_no_body_and_nothing_else_is_served(asked: Asked) -> None:
    status, headers, body = asked.get("/healthz", "HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) > 0
    for path in ("/", "/metrics/", "/healthz/x", "/../etc/passwd"):
        assert asked.get(path)[0] == 404, path
    for method in ("POST", "PUT", "DELETE"):
        assert asked.get("/metrics", method)[0] == 501, method


def test_those_who_connect_and_say_nothing_hold_up_nobody_for_long(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aggregator.adapters.status._Handler.timeout", 0.3)
    with ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(closing(socket.create_connection(("127.0.0.1", asked.server.port))))
        eventually(lambda: _is_well(asked), "an answer although a hundred hold their connections")


def test_those_who_send_a_byte_now_and_then_are_hung_up_on(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aggregator.adapters.status._REQUEST_S", 0.3)

    def trickle(slow: socket.socket) -> None:
        for _ in range(400):
            slow.sendall(b"X")
            time.sleep(0.05)

    with socket.create_connection(("127.0.0.1", asked.server.port)) as slow, pytest.raises(ConnectionError):
        trickle(slow)


def _is_well(asked: Asked) -> bool:
    try:
        return asked.get("/healthz")[0] == 200
    except OSError:
        return False


@pytest.mark.parametrize(
    "rubbish", [b"\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00" * 99, b"GET /" + b"a" * 100_000]
)
def test_rubbish_is_turned_away_and_the_next_one_is_answered(
    asked: Asked, rubbish: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_connection(("127.0.0.1", asked.server.port), timeout=10) as connection:
        try:
            connection.sendall(rubbish)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(4096)
        except OSError as error:  # it may hang up before it has read all
            assert not isinstance(error, TimeoutError)  # noqa: PT017 - what else may come depends on the moment
    assert asked.get("/healthz")[0] == 200
    assert capfd.readouterr().err == ""


def test_a_port_that_is_taken_is_a_fault_of_the_configuration(asked: Asked) -> None:
    taken = Section(port=asked.server.port)
    with pytest.raises(ConfigError, match=f"metrics: 127.0.0.1:{taken.port} cannot be opened"):
        StatusServer(taken, asked.metrics.registry, dict, dict)


def aggregator(folder: Path, broker_port: int, port: int, store: str) -> Process:
    path = folder / "aggregator.toml"
    path.write_text(f"[broker]\nport = {broker_port}\n[store]\n{store}\n[metrics]\nport = {port}\n")
    return Process(AGGREGATOR, ["run", str(path)], folder)


def verdict(port: int, path: str) -> tuple[int, dict[str, str]]:
    """Status 0: it does not answer."""
    try:
        status, _, body = get(port, path)
    except OSError:
        return 0, {}
    return status, json.loads(body)["missing"]


@pytest.mark.usefixtures("mosquitto", "influx1")
def test_without_broker_or_store_a_process_is_alive_and_not_ready(tmp_path: Path) -> None:
    port, broker, database = free_port(), Mosquitto(tmp_path / "broker"), Influx1(tmp_path / "influx")
    store = f'kind = "influx1"\nurl = "{database.url}"\ndatabase = "d"'
    try:
        with aggregator(tmp_path, broker.port, port, store):
            eventually(lambda: verdict(port, "/readyz")[0] == 503, "up, without a broker")
            assert list(verdict(port, "/readyz")[1]) == ["broker"]
            assert verdict(port, "/healthz") == (200, {})
            broker.start()
            eventually(lambda: verdict(port, "/readyz") == (200, {}), "ready: the store has not been tried")
            publish.single(
                topic("north", "gw1", "batch"),
                encode_batch(batch([1.0])),
                qos=1,
                hostname="127.0.0.1",
                port=broker.port,
            )
            eventually(lambda: list(verdict(port, "/readyz")[1]) == ["store"], "the store did not take the write")
            assert verdict(port, "/healthz") == (200, {})
            database.start()
            eventually(lambda: verdict(port, "/readyz") == (200, {}), "ready again")
    finally:
        broker.kill()
        database.kill()


@pytest.mark.usefixtures("mosquitto")
def test_a_process_whose_port_is_taken_says_so_and_ends(tmp_path: Path, mosquitto: Mosquitto) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        process = aggregator(tmp_path, mosquitto.port, port, f'kind = "sqlite"\npath = "{tmp_path}/rows.db"')
        with process:
            assert process.wait() == 2
    assert process.says(f"metrics: 127.0.0.1:{port} cannot be opened: Address already in use")
