"""Questions in InfluxQL, the one language that InfluxDB 1.x, 2.x and 3.x all answer on /query.

2.x maps a bucket to a database of the same name (DBRP), 3.x has the endpoint for compatibility. Columns, tags and
order are named in each query, because the versions differ in what `*` means.
"""

from typing import Any

from aggregator.adapters.http import Http
from aggregator.adapters.store_influx1 import connect, judge_query
from aggregator.config import Influx1, Influx2
from aggregator.core import views
from aggregator.core.views import Row
from models.contract.schema import MEASUREMENTS


class InfluxQlReader:
    """Fulfils ports.Reader."""

    def __init__(self, http: Http, database: str) -> None:
        self._http = http
        self._database = database

    @classmethod
    def of_influx1(cls, config: Influx1) -> "InfluxQlReader":
        """With name and password."""
        return cls(connect(config), config.database)

    @classmethod
    def of_influx2(cls, config: Influx2) -> "InfluxQlReader":
        """With a token."""
        token = config.token()
        headers = {"Authorization": f"Token {token}"} if token else {}
        return cls(
            Http(config.url, headers, config.timeout_s, str(config.ca_file) if config.ca_file else None), config.bucket
        )

    def latest(self, asset: str | None = None) -> list[Row]:
        """See ports.Reader."""
        return views.by_tags(self._newest("reading", "" if asset is None else f'"asset" = {_text(asset)}'))

    def health(self) -> list[Row]:
        """See ports.Reader."""
        return views.health(self._newest("inference"))

    def alarms(self, *, open_only: bool = True) -> list[Row]:
        """See ports.Reader."""
        newest = self._newest("alarm")
        if not newest:
            return []
        ids = " OR ".join(f'"id" = {_text(str(row["id"]))}' for row in newest)
        openings = self._select("alarm", f'"is_open" = 1 AND ({ids})')
        return views.alarms(newest, openings, open_only=open_only)

    def series(self, asset: str, name: str, since_ns: int, until_ns: int, limit: int) -> list[Row]:
        """See ports.Reader."""
        condition = f'"asset" = {_text(asset)} AND time >= {since_ns} AND time < {until_ns}'
        if name in MEASUREMENTS["inference"].floats:
            rows = self._select("inference", condition, (name,), limit=limit)
            rows = [{"value" if column == name else column: cell for column, cell in row.items()} for row in rows]
        else:
            rows = self._select("reading", f'{condition} AND "channel" = {_text(name)}', limit=limit)
        # the limit holds for each series; the newest of all of them are asked for
        return sorted(rows, key=lambda row: views.number(row, "time"))[-limit:]

    def close(self) -> None:
        """Closes idle connections."""
        self._http.close()

    def _newest(self, measurement: str, condition: str = "") -> list[Row]:
        return self._select(measurement, condition, limit=1)

    def _select(
        self, measurement: str, condition: str, fields: tuple[str, ...] = (), limit: int | None = None
    ) -> list[Row]:
        tags, floats, strings = MEASUREMENTS[measurement]
        fields = fields or (*floats, *strings)
        clauses = ["SELECT", _names(fields), "FROM", _name(measurement)]
        clauses += ["WHERE", condition] if condition else []
        clauses += ["GROUP BY", _names(tags), "ORDER BY time DESC"]
        clauses += [f"LIMIT {limit}"] if limit is not None else []
        answer = self._http.request("GET", "/query", {"db": self._database, "epoch": "ns", "q": " ".join(clauses)})
        results: list[dict[str, Any]] = list(judge_query(answer.status, answer.text))
        return [
            {"time": int(values[0]), **{tag: series["tags"].get(tag) for tag in tags}, **_cells(series, values, fields)}
            for result in results
            for series in result.get("series", [])
            for values in series["values"]
        ]


def _cells(series: dict[str, Any], values: list[Any], fields: tuple[str, ...]) -> Row:
    found = dict(zip(series["columns"], values, strict=True))
    # JSON writes 1.0 as 1
    return {name: float(cell) if isinstance(cell := found.get(name), int) else cell for name in fields}


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(map(_name, names))


def _name(name: str) -> str:
    return f'"{name}"'


def _text(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"'{escaped}'"
