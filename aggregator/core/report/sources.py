"""The rows that a report is made of, and the questions that fetch them: aggregates only."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from aggregator.core.questions import Reads
from aggregator.core.report.content import AssetKey
from aggregator.core.report.doubts import fetch_doubts
from aggregator.core.report.intervals import Intervals
from aggregator.core.report.readings import Readings
from aggregator.core.select import Select, Where
from aggregator.core.views import Row
from models.contract.schema import MEASUREMENTS

_MODEL = ("site", "asset", "model")
_CHANNEL = MEASUREMENTS["reading"].tags
_GATEWAY = MEASUREMENTS["gateway"].tags
_IDS_AT_ONCE = 200  # a question travels in a URL
CURVES = ("health", "anomaly_score", "failure_prob", "rul_h")
ENOUGH = 5  # readings that make a channel one that should go on
LOSSES = ("lost_total", "refused_total", "deadletters_total")


@dataclass(frozen=True)
class Sources:
    """Plain rows, as `Reader.select` gives them, of one span."""

    span: Intervals
    scores: Mapping[str, Sequence[Row]]  # field -> `mean`, `max` of each asset, model and interval
    newest: Sequence[Row]  # newest row of each asset, model and version within the span
    oldest: Sequence[Row]  # the oldest ones
    alarms: Sequence[Row]  # changes, and the openings of what was open when the span began
    readings: Readings
    before: Sequence[Row]  # of each channel the few newest readings of a span as long just before
    doubtful: Mapping[int, Sequence[Row]]  # quality code -> `count` of its readings by channel, where there are enough
    gateways: Sequence[Row]  # newest row of each
    losses: Mapping[str, Sequence[Row]]  # counter -> `min`, `max` of each gateway and interval


def fetch(reader: Reads, span: Intervals) -> Sources:
    """Asks for everything but the means of single channels. Raises what `Reader` raises."""
    inside = Select("", since_ns=span.since_ns, until_ns=span.until_ns)
    inference = replace(inside, measurement="inference")
    scores = replace(inference, aggregates=("mean", "max"), by=_MODEL, every_ns=span.every_ns)
    losses = replace(inside, measurement="gateway", aggregates=("min", "max"), by=_GATEWAY, every_ns=span.every_ns)
    # a reading has a quality even where it has no value
    readings = replace(inside, measurement="reading", fields=("quality",))
    # the one question that walks over all readings: three answers at once
    counts = replace(readings, aggregates=("count", "mean", "max"), by=_CHANNEL, every_ns=span.every_ns)
    counted = Readings.of(reader.select(counts), span)
    before_ns = span.since_ns - (span.until_ns - span.since_ns)
    return Sources(
        span=span,
        scores={name: reader.select(replace(scores, fields=(name,))) for name in CURVES},
        newest=reader.select(replace(inference, newest=1)),
        oldest=reader.select(replace(inference, oldest=1)),
        alarms=_alarm_changes(reader, span),
        readings=counted,
        before=reader.select(replace(readings, newest=ENOUGH, since_ns=before_ns, until_ns=span.since_ns)),
        doubtful=fetch_doubts(reader, span, counted),
        gateways=reader.select(Select("gateway", newest=1, until_ns=span.until_ns)),
        losses={name: reader.select(replace(losses, fields=(name,))) for name in LOSSES},
    )


def fetch_means(reader: Reads, span: Intervals, assets: Iterable[AssetKey]) -> dict[AssetKey, list[Row]]:
    """Interval means of these assets' channels, from a span before the span on."""
    begin_ns = span.since_ns - (span.until_ns - span.since_ns)
    question = Select(
        "reading", ("value",), until_ns=span.until_ns, aggregates=("mean",), by=_CHANNEL, every_ns=span.every_ns
    )
    return {
        (site, asset): reader.select(replace(question, tags={"site": site, "asset": asset}, since_ns=begin_ns))
        for site, asset in assets
    }


def _alarm_changes(reader: Reads, span: Intervals) -> list[Row]:
    """Of all alarms that were open at some time within the span."""
    within = reader.select(Select("alarm", since_ns=span.since_ns, until_ns=span.until_ns))
    at_begin = [row for row in reader.select(Select("alarm", newest=1, until_ns=span.since_ns)) if row["is_open"]]
    ids = sorted({str(row["id"]) for row in (*within, *at_begin)})
    openings = [
        row
        for at in range(0, len(ids), _IDS_AT_ONCE)
        for row in reader.select(
            Select(
                "alarm",
                where=(Where("is_open", (1.0,)), Where("id", tuple(ids[at : at + _IDS_AT_ONCE]))),
                until_ns=span.since_ns,
            )
        )
    ]
    return [*openings, *within]
