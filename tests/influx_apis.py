"""Small servers that are set up as InfluxDB 2.x and 3 are: what was asked of them is there afterwards.

That of 3 keeps line protocol as well, and answers SQL with DataFusion, the engine of the real one. There is no engine
for Flux; what is asked in it is only noted down.
"""

import gzip
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from tests.influx_servers import TOKEN
from tests.plant_rows import Stored
from tests.servers import serving
from tests.sql_engine import DataFusion

ORG = {"id": "0000000000000abc", "name": "plant"}
_SPECIAL = r"(?<!\\)"


class Reply(NamedTuple):
    """Status and what becomes JSON, or bytes as they are."""

    status: int
    content: Any = b""


class Api:
    """What a server holds, and what it refuses."""

    authorization: str | None = None

    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []  # method and path
        self.refusals: dict[tuple[str, str], Reply] = {}  # by the same
        self.has_virtual_mappings = True
        self.buckets: list[dict[str, Any]] = []
        self.mappings: list[dict[str, Any]] = []
        self.tasks: list[dict[str, Any]] = []
        self.flux: list[str] = []
        self.databases: dict[str, str | None] = {}
        self.rows: dict[str, dict[tuple[str, tuple[str, ...], int], Stored]] = {}

    def changes(self) -> list[tuple[str, str]]:
        return [(method, path) for method, path in self.requests if method != "GET"]

    def answer(self, method: str, path: str, fields: dict[str, str], body: bytes) -> Reply:
        raise NotImplementedError


class Api2(Api):
    """/api/v2 of 2.x: organizations, buckets, mappings, tasks."""

    authorization = f"Token {TOKEN}"

    def answer(self, method: str, path: str, fields: dict[str, str], body: bytes) -> Reply:
        place, _, key = path.removeprefix("/api/v2/").partition("/")
        asked = getattr(self, f"{method.lower()}_{place}", None)
        if asked is None:
            return Reply(404, b"404 page not found\n")
        reply: Reply = asked(*([key] if key else []), fields if method == "GET" else json.loads(body))
        return reply

    def get_orgs(self, fields: dict[str, str]) -> Reply:
        if fields.get("org", ORG["name"]) in ORG.values():
            return Reply(200, {"orgs": [ORG]})
        return Reply(404, {"code": "not found", "message": f'organization name "{fields.get("org")}" not found'})

    def get_buckets(self, fields: dict[str, str]) -> Reply:
        page = [one for one in self.buckets if one["id"] > fields.get("after", "")]
        return Reply(200, {"buckets": page[: int(fields.get("limit", 20))]})

    def patch_buckets(self, key: str, content: dict[str, Any]) -> Reply:
        [bucket] = [one for one in self.buckets if one["id"] == key]
        if content["retentionRules"][0].get("shardGroupDurationSeconds") is None:
            return _invalid("shard-group duration must be at most the retention")
        bucket["retentionRules"] = [content["retentionRules"][0] | {"shardGroupDurationSeconds": 3600}]
        return Reply(200, bucket)

    def get_dbrps(self, fields: dict[str, str]) -> Reply:
        explicit = [one for one in self.mappings if one["database"] == fields["db"]]
        return Reply(200, {"content": explicit or self._virtual(fields["db"])})

    def post_dbrps(self, content: dict[str, Any]) -> Reply:
        assert content["bucketID"] in {one["id"] for one in self.buckets}
        self.mappings.append(content | {"id": f"{len(self.mappings):016x}", "virtual": False})
        return Reply(201, self.mappings[-1])

    def get_tasks(self, fields: dict[str, str]) -> Reply:
        return Reply(200, {"tasks": [one for one in self.tasks if one["name"] == fields["name"]]})

    def post_tasks(self, content: dict[str, Any]) -> Reply:
        self.tasks.append(_task(content) | {"id": f"{len(self.tasks):016x}", "orgID": content["orgID"]})
        return Reply(201, self.tasks[-1])

    def patch_tasks(self, key: str, content: dict[str, Any]) -> Reply:
        [task] = [one for one in self.tasks if one["id"] == key]
        task |= _task(content)
        return Reply(200, task)

    def post_query(self, content: dict[str, Any]) -> Reply:
        self.flux.append(content["query"])
        return Reply(200, b"\r\n")

    def post_buckets(self, content: dict[str, Any]) -> Reply:
        name = content["name"]
        if any(one["name"] == name for one in self.buckets):
            return Reply(422, {"code": "conflict", "message": f"bucket with name {name} already exists"})
        every_s = content["retentionRules"][0]["everySeconds"] if content["retentionRules"] else 0
        if 0 < every_s < 3600:
            return _invalid("retention policy duration must be at least 1h0m0s")
        rule = {"type": "expire", "everySeconds": every_s, "shardGroupDurationSeconds": 604800}
        bucket = {"id": f"{len(self.buckets):016x}", "orgID": content["orgID"], "name": name, "retentionRules": [rule]}
        self.buckets.append(bucket)
        return Reply(201, bucket)

    def _virtual(self, name: str) -> list[dict[str, Any]]:
        common = {"database": name, "retention_policy": "autogen", "default": True, "virtual": True, "orgID": ORG["id"]}
        found = [one for one in self.buckets if one["name"] == name and self.has_virtual_mappings]
        return [common | {"id": one["id"], "bucketID": one["id"]} for one in found]


