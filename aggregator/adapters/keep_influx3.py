"""Sets up InfluxDB 3: databases with their retention. The one-minute means have a database of their own.

The engine computes no means without plug-ins, so `downsample` does: it asks for the aggregates and writes them. A point
of InfluxDB 3 must not be written again with other values (which of them stays is not determined), so the number of
readings behind a mean is a tag: what came late makes a new row, and of a minute's rows the one with most readings
holds. The same readings make the same row, so doing it again changes nothing.
"""

import gzip
import time
from collections.abc import Iterator
from typing import Any

import orjson

from aggregator.adapters.http import Answer, Http
from aggregator.config import Influx3, Retention
from aggregator.core import answers, minutes
from aggregator.core.batching import MAX_ROWS
from aggregator.core.points import escape_tag
from aggregator.ports import RetryLater, Step, StoreMisconfigured
from models.contract.quality import BAD_FROM
from models.contract.schema import MEASUREMENTS

READINGS_TAG = "readings"  # how many there are behind a mean
_DATABASES = "/api/v3/configure/database"
_TAGS = MEASUREMENTS["reading"].tags
_FUNCTIONS = ("avg", "min", "max", "count")  # in the order of minutes.MEANS
_CURES = {
    401: "TOCSIN_INFLUX_TOKEN or token_file must hold a valid token",
    403: "an admin token is needed",
    404: "is this an InfluxDB 3? Its url has no path",
    405: "this version cannot change the retention of a database",
    409: "the name is taken, perhaps by a deleted database: choose another",
}


class Influx3Keeper:
    """Fulfils ports.Keeper."""

    def __init__(self, config: Influx3, retention: Retention) -> None:
        token = config.token()
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        self._http = Http(config.url, headers, config.timeout_s, config.ca_file)
        self._timeout_s = config.timeout_s
        self._raw = config.database
        self._means = f"{config.database}_minutes"
        self._wanted_s = {
            self._raw: minutes.retention_s(retention.raw_d),
            self._means: minutes.retention_s(retention.minutes_d),
        }

    def plan(self) -> list[Step]:
        """See ports.Keeper."""
        found_s = self._retentions()
        return [self._database(name, found_s.get(name)) for name in (self._raw, self._means)]

    def apply(self, step: Step) -> None:
        """See ports.Keeper."""
        method, path, body = step.statement.split(" ", 2)
        self._ask(method, path, body=body.encode())

    def downsample(self, since_ns: int, until_ns: int) -> None:
        """See ports.Keeper."""
        since_ns = minutes.kept(since_ns, time.time_ns(), self._wanted_s[self._means])
        for start, end in minutes.pieces(since_ns, until_ns, self._timeout_s, time.monotonic):
            lines = [_line(row) for row in self._aggregates(start, end) if row["n"] or row[minutes.BAD]]
            for first in range(0, len(lines), MAX_ROWS):
                body = gzip.compress("\n".join(lines[first : first + MAX_ROWS]).encode(), compresslevel=1)
                fields = {"db": self._means, "precision": "nanosecond"}
                _judge(self._http.request("POST", "/api/v3/write_lp", fields, body, encoding="gzip"))

    def close(self) -> None:
        """Closes idle connections."""
        self._http.close()

    def _database(self, name: str, found_s: int | None) -> Step:
        wanted_s = self._wanted_s[name]
        rows = "one-minute means" if name == self._means else "readings and all other rows"
        what = f'database "{name}": {rows} are kept {"for " if wanted_s else ""}{minutes.words(wanted_s)}'
        # without a period the rows stay for ever; a period of 0 would hide them all
        body = {"db": name} | ({"retention_period": minutes.span(wanted_s)} if wanted_s else {})
        if found_s is not None and wanted_s and (found_s == 0 or found_s > wanted_s):
            what += f" (until now {minutes.words(found_s)}: what is older is deleted)"
        method = "POST" if found_s is None else "PUT"
        return Step(what, f"{method} {_DATABASES} {orjson.dumps(body).decode()}", is_done=found_s == wanted_s)

    def _retentions(self) -> dict[str, int]:
        """Seconds of each database; 0 = for ever."""
        names = {row["iox::database"] for row in self._rows("GET", _DATABASES, {"format": "json"})}
        found = dict.fromkeys(names, 0)
        policies = {"q": "SHOW RETENTION POLICIES", "format": "json"}
        for row in self._rows("GET", "/api/v3/query_influxql", policies) if found else ():
            if row["iox::database"] in names:
                found[row["iox::database"]] = minutes.seconds_of(row.get("duration") or "0s")
        return found

    def _aggregates(self, start: int, end: int) -> Iterator[dict[str, Any]]:
        good, bad = (f"FILTER (WHERE quality {compared} {BAD_FROM})" for compared in ("<", ">="))
        columns = [
            "CAST(date_bin(INTERVAL '1 minute', time) AS BIGINT) AS minute",
            *_TAGS,
            *(f"{function}(value) {good} AS {name}" for name, function in zip(minutes.MEANS, _FUNCTIONS, strict=True)),
            f"count(value) {bad} AS {minutes.BAD}",
        ]
        clauses = [
            f"SELECT {', '.join(columns)}",
            "FROM reading",
            f"WHERE time >= to_timestamp_nanos({start}) AND time < to_timestamp_nanos({end})",
            f"GROUP BY {', '.join(('1', *_TAGS))}",
        ]
        text = " ".join(clauses)
        body = orjson.dumps({"db": self._raw, "q": text, "format": "json"})
        answer = self._http.request("POST", "/api/v3/query_sql", {}, body)
        if answer.status >= 400 and "table" in answer.text and "not found" in answer.text:
            return  # no reading was ever written
        yield from _rows_of(_judge(answer))

    def _rows(self, method: str, path: str, fields: dict[str, str]) -> list[dict[str, Any]]:
        return _rows_of(self._ask(method, path, fields))

    def _ask(self, method: str, path: str, fields: dict[str, str] | None = None, body: bytes | None = None) -> str:
        return _judge(self._http.request(method, path, fields or {}, body))


def _judge(answer: Answer) -> str:
    """The text of an answer. Raises RetryLater, StoreMisconfigured."""
    if answer.status < 300:
        return answer.text
    reason = f"HTTP {answer.status}: {answer.text}"
    if answer.status in {408, 429} or answer.status >= 500:
        raise RetryLater(reason, answer.after_s)
    cure = _CURES.get(answer.status)
    raise StoreMisconfigured(f"{reason} ({cure})" if cure else reason)


def _rows_of(text: str) -> list[dict[str, Any]]:
    """Raises StoreMisconfigured when it is no list of rows."""
    try:
        return answers.objects(text.encode())
    except ValueError as error:
        raise StoreMisconfigured(str(error)) from error


def _line(row: dict[str, Any]) -> str:
    """A minute of one channel; the means are absent when all readings were bad."""
    readings = int(row["n"]) + int(row[minutes.BAD])
    tags = ",".join(f"{tag}={escape_tag(row[tag])}" for tag in _TAGS)
    fields = ((name, row.get(name)) for name in (*minutes.MEANS, minutes.BAD))
    cells = ",".join(f"{name}={float(value)!r}" for name, value in fields if value is not None)
    return f"{minutes.MEASUREMENT},{tags},{READINGS_TAG}={readings} {cells} {row['minute']}"
