"""From a store to a report."""

from dataclasses import replace
from zoneinfo import ZoneInfo

from aggregator.config.maintenance import Maintenance
from aggregator.core.questions import Reads
from aggregator.core.report.alarms import alarms
from aggregator.core.report.assets import assets
from aggregator.core.report.content import ModelInUse, Report
from aggregator.core.report.gaps import gaps, gateways
from aggregator.core.report.intervals import Intervals
from aggregator.core.report.moved import moved
from aggregator.core.report.qualities import qualities
from aggregator.core.report.sources import Sources, fetch, fetch_means
from aggregator.core.report.work import maintenance_plan
from aggregator.core.views import models, number

EXPLAINED = 10  # assets whose channels are looked at one by one


def make(reader: Reads, since_ns: int, until_ns: int, config: Maintenance, zone: ZoneInfo) -> Report:
    """Of `since_ns` <= time < `until_ns`. `zone` is that of times in sentences. Raises what `Reader` raises."""
    sources = fetch(reader, Intervals.of(since_ns, until_ns))
    report = without_means(sources, config, zone)
    worst = [one for one in report.assets if one.state in {"alarm", "look"}][:EXPLAINED]
    means = fetch_means(reader, sources.span, [one.key for one in worst])
    told = [
        replace(one, moved=moved(means[one.key], sources.span)) if one.key in means else one for one in report.assets
    ]
    return replace(report, assets=tuple(told))


def without_means(sources: Sources, config: Maintenance, zone: ZoneInfo) -> Report:
    """All but what single channels did."""
    span = sources.span
    open_or_closed = alarms(sources.alarms, span)
    seen = {channel[:2] for channel in sources.readings.channels}
    judged = assets(sources.scores, sources.newest, open_or_closed, seen, span)
    in_use = models(sources.oldest, sources.newest)
    return Report(
        since_ns=span.since_ns,
        until_ns=span.until_ns,
        every_ns=span.every_ns,
        assets=judged,
        alarms=open_or_closed,
        qualities=qualities(sources.readings, sources.doubtful),
        gaps=gaps(sources.readings, sources.before, span),
        gateways=gateways(sources.gateways, sources.losses, span),
        models=tuple(
            ModelInUse(
                str(row["model"]),
                str(row["version"]),
                int(number(row, "assets")),
                int(number(row, "first")),
                int(number(row, "last")),
            )
            for row in in_use
        ),
        plan=maintenance_plan(judged, config, span.until_ns, zone) if config.assets else None,
    )