class Api3(Api):
    """/api/v3 of InfluxDB 3: databases, line protocol, SQL."""

    authorization = f"Bearer {TOKEN}"

    def answer(self, method: str, path: str, fields: dict[str, str], body: bytes) -> Reply:
        match method, path:
            case "GET", "/api/v3/configure/database":
                assert fields["format"] == "json"
                return Reply(200, [{"iox::database": name} for name in ("_internal", *self.databases)])
            case "POST" | "PUT", "/api/v3/configure/database":
                return self._configure(method, **json.loads(body))
            case "GET", "/api/v3/query_influxql":
                assert fields == {"q": "SHOW RETENTION POLICIES", "format": "json"}
                found: dict[str, str | None] = {"_internal": "7d", **self.databases}
                return Reply(200, [_policy(name, period) for name, period in found.items()])
            case "POST", "/api/v3/write_lp":
                assert fields["precision"] == "nanosecond"
                if self.databases.get(fields["db"], "") == "":
                    self.databases[fields["db"]] = None  # a write makes its database
                for line in gzip.decompress(body).decode().splitlines():
                    self._put(fields["db"], parsed(line))
                return Reply(204)
            case "POST", "/api/v3/query_sql":
                return self._query(**json.loads(body))
        return Reply(404, b"Not found")

    def _configure(self, method: str, db: str, retention_period: str | None = None) -> Reply:
        if (db in self.databases) == (method == "POST"):
            return Reply(409 if method == "POST" else 404, {"error": f"database {db}"})
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", db):
            return Reply(400, {"error": "invalid character in database name"})
        self.databases[db] = retention_period
        return Reply(200)

    def _put(self, database: str, row: Stored) -> None:
        """The same row again changes nothing; another one in its place is what must not be."""
        kept = self.rows.setdefault(database, {}).setdefault((row.measurement, row.tags, row.time_ns), row)
        assert kept == row, "which of two values stays is not determined"

    def _query(self, db: str, q: str, format: str) -> Reply:  # noqa: A002 - the API's name
        assert format == "json"
        if db not in self.databases:
            return Reply(404, {"error": f"database not found: {db}"})
        if not self.rows.get(db):
            return Reply(500, {"error": "Error during planning: table 'public.iox.reading' not found"})
        return Reply(200, DataFusion(list(self.rows[db].values())).raw(q))


@contextmanager
def served(api: Api) -> Iterator[str]:
    """The URL of the server."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = urlsplit(self.path)
            fields = {name: values[0] for name, values in parse_qs(parts.query).items()}
            asked = (self.command, parts.path)
            api.requests.append(asked)
            if self.headers["Authorization"] != api.authorization:
                reply = Reply(401, {"code": "unauthorized", "message": "unauthorized access"})
            else:
                reply = api.refusals.get(asked) or api.answer(*asked, fields, body)
            content = reply.content if isinstance(reply.content, bytes) else json.dumps(reply.content).encode()
            self.send_response_only(reply.status)
            self.send_header("Content-Type", "text/plain" if isinstance(reply.content, bytes) else "application/json")
            if reply.status != 204:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if reply.status != 204:
                self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = _serve  # noqa: N815 - of the standard library

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with serving(Handler) as url:
        yield url


def parsed(line: str) -> Stored:
    """A line without texts among its fields."""
    head, cells, time_ns = re.split(_SPECIAL + " ", line)
    measurement, *tags = re.split(_SPECIAL + ",", head)
    values = [re.sub(r"\\([,= ])", r"\1", re.split(_SPECIAL + "=", tag)[1]) for tag in tags]
    fields = {name: float(value) for name, value in (cell.split("=") for cell in cells.split(","))}
    return Stored(measurement, tuple(values), int(time_ns), dict(fields))


def _task(content: dict[str, Any]) -> dict[str, Any]:
    found = re.search(r'option task = \{name: "((?:\\.|[^"\\])*)", every: (\w+), offset: (\w+)\}', content["flux"])
    assert found
    return {"name": re.sub(r"\\(.)", r"\1", found[1]), "flux": content["flux"], "status": content["status"]}


def _policy(name: str, period: str | None) -> dict[str, Any]:
    hours = {"d": 24, "h": 1}
    duration = "0s" if period is None else f"{int(period[:-1]) * hours[period[-1]]}h0m0s"
    return {"iox::database": name, "name": "autogen", "duration": duration}


def _invalid(message: str) -> Reply:
    return Reply(400, {"code": "invalid", "message": message})
