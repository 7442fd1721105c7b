"""Rows into InfluxDB 1.x through /write: plain HTTP, no client library needed.

Statuses are not what they seem: 400 "partial write" has stored the good rows, 404 may be a database that we may
create, and 500 "retention policy not found" never passes by itself.
"""

import gzip
from collections.abc import Sequence

import orjson
import urllib3

from aggregator.adapters.http import Http, judge
from aggregator.config import Influx1
from aggregator.core.batching import MAX_ROWS
from aggregator.core.bisect import Rejected, isolate
from aggregator.core.points import Points
from aggregator.ports import RetryLater, StoreMisconfigured
from models.contract.batch import Refusal


class Influx1Store:
    """Fulfils ports.Store."""

    def __init__(self, config: Influx1) -> None:
        self._config = config
        self._http = connect(config)

    def write(self, rows: Points) -> list[Refusal]:
        """Returns the rows that the server will never take. Raises RetryLater, StoreMisconfigured."""
        lines = rows.lines()
        return [
            refused
            for start in range(0, len(lines), MAX_ROWS)
            for refused in isolate(lines[start : start + MAX_ROWS], self._send)
        ]

    def close(self) -> None:
        """Closes idle connections."""
        self._http.close()

    def _send(self, lines: Sequence[bytes], *, may_create: bool = True) -> Rejected | None:
        # level 1: higher levels cost ten times the time for a sixth of the size
        body = gzip.compress(b"\n".join(lines), compresslevel=1)
        answer = self._http.request(
            "POST", "/write", {"db": self._config.database, "precision": "ns"}, body, encoding="gzip"
        )
        if answer.status == 404 and "database not found" in answer.text and may_create and self._config.create_database:
            self._create_database()
            return self._send(lines, may_create=False)
        return judge(answer, lines)

    def _create_database(self) -> None:
        name = self._config.database.replace("\\", "\\\\").replace('"', '\\"')
        answer = self._http.request("POST", "/query", {"q": f'CREATE DATABASE "{name}"'})
        judge_query(answer.status, answer.text)


def connect(config: Influx1) -> Http:
    """The connection that the store and the reader of 1.x use."""
    headers: dict[str, str] = {}
    if config.username is not None:
        headers = dict(urllib3.make_headers(basic_auth=f"{config.username}:{config.password()}"))
    ca_file = str(config.ca_file) if config.ca_file else None
    return Http(config.url, headers, config.timeout_s, ca_file)


def judge_query(status: int, text: str) -> list[dict[str, list[dict[str, object]]]]:
    """The results of a /query. A 200 may hold an error too. Raises RetryLater, StoreMisconfigured."""
    if status in {408, 429} or status >= 500:
        msg = f"HTTP {status}: {text}"
        raise RetryLater(msg)
    if status != 200:
        msg = f"HTTP {status}: {text}"
        raise StoreMisconfigured(msg)
    results = orjson.loads(text).get("results", [])
    for result in results:
        if "error" in result:
            raise StoreMisconfigured(str(result["error"]))
    return list(results)
