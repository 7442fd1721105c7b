"""Sets up InfluxDB 1.x: the database, how long rows are kept, and the one-minute means.

Raw rows stay in the policy that is the default one, whatever its name: questions that name no policy find them there,
and a new default would hide all older rows. Only its duration is changed. The means have a policy of their own,
`minutes`, filled by continuous queries; these see the last hour, and `downsample` does what came later than that.
"""

import re
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from aggregator.adapters.store_influx1 import connect, judge_query
from aggregator.config import Influx1, Retention
from aggregator.core import minutes
from aggregator.core.dialects.influxql import name as quoted
from aggregator.ports import Step, StoreMisconfigured
from models.contract.quality import BAD_FROM
from models.contract.schema import MEASUREMENTS

MINUTES_POLICY = "minutes"
_FIRST_POLICY = "autogen"  # as 1.x calls the one of a new database


class _Policy(NamedTuple):
    duration_s: int  # 0 = for ever
    is_default: bool


class _Query(NamedTuple):
    """A continuous query: what it selects, and of which readings."""

    name: str
    columns: str
    condition: str


_QUERIES = (
    _Query(
        minutes.MEASUREMENT,
        # a count is an integer; all numbers of the schema are floats
        'mean("value") AS "mean", min("value") AS "min", max("value") AS "max", count("value") * 1.0 AS "n"',
        f'"quality" < {BAD_FROM}',
    ),
    _Query(
        f"{minutes.MEASUREMENT}_{minutes.BAD}",
        f'count("value") * 1.0 AS "{minutes.BAD}"',
        f'"quality" >= {BAD_FROM}',
    ),
)


class Influx1Keeper:
    """Fulfils ports.Keeper."""

    def __init__(self, config: Influx1, retention: Retention) -> None:
        self._http = connect(config)
        self._timeout_s = config.timeout_s
        self._database = config.database
        self._on = f"ON {quoted(config.database)}"
        self._raw_s = minutes.retention_s(retention.raw_d)
        self._minutes_s = minutes.retention_s(retention.minutes_d)

    def plan(self) -> list[Step]:
        """See ports.Keeper."""
        is_there = any(self._database in row for row in self._rows("SHOW DATABASES"))
        policies = self._policies() if is_there else {}
        raw = _default(policies) if is_there else _FIRST_POLICY
        queries = self._queries() if is_there else {}
        # with the policy, because a server can be told not to make one by itself
        create = f'CREATE DATABASE {quoted(self._database)} WITH NAME "{_FIRST_POLICY}"'
        return [
            Step(f'database "{self._database}"', create, is_there),
            self._retention(raw, "readings and all other rows", self._raw_s, policies.get(raw)),
            self._retention(MINUTES_POLICY, "one-minute means", self._minutes_s, policies.get(MINUTES_POLICY)),
            *(self._continuous(query, raw, queries.get(query.name)) for query in _QUERIES),
        ]

    def apply(self, step: Step) -> None:
        """See ports.Keeper."""
        self._ask(step.statement)

    def downsample(self, since_ns: int, until_ns: int) -> None:
        """See ports.Keeper. Minutes whose readings are deleted already keep the means that they have."""
        policies = self._policies()
        if MINUTES_POLICY not in policies:
            raise StoreMisconfigured(f'there is no policy "{MINUTES_POLICY}" yet: run `tocsin aggregator init` first')
        raw = _default(policies)
        since_ns = minutes.kept(since_ns, time.time_ns(), self._minutes_s)
        for start, end in minutes.pieces(since_ns, until_ns, self._timeout_s, time.monotonic):
            within = f"time >= {start} AND time < {end}"
            self._ask("; ".join(self._select(query, raw, f"{query.condition} AND {within}") for query in _QUERIES))

    def close(self) -> None:
        """Closes idle connections."""
        self._http.close()

    def _retention(self, name: str, rows: str, wanted_s: int, found: _Policy | None) -> Step:
        what = f'policy "{name}": {rows} are kept {"" if wanted_s == 0 else "for "}{minutes.words(wanted_s)}'
        # a shard duration of 0 is one that suits; the one of a longer policy would be refused
        duration = f"DURATION {minutes.span(wanted_s)}" if wanted_s else "DURATION INF"
        if found is None and name == MINUTES_POLICY:
            return Step(
                what, f"CREATE RETENTION POLICY {quoted(name)} {self._on} {duration} REPLICATION 1", is_done=False
            )
        if found and wanted_s and (found.duration_s == 0 or found.duration_s > wanted_s):
            what += f" (until now {minutes.words(found.duration_s)}: what is older is deleted)"
        statement = f"ALTER RETENTION POLICY {quoted(name)} {self._on} {duration} SHARD DURATION 0s"
        return Step(what, statement, is_done=found is not None and found.duration_s == wanted_s)

    def _continuous(self, query: _Query, raw: str, found: str | None) -> Step:
        statement = (
            f"CREATE CONTINUOUS QUERY {quoted(query.name)} {self._on} RESAMPLE EVERY {minutes.EVERY_S // 60}m"
            f" FOR {minutes.span(minutes.LATE_S)} BEGIN {self._select(query, raw, query.condition)} END"
        )
        what = f'continuous query "{query.name}"'
        if found is not None and _plain(found) != _plain(statement):
            statement = f"DROP CONTINUOUS QUERY {quoted(query.name)} {self._on}; {statement}"
            return Step(f"{what} (in place of another of this name)", statement, is_done=False)
        return Step(what, statement, is_done=found is not None)

    def _select(self, query: _Query, raw: str, condition: str) -> str:
        database, measurement = quoted(self._database), quoted(minutes.MEASUREMENT)
        tags = ", ".join(map(quoted, MEASUREMENTS["reading"].tags))
        clauses = [
            f"SELECT {query.columns}",
            f"INTO {database}.{quoted(MINUTES_POLICY)}.{measurement}",
            f'FROM {database}.{quoted(raw)}."reading"',
            f"WHERE {condition}",
            f"GROUP BY time(1m), {tags} fill(none)",
        ]
        return " ".join(clauses)

    def _policies(self) -> dict[str, _Policy]:
        rows = self._rows(f"SHOW RETENTION POLICIES {self._on}")
        return {name: _Policy(minutes.seconds_of(duration), is_default) for name, duration, _, _, is_default in rows}

    def _queries(self) -> dict[str, str]:
        results = self._ask("SHOW CONTINUOUS QUERIES")
        found = [series for result in results for series in result.get("series", [])]
        mine = [series for series in found if series["name"] == self._database]
        return {name: text for series in mine for name, text in series.get("values", [])}

    def _rows(self, statement: str) -> Iterator[list[Any]]:
        for result in self._ask(statement):
            for series in result.get("series", []):
                yield from series.get("values", [])

    def _ask(self, statement: str) -> list[dict[str, Any]]:
        answer = self._http.request("POST", "/query", {"q": statement})
        return judge_query(answer.status, answer.text)


def _default(policies: dict[str, _Policy]) -> str:
    """The policy of the raw rows. Raises StoreMisconfigured when there is none beside that of the means."""
    found = next((name for name, policy in policies.items() if policy.is_default), MINUTES_POLICY)
    if found == MINUTES_POLICY:
        msg = (
            f'no retention policy but "{found}" is the default one: make another so (ALTER RETENTION POLICY … DEFAULT)'
        )
        raise StoreMisconfigured(msg)
    return found


def _plain(statement: str) -> str:
    """Without what the server writes in another way than we: quotes that are not needed, and 1.000 for 1.0."""
    return re.sub(r"(?<=\d)\.0+\b", "", re.sub(r'["\\]', "", statement))
