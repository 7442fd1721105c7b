"""A small plant's rows, and a plain Python answer to each `Select` of them: the oracle for all readers."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from aggregator.core.points import Points, Table
from aggregator.core.select import Aggregate, Select, Where
from aggregator.core.views import Row
from models.contract.schema import MEASUREMENTS
from tests.batches import SECOND, T0

MINUTE = 60 * SECOND
END = T0 + 20 * MINUTE
# What people call machines, and what people who mean harm call them.
HOSTILE = (
    'it\'s "q" \\ 7, a=b',
    "'; DROP MEASUREMENT reading; --",
    '") |> to(bucket: "x") //',
    "Pumpe ä 温度 🔥",
    "${1 + 1}",
    "%20&x;\\n\\ü",
)


class Stored(NamedTuple):
    """One row: tags in the schema's order; a field that is not there has no value."""

    measurement: str
    tags: tuple[str, ...]
    time_ns: int
    fields: dict[str, float | str]


MACHINES = (("north", "pump-1"), ("north", "pump-2"), ("south", "pump-1"))


def plant() -> list[Stored]:
    """Twelve minutes of three assets in two sites, and what gateways say of themselves. Values are exact in binary."""
    machines = enumerate(MACHINES)
    rows = [
        row for a, machine in machines for row in (*_readings(a, machine), *_results(a, machine), *_alarms(a, machine))
    ]
    for i, name in enumerate(HOSTILE):
        rows.append(Stored("reading", ("north", name, name), T0 + i, {"value": float(i), "quality": 0.0}))
    return rows + list(_gateways())


def _readings(a: int, machine: tuple[str, str]) -> Iterator[Stored]:
    for c, channel in enumerate(("speed", "temp °C")):
        for i in range(24):
            bad = 129.0 if channel != "speed" else 70.0
            fields: dict[str, float | str] = {"value": a * 8 + c + i / 8, "quality": bad if a and i >= 20 else 0.0}
            if i % 3:
                fields["denoised"] = a * 8 + c + i / 8 + 0.5
            yield Stored("reading", (*machine, channel), T0 + i * 30 * SECOND + c, fields)


def _results(a: int, machine: tuple[str, str]) -> Iterator[Stored]:
    for i in range(12):
        version = "1.0" if i < 6 else "2.0"
        scores: dict[str, float | str] = {"anomaly_score": (i * (a + 3) % 7) / 4, "health": 1 - (i + a) / 64}
        yield Stored("inference", (*machine, "wear", version), T0 + i * MINUTE, scores)
        if i % 2 == a % 2:
            forecast: dict[str, float | str] = {"failure_prob": (i + 8 * a) / 64, "rul_h": 100.0 - i}
            yield Stored("inference", (*machine, "forecast", "1.0"), T0 + i * MINUTE + 7, forecast)


def _alarms(a: int, machine: tuple[str, str]) -> Iterator[Stored]:
    asset = machine[1]
    for i, (code, is_open) in enumerate((("hot", 1.0), ("hot", 1.0), ("hot", float(a != 1)), ("slow", 1.0))):
        fields: dict[str, float | str] = {"is_open": is_open, "severity": 0.5, "id": f"{asset}-{code}-{a}"}
        fields["message"] = f'{asset} is {code}: "why"\nback\\slash {i}'
        yield Stored("alarm", (*machine, code), T0 + i * MINUTE + a, fields)


def _gateways() -> Iterator[Stored]:
    """An outage of the uplink, which the outbox of the second gateway could not hold whole."""
    for g, gateway in enumerate(("gw-1", "gw-2")):
        for i, backlog in enumerate((0.0, 12.0, 40.0, 6.0, 0.0)):
            fields: dict[str, float | str] = {"readings_total": 1000.0 * (i + 1), "backlog_batches": backlog}
            fields |= {"backlog_bytes": 4096 * backlog, "lag_s": 0.5 + 5 * backlog, "uptime_s": 60.0 * i}
            fields["lost_total"] = 64.0 if g and i > 1 else 0.0
            if i:
                fields["deadletters_total"] = 2.0
            yield Stored("gateway", ("north", gateway), T0 + i * MINUTE + g, fields)


def points(rows: Sequence[Stored]) -> Points:
    """As a store takes them."""
    groups: dict[tuple[str, tuple[str, ...]], list[Stored]] = defaultdict(list)
    for row in rows:  # rows of one table have the same text fields
        groups[row.measurement, ()].append(row)
    return Points(tuple(_table(measurement, group) for (measurement, _), group in groups.items()))


def _table(measurement: str, rows: list[Stored]) -> Table:
    schema = MEASUREMENTS[measurement]
    tags = sorted({row.tags for row in rows})
    return Table(
        measurement,
        tags,
        np.array([tags.index(row.tags) for row in rows], dtype=np.int32),
        np.array([row.time_ns for row in rows], dtype=np.int64),
        {name: np.array([float(row.fields.get(name, math.nan)) for row in rows]) for name in schema.floats},
        {name: [str(row.fields[name]) for row in rows] for name in schema.strings},
    )


def answer(question: Select, rows: Sequence[Stored]) -> list[Row]:
    """What `Select` promises, word by word."""
    schema = MEASUREMENTS[question.measurement]
    fields = question.fields or (*schema.floats, *schema.strings)
    met = [row for row in rows if _meets(question, row)]
    if question.aggregates:
        return _aggregated(question, met)
    met = sorted((row for row in met if any(f in row.fields for f in fields)), key=lambda row: (row.time_ns, row.tags))
    if kept := question.newest or question.oldest:
        series: dict[tuple[str, ...], list[Stored]] = defaultdict(list)
        for row in met:
            series[row.tags].append(row)
        chosen = [row for each in series.values() for row in (each[-kept:] if question.newest else each[:kept])]
        met = [row for row in met if row in chosen]
    met = met if question.limit is None else met[-question.limit :]
    return [
        {"time": row.time_ns, **dict(zip(schema.tags, row.tags, strict=True)), **{f: row.fields.get(f) for f in fields}}
        for row in met
    ]


def _meets(question: Select, row: Stored) -> bool:
    tags = dict(zip(MEASUREMENTS[row.measurement].tags, row.tags, strict=True))
    return (
        row.measurement == question.measurement
        and all(tags[tag] == value for tag, value in question.tags.items())
        and all(_has(where, row.fields.get(where.field)) for where in question.where)
        and (question.since_ns is None or row.time_ns >= question.since_ns)
        and (question.until_ns is None or row.time_ns < question.until_ns)
    )


def _has(where: Where, value: float | str | None) -> bool:
    return value in where.values if where.below is None else isinstance(value, float) and value < where.below


_OF: dict[Aggregate, Callable[[list[float]], float]] = {
    "mean": lambda values: sum(values) / len(values),
    "min": min,
    "max": max,
    "count": lambda values: float(len(values)),
}


def _aggregated(question: Select, met: list[Stored]) -> list[Row]:
    groups: dict[tuple[int, tuple[str, ...]], list[float]] = defaultdict(list)
    names = MEASUREMENTS[question.measurement].tags
    for row in met:
        tags = dict(zip(names, row.tags, strict=True))
        every = question.every_ns
        begin_ns = (question.since_ns or 0) if every is None else row.time_ns // every * every
        if (value := row.fields.get(question.fields[0])) is not None:
            groups[begin_ns, tuple(tags[tag] for tag in question.by)].append(float(value))
    return [
        {
            "time": begin,
            **dict(zip(question.by, tags, strict=True)),
            **{how: _OF[how](v) for how in question.aggregates},
        }
        for (begin, tags), v in sorted(groups.items())
    ]
