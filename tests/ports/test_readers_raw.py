"""Raw texts to the stores over HTTP, and what a reader makes of answers that are none."""

import json
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest

from aggregator.adapters import stores
from aggregator.config import Influx1, Influx2, Influx3
from aggregator.core.select import Select
from aggregator.ports import Reader, RetryLater, StoreMisconfigured
from tests.batches import T0
from tests.influx_servers import token_file
from tests.plant_rows import Stored, points
from tests.selects import ROWS
from tests.servers import Influx1 as Influx1Server
from tests.servers import free_port, serving
from tests.sql_engine import DataFusion

# As version 2.x documents its annotated CSV: two tables of different columns, each begun anew.
FLUX_CSV = (
    "#datatype,string,long,dateTime:RFC3339,double,string,boolean\r\n"
    "#group,false,false,false,false,true,false\r\n"
    "#default,_result,,,,,\r\n"
    ",result,table,_time,_value,asset,is_open\r\n"
    ',,0,2025-10-09T08:53:20.000000001Z,1.5,"a ""b"", c\nd",true\r\n'
    ",,0,2025-10-09T08:53:21Z,,pump-2,false\r\n"
    "\r\n"
    "#datatype,string,long,string,long\r\n"
    "#group,false,false,true,false\r\n"
    "#default,_result,,,\r\n"
    ",result,table,code,n\r\n"
    ",,1,hot,3\r\n"
    "\r\n"
)
FLUX_ERROR = "#datatype,string,string\n#group,true,true\n#default,,\n,error,reference\n,runtime error: no column,897\n"


class Server(BaseHTTPRequestHandler):
    """Answers each request with the same status and body, and keeps what it was asked."""

    status: ClassVar[int]
    body: ClassVar[str]
    asked: ClassVar[list[dict[str, Any]]]

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"])))

    def _answer(self, content: bytes) -> None:
        parts = urlsplit(self.path)
        fields = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.asked.append({"path": parts.path, "headers": dict(self.headers), "fields": fields, "body": content})
        body = self.body.encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


def answering(status: int, body: str) -> type[Server]:
    return type("Answering", (Server,), {"status": status, "body": body, "asked": []})


def reader1(url: str) -> Reader:
    return stores.open_reader(Influx1(kind="influx1", url=url, database="d", timeout_s=5))


def reader2(url: str, folder: Path) -> Reader:
    return stores.open_reader(
        Influx2(kind="influx2", url=url, bucket="b", org="o", token_file=token_file(folder), timeout_s=5)
    )


def reader3(url: str, folder: Path) -> Reader:
    return stores.open_reader(
        Influx3(kind="influx3", url=url, database="d", token_file=token_file(folder), timeout_s=5)
    )


@pytest.fixture(scope="module")
def real(influx1: Influx1Server) -> Iterator[Reader]:
    config = Influx1(kind="influx1", url=influx1.url, database=uuid.uuid4().hex)
    store = stores.open_store(config)
    store.prepare(points(ROWS))()
    reader = stores.open_reader(config)
    yield reader
    reader.close()
    store.close()


def test_any_influxql_that_asks_is_answered_by_a_real_server(real: Reader) -> None:
    text = 'SELECT count("value") FROM "reading" WHERE "asset" = \'pump-1\' GROUP BY "site"'
    assert real.raw(text) == [{"time": 0, "site": site, "count": 48} for site in ("north", "south")]
    assert {"name": "alarm"} in real.raw("SHOW MEASUREMENTS", "influxql")


def test_a_text_that_the_server_does_not_understand_is_a_value_error_with_its_words(real: Reader) -> None:
    with pytest.raises(ValueError, match="undefined function foo"):
        real.raw("SELECT foo(value) FROM reading")
    with pytest.raises(ValueError, match="error parsing query"):
        real.raw("SELECT")


