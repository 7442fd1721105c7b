"""From a message to rows that every store can take, or the reason why not.

A batch is refused whole when it cannot be read or is not the sender's; else single rows are refused and the rest
goes on. Nothing is left out without a refusal that says so, except rows in which no field has a value.
"""

import re
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aggregator.core.bisect import refusal
from aggregator.core.points import Points, Table
from models.contract.batch import Batch, ContractError, Floats, Refusal, decode_batch, floats, indices, ints
from models.contract.schema import MEASUREMENTS
from models.contract.topics import parse

MAX_TIME_NS = 2**63 - 2  # InfluxDB keeps the last int64 for itself
# What line protocol cannot carry in a tag: no text, control characters, a backslash that would escape what follows.
_NO_TAG = re.compile(r"^$|[\x00-\x1f\x7f]|\\(?=[,= \\]|$)")


class Accepted(NamedTuple):
    """A batch's rows, and those of its rows that no store would take."""

    gateway: tuple[str, str]  # site, gateway
    epoch: str
    seq: int
    points: Points
    refused: list[Refusal]


class Refused(NamedTuple):
    """A batch of which nothing can be stored. `epoch` is empty and `seq` 0 when it could not even be read."""

    reason: str
    epoch: str = ""
    seq: int = 0


def validate(topic: str, payload: bytes) -> Accepted | Refused:
    """Checks one message against the contract; never raises, whatever the bytes."""
    place = parse(topic)
    if place is None or place[2] != "batch":
        return Refused(f"{topic!r} is no topic for batches")
    try:
        batch = decode_batch(payload)
    except ContractError as error:
        return Refused(str(error))
    if (batch.site, batch.gateway) != place[:2]:
        reason = f"a batch of {batch.site}/{batch.gateway} came on the topic of {place[0]}/{place[1]}"
        return Refused(reason, batch.epoch, batch.seq)
    refused: list[Refusal] = []
    tables = tuple(_clean(table, refused) for table in _tables(batch, refused))
    points = Points(tuple(table for table in tables if len(table)))
    return Accepted(place[:2], batch.epoch, batch.seq, points, refused)


def _tables(batch: Batch, refused: list[Refusal]) -> list[Table]:
    site, readings, inferences, alarms = batch.site, batch.readings, batch.inferences, batch.alarms
    outputs = {name: floats(column) for name, column in inferences.fields.items()}
    gateway = {name: np.array([value]) for name, value in batch.gateway_fields.items()} if batch.gateway_time_ns else {}
    return [
        Table(
            "reading",
            [(site, *series) for series in readings.series],
            indices(readings.index),
            ints(readings.time_ns),
            {
                "value": floats(readings.value),
                "denoised": floats(readings.denoised),
                "quality": np.frombuffer(readings.quality, "u1").astype("<f8"),
            },
        ),
        Table(
            "inference",
            [(site, *series) for series in inferences.series],
            indices(inferences.index),
            ints(inferences.time_ns),
            _known("inference", outputs, refused),
        ),
        Table(
            "alarm",
            [(site, alarm.asset, alarm.code) for alarm in alarms],
            np.arange(len(alarms), dtype=np.int32),
            np.array([_int64(alarm.time_ns) for alarm in alarms], dtype=np.int64),
            {
                "is_open": np.array([float(alarm.is_open) for alarm in alarms]),
                "severity": np.array([alarm.severity for alarm in alarms]),
            },
            {"id": [alarm.id for alarm in alarms], "message": [alarm.message for alarm in alarms]},
        ),
        Table(
            "gateway",
            [(site, batch.gateway)] if gateway else [],
            np.zeros(1 if gateway else 0, dtype=np.int32),
            np.array([_int64(batch.gateway_time_ns)] if gateway else [], dtype=np.int64),
            _known("gateway", gateway, refused),
        ),
    ]


def _int64(time_ns: int) -> int:
    """MessagePack knows integers that no column can hold; 0 is refused later as no time."""
    return time_ns if 0 < time_ns <= MAX_TIME_NS else 0


def _known(measurement: str, fields: dict[str, Floats], refused: list[Refusal]) -> dict[str, Floats]:
    """The fields that the schema has; one refusal for each that it has not (a gateway newer than this side)."""
    schema = MEASUREMENTS[measurement].floats
    refused += [
        refusal(measurement, f"the schema has no field {name!r}; it was left out")
        for name, values in fields.items()
        if name not in schema and len(values)
    ]
    return {name: values for name, values in fields.items() if name in schema}


def _clean(table: Table, refused: list[Refusal]) -> Table:
    """The table without the rows that no store would take, and without rows that say nothing."""
    rows = len(table)
    if not rows:
        return table
    bad_tags = np.array([any(map(_NO_TAG.search, tags)) for tags in table.tags], dtype=bool)
    faults: dict[str, NDArray[np.bool_]] = {
        "a tag is empty, or holds a character that line protocol cannot carry": bad_tags[table.index],
        "the time lies outside of 1970 to 2262": (table.time_ns < 1) | (table.time_ns > MAX_TIME_NS),
        "a field is infinite": _any(rows, [np.isinf(values) for values in table.floats.values()]),
    }
    if table.measurement == "reading":
        faults["the value is not a number"] = np.isnan(table.floats["value"])
    keep = np.ones(rows, dtype=bool)
    for reason, bad in faults.items():
        refused += [refusal(_describe(table, row), reason) for row in np.flatnonzero(bad & keep).tolist()]
        keep &= ~bad
    if not table.strings:
        keep &= _any(rows, [~np.isnan(values) for values in table.floats.values()])
    return table.where(keep)


def _any(rows: int, columns: list[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    result = np.zeros(rows, dtype=bool)
    for column in columns:
        result |= column
    return result


def _describe(table: Table, row: int) -> str:
    """A row for people: line protocol has no spelling for what is wrong with it."""
    tags = zip(MEASUREMENTS[table.measurement].tags, table.tags[table.index[row]], strict=True)
    fields = ",".join(f"{name}={values[row]}" for name, values in table.floats.items())
    return f"{','.join([table.measurement, *(f'{name}={tag}' for name, tag in tags)])} {fields} {table.time_ns[row]}"
