"""The calendar of the maintenance plan: declared windows as stretches of time."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import groupby
from typing import NamedTuple
from zoneinfo import ZoneInfo

from aggregator.config.maintenance import Maintenance, Window, weekly, zone

_SECOND_NS = 1_000_000_000


class Opening(NamedTuple):
    """One crew in one window; what has passed of it is left out."""

    begin_ns: int
    hours: float
    crew: str


def openings(config: Maintenance, now_ns: int) -> list[Opening]:
    """All that begin before the horizon's end and have not ended, in order of begin and crew.

    Windows of one crew that overlap become one: nobody works twice at a time.
    """
    local = zone(config.timezone)
    end_ns = now_ns + round(config.horizon_h * 3600 * _SECOND_NS)
    found = set()
    for window in config.windows:
        for begin in _begins(window, local, now_ns, end_ns):
            begin_ns = round(begin.timestamp()) * _SECOND_NS
            passed_h = max(now_ns - begin_ns, 0) / (3600 * _SECOND_NS)
            if begin_ns < end_ns and passed_h < window.hours:
                for crew in window.crews or tuple(crew.name for crew in config.crews):
                    found.add(Opening(max(begin_ns, now_ns), window.hours - passed_h, crew))
    return sorted(_merged(found))


def _merged(found: Iterable[Opening]) -> Iterator[Opening]:
    for _, own in groupby(sorted(found, key=lambda one: (one.crew, one.begin_ns)), key=lambda one: one.crew):
        last, *others = own
        for one in others:
            ahead_h = (one.begin_ns - last.begin_ns) / (3600 * _SECOND_NS)
            if ahead_h < last.hours:
                last = last._replace(hours=max(last.hours, ahead_h + one.hours))
            else:
                yield last
                last = one
        yield last


def _begins(window: Window, local: ZoneInfo, now_ns: int, end_ns: int) -> Iterator[datetime]:
    pattern = weekly(window.begin)
    if pattern is None:
        begin = datetime.fromisoformat(window.begin)
        yield begin if begin.tzinfo else begin.replace(tzinfo=local)
        return
    days, hour, minute = pattern
    first = datetime.fromtimestamp(now_ns / _SECOND_NS, local) - timedelta(hours=window.hours)
    last = datetime.fromtimestamp(end_ns / _SECOND_NS, local)
    for ahead in range((last.date() - first.date()).days + 1):
        day = first.date() + timedelta(days=ahead)
        if day.weekday() in days:
            yield datetime(day.year, day.month, day.day, hour, minute, tzinfo=local)