@pytest.mark.parametrize(
    "text",
    [
        "DROP MEASUREMENT reading",
        'SELECT * INTO "copy" FROM "reading"',
        'SELECT * FROM "reading"; DELETE FROM "reading"',
        '/**/ DROP MEASUREMENT "reading"',
        "SELECT * FROM /'/; DROP MEASUREMENT reading; SELECT * FROM /'/",
        'SELECT * FROM /"/; DROP MEASUREMENT reading; SELECT * FROM /"/',
        "SELECT * FROM /--/; DROP MEASUREMENT reading",
        "SELECT * FROM reading --\r; DROP MEASUREMENT reading",
        "SELECT * INTO copy FROM reading WHERE asset =~ /'/ OR asset = 'a'",
        "SELECT value FROM reading WHERE asset !~ /'/ OR asset = 'x'; SELECT * INTO copy FROM reading --'",
    ],
)
def test_no_text_changes_anything_in_a_real_server(real: Reader, text: str) -> None:
    before = (real.raw("SHOW MEASUREMENTS"), real.raw('SELECT count("value") FROM "reading"'))
    with pytest.raises(ValueError, match="change nothing"):
        real.raw(text)
    assert (real.raw("SHOW MEASUREMENTS"), real.raw('SELECT count("value") FROM "reading"')) == before


def test_a_regular_expression_is_no_reason_to_refuse_a_question(real: Reader) -> None:
    assert real.raw('SELECT count("value") FROM /^read/ WHERE "asset" =~ /pump-[1]$/;')[0]["count"] == 96


def test_a_missing_database_needs_a_person_for_any_text(influx1: Influx1Server) -> None:
    reader = stores.open_reader(Influx1(kind="influx1", url=influx1.url, database=uuid.uuid4().hex))
    with pytest.raises(StoreMisconfigured, match="database not found"):
        reader.raw("SELECT * FROM x")
    with pytest.raises(StoreMisconfigured, match=r"database not found.*aggregator init"):
        reader.select(Select("reading"))


class Limited(Influx1Server):
    """InfluxDB 1.x that cuts answers of more than a thousand rows, as many do."""

    def command(self) -> list[str]:
        command = super().command()
        path = self.folder / "influxdb.conf"
        path.write_text(path.read_text().replace("[monitor]", "  max-row-limit = 1000\n[monitor]"))
        return command


def test_no_answer_is_cut_by_the_limit_of_the_server(tmp_path: Path) -> None:
    with Limited(tmp_path / "influx") as server:
        config = Influx1(kind="influx1", url=server.url, database="d")
        store = stores.open_store(config)
        many = [Stored("reading", ("s", "a", "c"), T0 + i, {"value": float(i)}) for i in range(25_000)]
        store.prepare(points(many))()
        reader = stores.open_reader(config)
        assert len(reader.select(Select("reading"))) == len(many)
        assert len(reader.raw('SELECT "value" FROM "reading"; SELECT "value" FROM "reading" LIMIT 1')) == len(many) + 1


def test_an_answer_without_its_end_is_not_taken_for_a_whole_one() -> None:
    series = {"name": "reading", "tags": {}, "columns": ["time"], "values": [[1]]}
    body = json.dumps({"results": [{"statement_id": 0, "series": [series], "partial": True}]})
    with serving(answering(200, body)) as url:
        with pytest.raises(RetryLater, match="before its end"):
            reader1(url).select(Select("reading"))
        with pytest.raises(RetryLater, match="before its end"):
            reader1(url).raw("SHOW SERIES")


@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [
        (401, "authorization failed", StoreMisconfigured),
        (403, "forbidden", StoreMisconfigured),
        (404, "not found", StoreMisconfigured),
        (400, "error parsing query", StoreMisconfigured),
        (429, "too many", RetryLater),
        (500, "engine: disk", RetryLater),
        (503, "unavailable", RetryLater),
    ],
)
def test_a_status_says_whether_time_or_a_person_is_needed(status: int, text: str, expected: type[Exception]) -> None:
    with serving(answering(status, json.dumps({"error": text}))) as url, pytest.raises(expected, match=text):
        reader1(url).select(Select("reading"))


