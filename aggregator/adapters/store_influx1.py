"""Rows into InfluxDB 1.x through /write: plain HTTP, no client library needed.

Statuses are not what they seem: 400 "partial write" has stored the good rows, 404 may be a database that we may
create, and 500 "retention policy not found" never passes by itself.
"""

from typing import Any

import orjson
import urllib3

from aggregator.adapters.http import Answer, Http
from aggregator.adapters.sending import Packed, judge, prepare
from aggregator.config import Influx1
from aggregator.core.bisect import Doubted, Rejected
from aggregator.core.points import Points
from aggregator.ports import RetryLater, StoreMisconfigured, Write


class Influx1Store:
    """Fulfils ports.Store."""

    def __init__(self, config: Influx1) -> None:
        self._config = config
        self._http = connect(config)

    def prepare(self, rows: Points) -> Write:
        """See ports.Store."""
        return prepare(rows, self._send)

    def close(self) -> None:
        """Closes idle connections."""
        self._http.close()

    def _send(self, part: Packed) -> Rejected | Doubted | None:
        answer = self._post(part)
        if answer.status == 404 and "database not found" in answer.text and self._config.create_database:
            self._create_database()
            answer = self._post(part)
        return judge(answer, part)

    def _post(self, part: Packed) -> Answer:
        fields = {"db": self._config.database, "precision": "ns"}
        return self._http.request("POST", "/write", fields, part.body, encoding="gzip")

    def _create_database(self) -> None:
        name = self._config.database.replace("\\", "\\\\").replace('"', '\\"')
        answer = self._http.request("POST", "/query", {"q": f'CREATE DATABASE "{name}"'})
        judge_query(answer.status, answer.text)


def connect(config: Influx1) -> Http:
    """The connections to a 1.x, with name and password."""
    headers: dict[str, str] = {}
    if config.username is not None:
        credentials = f"{config.username}:{config.password()}"
        # urllib3 writes these characters as latin-1; so they come out as the UTF-8 that the server reads
        headers = dict(urllib3.make_headers(basic_auth=credentials.encode().decode("latin-1")))
    return Http(config.url, headers, config.timeout_s, config.ca_file, config.connections)


def judge_query(status: int, text: str) -> list[dict[str, Any]]:
    """The results of a /query. A 200 may hold an error too. Raises RetryLater, StoreMisconfigured."""
    msg = f"HTTP {status}: {text}"
    if status in {408, 429} or status >= 500:
        raise RetryLater(msg)
    if status != 200:
        raise StoreMisconfigured(msg)
    try:
        results: list[dict[str, Any]] = orjson.loads(text)["results"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise StoreMisconfigured(f"{msg[:500]}: no answer of InfluxDB; is something else at this url?") from error
    for result in results:
        if "error" in result:
            raise StoreMisconfigured(str(result["error"]))
    return results
