"""From an alarm's changes to how long it was open, and how often."""

from collections.abc import Iterable
from typing import NamedTuple

from aggregator.core.report.content import Alarm
from aggregator.core.report.intervals import Intervals
from aggregator.core.views import Row, number


class _Span(NamedTuple):
    begin_ns: int  # 0 = before what is stored
    end_ns: int  # 0 = open
    severity: float
    message: str


def alarms(changes: Iterable[Row], span: Intervals) -> tuple[Alarm, ...]:
    """One for each site, asset and code: the open ones first, then the most severe, then the newest.

    `changes` are rows of `alarm` before the span's end, in any order: all within the span, and of alarms that were
    open when it began also their openings.
    """
    by_id: dict[tuple[str, ...], list[Row]] = {}
    for row in sorted(changes, key=lambda row: number(row, "time")):
        by_id.setdefault(tuple(str(row[tag]) for tag in ("site", "asset", "code", "id")), []).append(row)
    spans: dict[tuple[str, ...], list[_Span]] = {}
    for (site, asset, code, _), rows in by_id.items():
        found = _span(rows)
        if not found.end_ns or found.end_ns >= span.since_ns:
            spans.setdefault((site, asset, code), []).append(found)
    found_alarms = [_alarm(key, sorted(each), span) for key, each in spans.items()]
    return tuple(sorted(found_alarms, key=_importance))


def _span(rows: list[Row]) -> _Span:
    """Of one id: from its first opening to its closing after the last one."""
    openings = [row for row in rows if number(row, "is_open")]
    closing = rows[-1] if not number(rows[-1], "is_open") else None
    told = openings[-1] if openings else rows[-1]
    return _Span(
        int(number(openings[0], "time")) if openings else 0,
        int(number(closing, "time")) if closing else 0,
        max(number(row, "severity") for row in rows),
        str(told.get("message") or ""),
    )


def _alarm(key: tuple[str, ...], spans: list[_Span], span: Intervals) -> Alarm:
    site, asset, code = key
    newest = next((one for one in reversed(spans) if not one.end_ns), spans[-1])
    within = [min(one.end_ns or span.until_ns, span.until_ns) - max(one.begin_ns, span.since_ns) for one in spans]
    return Alarm(
        site=site,
        asset=asset,
        code=code,
        is_open=not newest.end_ns,
        times=len(spans),
        begin_ns=newest.begin_ns,
        end_ns=newest.end_ns,
        total_s=sum(max(ns, 0) for ns in within) / 1e9,
        severity=max(one.severity for one in spans),
        message=newest.message,
    )


def _importance(alarm: Alarm) -> tuple[object, ...]:
    return not alarm.is_open, -alarm.severity, -alarm.begin_ns, alarm.site, alarm.asset, alarm.code