@pytest.mark.parametrize(
    "body",
    [
        "",
        "\n",
        "<html>",
        "[]",
        "{}",
        '{"error":"timeout"}',
        '{"results":null}',
        '{"results":[{"error":"max-select-series limit exceeded: (9/1)"}]}',
    ],
)
def test_a_200_that_is_no_answer_needs_a_person(body: str) -> None:
    with serving(answering(200, body)) as url, pytest.raises(StoreMisconfigured):
        reader1(url).select(Select("reading"))


def test_a_server_that_is_away_means_later(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(RetryLater):
        reader3(url, tmp_path).raw("SELECT 1", "sql")
    with pytest.raises(RetryLater):
        reader2(url, tmp_path).raw('from(bucket: "b")', "flux")


def test_flux_is_sent_as_its_interface_wants_and_its_tables_become_rows(tmp_path: Path) -> None:
    handler = answering(200, FLUX_CSV)
    text = 'from(bucket: "b") |> range(start: 0)'
    with serving(handler) as url:
        rows = reader2(url, tmp_path).raw(text, "flux")
    assert rows == [
        {"table": 0, "_time": T0 + 1, "_value": 1.5, "asset": 'a "b", c\nd', "is_open": 1.0},
        {"table": 0, "_time": T0 + 10**9, "_value": None, "asset": "pump-2", "is_open": 0.0},
        {"table": 1, "code": "hot", "n": 3},
    ]
    [asked] = handler.asked
    assert (asked["path"], asked["fields"]) == ("/api/v2/query", {"org": "o"})
    assert asked["headers"]["Authorization"] == "Token sesame-open"
    assert asked["headers"]["Content-Type"] == "application/json"
    content = json.loads(asked["body"])
    assert (content["query"], content["type"]) == (text, "flux")


@pytest.mark.parametrize(
    ("status", "body"), [(200, FLUX_ERROR), (400, '{"code":"invalid","message":"runtime error: no column"}')]
)
def test_flux_that_fails_is_a_value_error_with_the_servers_words(tmp_path: Path, status: int, body: str) -> None:
    with serving(answering(status, body)) as url, pytest.raises(ValueError, match="runtime error: no column"):
        reader2(url, tmp_path).raw('from(bucket: "b")', "flux")


def test_sql_is_answered_by_the_engine_of_version_3(tmp_path: Path) -> None:
    engine = DataFusion(ROWS)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fields = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            assert self.headers["Authorization"] == "Bearer sesame-open"
            assert (fields["db"], fields["format"]) == ("d", "json")
            try:
                status, body = 200, engine.json(fields["q"])
            except Exception as error:  # noqa: BLE001 - as the server does
                status, body = 500, json.dumps({"error": f"query error: {error}"}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with serving(Handler) as url:
        reader = reader3(url, tmp_path)
        assert reader.raw('SELECT "time", "asset" FROM reading WHERE "channel" = \'speed\' AND "value" = 2.875') == [
            {"time": T0 + 690 * 10**9, "asset": "pump-1"}
        ]
        assert reader.raw("SELECT DISTINCT replace(asset, 'pump-', '') AS asset FROM alarm WHERE asset = 'pump-2'") == [
            {"asset": "2"}
        ]
        assert reader.raw("SELECT count(*) AS n, NULL AS none FROM alarm", "sql") == [{"n": 12, "none": None}]
        for text in ("SELECT nothing FROM alarm", "SELECT * FROM nowhere", "SELECT (", "SELECT foo(1)"):
            with pytest.raises(ValueError, match="query error"):
                reader.raw(text)
        with pytest.raises(ValueError, match="change nothing"):
            reader.raw("DROP TABLE alarm")


def test_a_store_says_which_languages_it_speaks(tmp_path: Path) -> None:
    for reader, spoken in (
        (reader1("http://127.0.0.1:1"), "influxql"),
        (reader2("http://127.0.0.1:1", tmp_path), "influxql, flux"),
        (reader3("http://127.0.0.1:1", tmp_path), "sql, influxql"),
    ):
        with pytest.raises(ValueError, match=rf"'cobol' \(allowed: {spoken}\)"):
            reader.raw("DISPLAY", "cobol")
