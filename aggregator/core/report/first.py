"""What to look at first, and why: the few worst assets, each with all that speaks for it."""

import math
from collections.abc import Callable, Iterator
from zoneinfo import ZoneInfo

from aggregator.core.report.content import Asset, ChannelQuality, Moved, Report
from aggregator.core.report.document import Points, Section
from aggregator.core.report.words import figure, hours, lasting, moment, percent, plain

_FIRST = 5
_FELL = 5.0  # points of health that are worth a word
_DOUBTFUL = 0.05  # share of bad readings


def look_first(report: Report, name: Callable[[str, str], str], zone: ZoneInfo) -> Section:
    """`name` is how an asset is called on this page."""
    needed = [asset for asset in report.assets if asset.state in {"alarm", "look"}]
    if not needed:
        return Section("Look at first", ["Nothing calls for it."])
    points = [
        (f"{name(asset.site, asset.name)} (risk {asset.risk:.2f})", list(_reasons(asset, report, zone)))
        for asset in needed[:_FIRST]
    ]
    note = (
        "Sigmas: how far the median of a channel's interval means in the last quarter of the span lies from that of "
        "the span before, in robust standard deviations of the means before (1.4826 x median absolute deviation)."
    )
    return Section("Look at first", [Points(points)], note if any(asset.moved for asset in needed[:_FIRST]) else "")


def _reasons(asset: Asset, report: Report, zone: ZoneInfo) -> Iterator[str]:
    for alarm in report.alarms:
        if (alarm.site, alarm.asset) == asset.key:
            often = f", {alarm.times} times in the span" if alarm.times > 1 else ""
            since = f"since {moment(alarm.begin_ns, zone)}" if alarm.begin_ns else "since before"
            when = f"open {since}" if alarm.is_open else f"was open for {lasting(alarm.total_s)}"
            yield f"alarm {plain(alarm.code)} {when}{often}, severity {figure(alarm.severity)}: {plain(alarm.message)}"
    yield from _judged(asset)
    for moved in asset.moved:
        yield _movement(moved)
    for quality in report.qualities:
        if (quality.site, quality.asset) == asset.key and quality.bad_share > _DOUBTFUL:
            yield _doubt(quality)


def _judged(asset: Asset) -> Iterator[str]:
    known = [value for value in asset.health_curve if math.isfinite(value)]
    if known and known[0] - asset.health >= _FELL:
        yield f"health fell from {figure(known[0])} to {figure(asset.health)}"
    elif math.isfinite(asset.health) and asset.reason == "health":
        yield f"health is {figure(asset.health)} of 100"
    if math.isfinite(asset.failure_prob) and asset.failure_prob > 0:
        yield f"failure probability {percent(asset.failure_prob)}"
    if asset.forecast:
        life = asset.forecast
        yield f"remaining life {hours(life.rul_h)} ({hours(life.low_h)} to {hours(life.high_h)}, {life.basis})"


def _movement(moved: Moved) -> str:
    step = f"{plain(moved.channel)} moved from {figure(moved.before)} to {figure(moved.now)}"
    if not math.isfinite(moved.sigmas):
        return f"{step}: it had not moved in the span before"
    return f"{step} ({moved.sigmas:+.1f} sigmas)" if abs(moved.sigmas) < 1000 else f"{step} (over 1,000 sigmas)"


def _doubt(quality: ChannelQuality) -> str:
    reason = next(reason for reason, _ in quality.reasons if reason.startswith("bad"))
    return f"look at the sensor too: {percent(quality.bad_share)} of {plain(quality.channel)} is {reason}"
