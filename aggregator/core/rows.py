"""From a batch's columns to rows that every store can take; what none would take is refused row by row, with a reason.

Nothing is left out without a refusal that says so, except rows in which no field has a value.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aggregator.core.bisect import refusal
from aggregator.core.guard import MAX_TAG_CHARS, SeriesGuard, Tags, Verdict
from aggregator.core.points import Points, Table
from models.contract.batch import Alarm, Batch, Floats, Refusal, floats, indices, ints
from models.contract.schema import MEASUREMENTS

MAX_TIME_NS = 2**63 - 2  # InfluxDB keeps the last int64 for itself
MAX_TEXT_BYTES = 64 * 1024  # of a string field, in InfluxDB
MAX_NAMED = 100  # refused rows that are named; naming a million costs seconds, and no receipt could carry them
_MAX_NAME = 100  # characters of a field's name in a reason
_UNFIT = f"a tag is empty, longer than {MAX_TAG_CHARS} characters, or holds a character that line protocol cannot carry"


class Rows(NamedTuple):
    """What came of a batch."""

    points: Points
    refused: list[Refusal]  # at most MAX_NAMED
    unnamed: int  # rows that were refused beside these
    beyond: int  # refused rows, named or not, of series beyond validation.max_series


def clean(gateway: tuple[str, str], batch: Batch, guard: SeriesGuard) -> Rows:
    """Never raises. Row by row, each is in the points, refused, or has no value."""
    refusals = _Refusals()
    beyond = 0
    tables: list[Table] = []
    for table, series in _tables(batch, refusals):
        taken = table
        if series is not None and (verdict := guard.check(gateway, table.measurement, series)) is not None:
            taken, rows = _taken(table, verdict, guard.max_series, refusals)
            beyond += rows
        taken = _clean(taken, refusals)
        if len(taken):
            tables.append(taken)
    return Rows(Points(tuple(tables)), refusals.named, refusals.unnamed, beyond)


def sane_time(time_ns: int) -> int:
    """MessagePack knows integers that no column can hold; 0 is refused later as no time."""
    return time_ns if 0 < time_ns <= MAX_TIME_NS else 0


class _Refusals:
    """Collects refused rows."""

    def __init__(self) -> None:
        self.named: list[Refusal] = []
        self.unnamed = 0

    def add(self, row: str, reason: str) -> None:
        if len(self.named) < MAX_NAMED:
            self.named.append(refusal(row, reason))
        else:
            self.unnamed += 1

    def add_rows(self, table: Table, bad: NDArray[np.bool_], reason: str) -> None:
        rows = np.flatnonzero(bad)
        room = MAX_NAMED - len(self.named)
        self.named += [refusal(_describe(table, row), reason) for row in rows[:room].tolist()]
        self.unnamed += max(0, len(rows) - room)


def _tables(batch: Batch, refusals: _Refusals) -> Iterator[tuple[Table, Sequence[Tags] | None]]:
    """Those that have rows, each with the tags that its gateway chose."""
    site, readings, inferences, alarms = batch.site, batch.readings, batch.inferences, batch.alarms
    if readings.index:
        quality = np.frombuffer(readings.quality, "u1").astype("<f8")
        fields = {"value": floats(readings.value), "denoised": floats(readings.denoised), "quality": quality}
        tags: list[Tags] = [(site, asset, channel) for asset, channel in readings.series]
        yield Table("reading", tags, indices(readings.index), ints(readings.time_ns), fields), readings.series
    if inferences.index:
        fields = _known("inference", {name: floats(column) for name, column in inferences.fields.items()}, refusals)
        tags = [(site, asset, model, version) for asset, model, version in inferences.series]
        yield Table("inference", tags, indices(inferences.index), ints(inferences.time_ns), fields), inferences.series
    if alarms:
        yield _alarms(site, alarms), [(alarm.asset, alarm.code) for alarm in alarms]
    if batch.gateway_time_ns and batch.gateway_fields:
        cells = np.array(list(batch.gateway_fields.values())).reshape(-1, 1)
        # what a newer gateway says of itself beyond that is no measurement: leaving it out loses nothing
        known = MEASUREMENTS["gateway"].floats
        fields = {name: cell for name, cell in zip(batch.gateway_fields, cells, strict=True) if name in known}
        time_ns = np.array([sane_time(batch.gateway_time_ns)], dtype=np.int64)
        # one series, named by the topic: what must get through, however many others there are
        yield Table("gateway", [(site, batch.gateway)], np.zeros(1, np.int32), time_ns, fields), None


def _alarms(site: str, alarms: list[Alarm]) -> Table:
    return Table(
        "alarm",
        [(site, alarm.asset, alarm.code) for alarm in alarms],
        np.arange(len(alarms), dtype=np.int32),
        np.array([sane_time(alarm.time_ns) for alarm in alarms], dtype=np.int64),
        {
            "is_open": np.array([float(alarm.is_open) for alarm in alarms]),
            "severity": np.array([alarm.severity for alarm in alarms]),
        },
        {"id": [alarm.id for alarm in alarms], "message": [alarm.message for alarm in alarms]},
    )


def _known(measurement: str, fields: dict[str, Floats], refusals: _Refusals) -> dict[str, Floats]:
    """The fields that the schema has; one refusal for each that it has not (a gateway newer than this side)."""
    schema = MEASUREMENTS[measurement].floats
    for name in fields:
        if name not in schema:
            refusals.add(measurement, f"the schema has no field {name[:_MAX_NAME]!r}; it was left out")
    return {name: values for name, values in fields.items() if name in schema}


def _taken(table: Table, verdict: Verdict, max_series: int, refusals: _Refusals) -> tuple[Table, int]:
    """The rows whose series are taken, and how many are of a series too many."""
    unfit, beyond = verdict.is_unfit[table.index], verdict.is_beyond[table.index]
    refusals.add_rows(table, unfit, _UNFIT)
    reason = f"a new series beyond the {max_series} that a gateway may bring (validation.max_series)"
    refusals.add_rows(table, beyond, reason)
    return table.where(~(unfit | beyond)), int(beyond.sum())


def _clean(table: Table, refusals: _Refusals) -> Table:
    """The table without the rows that no store would take, and without rows that say nothing.

    Nearly all tables are clean, so each is first looked at as a whole.
    """
    if not len(table) or not table.floats:
        return table.where(np.zeros(len(table), dtype=bool))
    is_reading = table.measurement == "reading"
    faults: dict[str, NDArray[np.bool_]] = {}
    time_ns, values = table.time_ns, np.array(list(table.floats.values()))  # [fields, rows]
    if (time_ns.view(np.uint64) - np.uint64(1)).max() >= MAX_TIME_NS:  # without a sign, what is below 1 is above all
        faults["the time lies outside of 1970 to 2262"] = (time_ns < 1) | (time_ns > MAX_TIME_NS)
    is_finite = bool(np.isfinite(values).all())
    if not is_finite and (is_infinite := np.isinf(values)).any():
        faults["a field is infinite"] = is_infinite.any(axis=0)
    if not is_finite and is_reading and (is_missing := np.isnan(table.floats["value"])).any():
        faults["the value is not a number"] = is_missing
    if any(_is_long(text) for texts in table.strings.values() for text in texts):
        is_long = [any(map(_is_long, texts)) for texts in zip(*table.strings.values(), strict=True)]
        faults[f"a text is longer than {MAX_TEXT_BYTES} bytes"] = np.array(is_long)
    says_something = is_finite or is_reading or bool(table.strings)
    if says_something and not faults:
        return table
    keep = np.ones(len(table), dtype=bool)
    for reason, bad in faults.items():
        refusals.add_rows(table, bad & keep, reason)
        keep &= ~bad
    return table.where(keep if says_something else keep & ~np.isnan(values).all(axis=0))


def _is_long(text: str) -> bool:
    return len(text) * 4 > MAX_TEXT_BYTES and len(text.encode()) > MAX_TEXT_BYTES


def _describe(table: Table, row: int) -> str:
    """A row for people: line protocol has no spelling for what is wrong with it."""
    tags = zip(MEASUREMENTS[table.measurement].tags, table.tags[table.index[row]], strict=True)
    fields = ",".join(f"{name}={values[row]}" for name, values in table.floats.items())
    return f"{','.join([table.measurement, *(f'{name}={tag}' for name, tag in tags)])} {fields} {table.time_ns[row]}"
