"""The one-minute means in Flux, for a task and for a stretch of time."""

from aggregator.core.dialects.flux import literal
from aggregator.core.minutes import BAD, EVERY_S, LATE_S, MEASUREMENT
from models.contract.quality import BAD_FROM

# A range that begins within a minute would take the place of this minute's mean by that of a part, so both ends are
# cut to minutes. `to` gives back what it writes, and the last filter keeps that off the wire. A count is an integer,
# and all numbers of the schema are floats.
_BODY = """\
rows = from(bucket: {raw})
    |> range(start: {start}, stop: {stop})
    |> filter(fn: (r) => r._measurement == "reading" and (r._field == "value" or r._field == "quality"))
    |> pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value")
    |> filter(fn: (r) => exists r.value)
    |> rename(columns: {{value: "_value"}})

good = rows
    |> filter(fn: (r) => r.quality < {bad_from})
    |> drop(columns: ["quality"])

bad = rows
    |> filter(fn: (r) => r.quality >= {bad_from})
    |> drop(columns: ["quality"])

minutes = (tables=<-, fn, field) => tables
    |> aggregateWindow(every: 1m, fn: fn, timeSrc: "_start", createEmpty: false)
    |> toFloat()
    |> set(key: "_field", value: field)

union(
    tables: [
        good |> minutes(fn: mean, field: "mean"),
        good |> minutes(fn: min, field: "min"),
        good |> minutes(fn: max, field: "max"),
        good |> minutes(fn: count, field: "n"),
        bad |> minutes(fn: count, field: "{bad}"),
    ],
)
    |> set(key: "_measurement", value: "{measurement}")
    |> to(bucket: {means})
    |> filter(fn: (r) => false)
"""


def downsampling(raw: str, means: str, start: str, stop: str) -> str:
    """For one stretch; `start` and `stop` are Flux expressions of full minutes."""
    return _BODY.format(
        raw=literal(raw),
        means=literal(means),
        start=start,
        stop=stop,
        bad=BAD,
        bad_from=float(BAD_FROM),
        measurement=MEASUREMENT,
    )


def task(name: str, raw: str, means: str) -> str:
    """Now and then, for the last hour: what came late by less than that counts."""
    start = f"date.truncate(t: date.sub(d: {LATE_S // 60}m, from: now()), unit: 1m)"
    body = downsampling(raw, means, start, "date.truncate(t: now(), unit: 1m)")
    return f'import "date"\n\noption task = {{name: {literal(name)}, every: {EVERY_S // 60}m, offset: 30s}}\n\n{body}'
