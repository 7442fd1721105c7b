"""One suite for all stores of the table: what one promises, each must keep."""

import json
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest

from aggregator.adapters import stores
from aggregator.config import Influx1, Influx2, Sqlite, StoreConfig
from aggregator.core.points import Points
from aggregator.core.validate import Accepted, validate
from aggregator.ports import Reader, RetryLater, Store, StoreMisconfigured
from models.contract.batch import Batch, encode_batch
from models.contract.topics import topic
from tests.batches import SECOND, T0, alarm, batch
from tests.servers import Influx1 as Influx1Server
from tests.servers import free_port, serving

FOREVER = 2**63 - 2
# The stores over HTTP.
HTTP_KINDS = ["influx1", "influx2"]


class Backend(NamedTuple):
    """A fresh, empty database."""

    config: StoreConfig
    store: Store
    reader: Callable[[], Reader]


def points(content: Batch) -> Points:
    accepted = validate(topic(content.site, content.gateway, "batch"), encode_batch(content))
    assert isinstance(accepted, Accepted)
    return accepted.points


def influx2_over(url: str) -> type[BaseHTTPRequestHandler]:
    """The writes of 2.x, stored by a real 1.x; its questions are 1.x's own."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path.startswith("/api/v2/write?")
            assert self.headers["Authorization"] == "Token sesame"
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self._forward(self.path.replace("/api/v2/write?", "/write?").replace("bucket=", "db="), body)

        def do_GET(self) -> None:
            assert self.headers["Authorization"] == "Token sesame"
            self._forward(self.path, None)

        def _forward(self, path: str, body: bytes | None) -> None:
            try:
                with urllib.request.urlopen(url + path, body) as answer:  # noqa: S310 - always the test server
                    status, content = answer.status, answer.read()
            except urllib.error.HTTPError as error:
                status, content = error.code, error.read()
                if b"partial write" in content:
                    status = 422
                    content = json.dumps({"code": "unprocessable entity", "message": content.decode()}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    return Handler


@pytest.fixture(params=list(stores.KINDS))
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    kind: str = request.param
    if kind == "sqlite":
        yield from opened(Sqlite(kind="sqlite", path=tmp_path / "new" / "rows.db"))
        return
    server: Influx1Server = request.getfixturevalue("influx1")
    database = f'db "{uuid.uuid4()}"'
    if kind == "influx1":
        yield from opened(Influx1(kind="influx1", url=server.url, database=database))
        return
    database = uuid.uuid4().hex
    post(server, "/query", f"q=CREATE+DATABASE+%22{database}%22")
    token = tmp_path / "token"
    token.write_text("sesame\n")
    with serving(influx2_over(server.url)) as url:
        yield from opened(Influx2(kind="influx2", url=url, org="o", bucket=database, token_file=token))


def opened(config: StoreConfig) -> Iterator[Backend]:
    store = stores.open_store(config)
    readers: list[Reader] = []

    def reader() -> Reader:
        readers.append(stores.open_reader(config))
        return readers[-1]

    yield Backend(config, store, reader)
    for each in readers:
        each.close()
    store.close()


def post(server: Influx1Server, path: str, body: str) -> None:
    with urllib.request.urlopen(server.url + path, body.encode()) as answer:  # noqa: S310 - always the test server
        assert answer.status in {200, 204}


def test_what_was_written_is_read_back_the_same_from_every_store(backend: Backend) -> None:
    assert backend.store.write(points(batch([1.0, 2.5, 1e-7]))) == []
    reader = backend.reader()
    common = {"site": "north", "asset": "pump-7", "channel": "vibration", "quality": 65.0}
    assert reader.series("pump-7", "vibration", T0, FOREVER, 10) == [
        {"time": T0, **common, "value": 1.0, "denoised": None},
        {"time": T0 + SECOND, **common, "value": 2.5, "denoised": 2.5},
        {"time": T0 + 2 * SECOND, **common, "value": 1e-7, "denoised": 1e-7},
    ]
    assert reader.latest() == [{"time": T0 + 2 * SECOND, **common, "value": 1e-7, "denoised": 1e-7}]
    model = {"time": T0, "site": "north", "asset": "pump-7", "model": "wear", "version": "1.0"}
    assert reader.health() == [{**model, "anomaly_score": 3.5, "failure_prob": None, "health": 0.25, "rul_h": None}]
    assert reader.series("pump-7", "health", T0, FOREVER, 10) == [{**model, "value": 0.25}]
    assert reader.series("pump-7", "rul_h", T0, FOREVER, 10) == []


def test_columns_come_in_the_same_order_from_every_store(backend: Backend) -> None:
    backend.store.write(points(batch([1.0])))
    assert list(backend.reader().latest()[0]) == ["time", "site", "asset", "channel", "value", "denoised", "quality"]


def test_writing_again_changes_nothing(backend: Backend) -> None:
    content = points(batch([1.0, 2.0, 3.0], alarms=[alarm(T0, is_open=True)]))
    backend.store.write(content)
    before = everything(backend.reader())
    backend.store.write(content)
    backend.store.write(content + content)
    assert everything(backend.reader()) == before


def everything(reader: Reader) -> list[object]:
    series = reader.series("pump-7", "vibration", 0, FOREVER, 1000)
    return [series, reader.latest(), reader.health(), reader.alarms(open_only=False)]


def test_an_interval_is_closed_below_and_open_above_and_the_limit_keeps_the_newest(backend: Backend) -> None:
    backend.store.write(points(batch([0.0, 1.0, 2.0, 3.0])))
    reader = backend.reader()
    inside = reader.series("pump-7", "vibration", T0 + SECOND, T0 + 3 * SECOND, 10)
    assert [row["value"] for row in inside] == [1.0, 2.0]
    assert [row["value"] for row in reader.series("pump-7", "vibration", T0, FOREVER, 2)] == [2.0, 3.0]


def test_special_characters_in_tags_survive(backend: Backend) -> None:
    names = [("Pumpe ä, 7=x", "temp °C"), ('it\'s "q"', "a\\b"), ("温度", "%20&x;")]
    backend.store.write(points(batch([1.0, 2.0, 3.0], series=names)))
    reader = backend.reader()
    assert sorted((row["asset"], row["channel"]) for row in reader.latest()) == sorted(names)
    for value, (asset, channel) in enumerate(names, start=1):
        assert [row["value"] for row in reader.series(asset, channel, T0, FOREVER, 10)] == [float(value)]
        assert [row["channel"] for row in reader.latest(asset)] == [channel]


def test_an_alarm_is_open_since_its_opening_until_it_closes(backend: Backend) -> None:
    backend.store.write(points(batch([1.0], alarms=[alarm(T0, is_open=True), alarm(T0 + SECOND, is_open=True)])))
    [state] = backend.reader().alarms()
    assert (state["since"], state["time"], state["severity"]) == (T0, T0 + SECOND, 0.8)
    assert state["message"] == 'it says "ouch", twice\nand \\ once'
    backend.store.write(points(batch([1.0], alarms=[alarm(T0 + 2 * SECOND, is_open=False)])))
    reader = backend.reader()
    assert reader.alarms() == []
    [closed] = reader.alarms(open_only=False)
    assert (closed["since"], closed["is_open"]) == (T0, 0.0)


def test_the_newest_version_of_a_model_speaks_for_it(backend: Backend) -> None:
    newer = batch([1.0], start_ns=T0 + SECOND)
    newer.inferences.series = [("pump-7", "wear", "2.0")]
    backend.store.write(points(newer))
    backend.store.write(points(batch([1.0])))
    assert [row["version"] for row in backend.reader().health()] == ["2.0"]


def test_an_empty_database_answers_with_nothing(backend: Backend) -> None:
    backend.store.write(points(batch([1.0])))
    reader = backend.reader()
    assert reader.alarms() == []
    assert reader.latest("no such machine") == []
    assert reader.series("pump-7", "no such channel", 0, FOREVER, 10) == []


def test_many_more_rows_than_fit_into_one_request_are_all_stored(backend: Backend) -> None:
    backend.store.write(points(batch([float(i) for i in range(12_000)])))
    assert len(backend.reader().series("pump-7", "vibration", 0, FOREVER, 20_000)) == 12_000


@pytest.mark.parametrize("backend", HTTP_KINDS, indirect=True)
def test_a_row_that_the_server_refuses_does_not_take_others_with_it(backend: Backend, influx1: Influx1Server) -> None:
    # field types hold for a week's shard: in this one `value` is text already
    other_week = T0 - 28 * 86400 * SECOND
    backend.store.write(points(batch([0.5])))
    config = backend.config
    name = config.database if isinstance(config, Influx1) else config.bucket if isinstance(config, Influx2) else ""
    post(
        influx1,
        f"/write?db={quote(name)}",
        f'reading,site=x,asset=x,channel=x value="text" {other_week}',
    )
    content = batch([float(i) for i in range(100)])
    bad = batch([1.0], start_ns=other_week)
    bad.inferences.index = bad.inferences.time_ns = b""
    bad.inferences.fields = {}
    bad.gateway_fields = {}
    refused = backend.store.write(points(content) + points(bad))
    assert [refusal.row for refusal in refused] == [points(bad).lines()[0].decode()]
    assert "field type conflict" in refused[0].reason
    assert len(backend.reader().series("pump-7", "vibration", T0, FOREVER, 1000)) == 100


def http_config(kind: str, url: str) -> StoreConfig:
    if kind == "influx1":
        return Influx1(kind="influx1", url=url, database="d", timeout_s=5)
    return Influx2(kind="influx2", url=url, bucket="d", timeout_s=5)


def answering(status: int, text: str, after: str | None = None) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            content = json.dumps({"error": text, "message": text}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            if after:
                self.send_header("Retry-After", after)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    return Handler


@pytest.mark.parametrize("kind", HTTP_KINDS)
@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [
        (401, "unauthorized", StoreMisconfigured),
        (403, "forbidden", StoreMisconfigured),
        (404, "bucket not found", StoreMisconfigured),
        (500, "retention policy not found: zz", StoreMisconfigured),
        (408, "slow", RetryLater),
        (429, "too many", RetryLater),
        (500, "engine: disk", RetryLater),
        (503, "unavailable", RetryLater),
    ],
)
def test_a_status_says_whether_time_or_a_person_is_needed(
    kind: str, status: int, text: str, expected: type[Exception]
) -> None:
    with serving(answering(status, text)) as url, pytest.raises(expected, match=text):
        stores.open_store(http_config(kind, url)).write(points(batch([1.0])))


@pytest.mark.parametrize("kind", HTTP_KINDS)
def test_the_server_says_how_long_to_wait(kind: str) -> None:
    with serving(answering(503, "busy", "17")) as url, pytest.raises(RetryLater) as caught:
        stores.open_store(http_config(kind, url)).write(points(batch([1.0])))
    assert caught.value.after_s == 17.0


@pytest.mark.parametrize("kind", HTTP_KINDS)
def test_a_server_that_is_not_there_means_later(kind: str) -> None:
    with pytest.raises(RetryLater):
        stores.open_store(http_config(kind, f"http://127.0.0.1:{free_port()}")).write(points(batch([1.0])))


@pytest.mark.parametrize("kind", HTTP_KINDS)
@pytest.mark.parametrize(("status", "text"), [(413, "too large"), (400, "unable to parse 'x'")])
def test_rows_that_are_never_taken_are_refused_one_by_one(kind: str, status: int, text: str) -> None:
    content = points(batch([1.0, 2.0]))
    with serving(answering(status, text)) as url:
        refused = stores.open_store(http_config(kind, url)).write(content)
    assert [refusal.row.encode() for refusal in refused] == content.lines()


def test_a_400_of_version_3_that_does_not_blame_the_rows_is_not_believed() -> None:
    with serving(answering(400, "wal error: object store")) as url, pytest.raises(RetryLater, match="object store"):
        stores.open_store(http_config("influx2", url)).write(points(batch([1.0])))


def test_a_missing_database_is_not_made_when_that_is_not_wanted(influx1: Influx1Server) -> None:
    config = Influx1(kind="influx1", url=influx1.url, database=uuid.uuid4().hex, create_database=False)
    with pytest.raises(StoreMisconfigured, match="database not found"):
        stores.open_store(config).write(points(batch([1.0])))


def test_an_error_inside_a_200_is_an_error(influx1: Influx1Server) -> None:
    reader = stores.open_reader(Influx1(kind="influx1", url=influx1.url, database=uuid.uuid4().hex))
    with pytest.raises(StoreMisconfigured, match="database not found"):
        reader.latest()


def test_a_file_that_is_no_database_needs_a_person(tmp_path: Path) -> None:
    path = tmp_path / "rows.db"
    path.write_bytes(b"this is no database at all" * 100)
    with pytest.raises(StoreMisconfigured, match="not a database"):
        stores.open_store(Sqlite(kind="sqlite", path=path)).write(points(batch([1.0])))


def test_asking_a_file_that_does_not_exist_needs_a_person(tmp_path: Path) -> None:
    with pytest.raises(StoreMisconfigured):
        stores.open_reader(Sqlite(kind="sqlite", path=tmp_path / "none.db"))
