"""Stretches without data: channels, from their readings per interval, and gateways, from what they last said.

A stretch of empty intervals is a gap when at least 5 readings would have come at the channel's own rate (the
median of its intervals with data), and the channel is no sparse one: before a stretch it had run for three intervals,
or had come fast enough to fill one. A channel without any reading in the span is silent when it had as many
in the span before.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from aggregator.core.report.content import Gap, Gateway
from aggregator.core.report.intervals import Intervals
from aggregator.core.report.readings import Readings, channel_of
from aggregator.core.report.sources import ENOUGH
from aggregator.core.views import Row, number

_STEADY = 3  # intervals in a row
SILENT_S = 300.0  # a gateway tells of itself much more often
_TOLD = {
    "lost_total": "rows lost on the gateway",
    "refused_total": "rows refused by the store",
    "deadletters_total": "messages set aside",
}


def gaps(readings: Readings, before: Iterable[Row], span: Intervals) -> tuple[Gap, ...]:
    """One for each asset and stretch, with all channels that share it; those that go on first, then the longest."""
    heard = set(readings.channels)
    silent = [key for key, rows in Counter(map(channel_of, before)).items() if rows >= ENOUGH and key not in heard]
    channels: dict[tuple[str, str], int] = {}
    for site, asset, _ in (*readings.channels, *silent):
        channels[site, asset] = channels.get((site, asset), 0) + 1
    together: dict[tuple[str, str, int, int], list[str]] = {}
    for (site, asset, channel), curve in zip(readings.channels, readings.counts, strict=True):
        for begin, end in _stretches(curve, _cut(span)):
            together.setdefault((site, asset, begin, end), []).append(channel)
    for site, asset, channel in silent:
        together.setdefault((site, asset, 0, len(span)), []).append(channel)
    found = [
        Gap(
            site=site,
            asset=asset,
            channels=tuple(sorted(names)),
            of=channels[site, asset],
            begin_ns=span.time_ns(begin),
            end_ns=span.until_ns if end >= len(span) else span.time_ns(end),
            is_over=end < len(span),
        )
        for (site, asset, begin, end), names in together.items()
    ]
    return tuple(sorted(found, key=lambda gap: (gap.is_over, gap.begin_ns - gap.end_ns, gap.site, gap.asset)))


def _cut(span: Intervals) -> tuple[bool, bool]:
    """Whether the first and the last interval are cut by the span's ends."""
    return span.begin_ns != span.since_ns, span.until_ns % span.every_ns != 0


def _stretches(curve: NDArray[np.float64], cut: tuple[bool, bool]) -> Iterator[tuple[int, int]]:
    """Gaps of one channel as [begin, end) of intervals."""
    has = curve > 0
    rate = float(np.median(curve[has]))
    edges = np.flatnonzero(np.diff(np.concatenate(([True], has, [True])).astype(np.int8)))
    runs = np.count_nonzero(np.diff(np.concatenate(([0], has)).astype(np.int8)) == 1)
    if rate < ENOUGH and np.count_nonzero(has) < _STEADY * runs:
        return
    for begin, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        # a cut interval holds less than the others: it alone makes no gap
        whole = end - begin - (begin == 0 and cut[0]) - (end == len(curve) and cut[1])
        if whole * rate >= ENOUGH:
            yield begin, end


def gateways(newest: Iterable[Row], losses: Mapping[str, Sequence[Row]], span: Intervals) -> tuple[Gateway, ...]:
    """What each last said; the silent ones first, then those that lost something, then the ones behind."""
    counted = {counter: _increases(rows) for counter, rows in losses.items()}
    found = []
    for row in newest:
        key = (str(row["site"]), str(row["gateway"]))
        counts = [(_TOLD[name], by_gateway.get(key, 0.0)) for name, by_gateway in counted.items()]
        last_ns = int(number(row, "time"))
        remarks = []
        if number(row, "clock_is_behind"):
            remarks.append("its clock was set back")
        if number(row, "provider_is_first", 1.0) == 0:
            remarks.append("models run on a fall-back provider")
        found.append(
            Gateway(
                site=key[0],
                name=key[1],
                last_ns=last_ns,
                is_silent=(span.until_ns - last_ns) / 1e9 > SILENT_S,
                lag_s=number(row, "lag_s", np.nan),
                backlog_batches=number(row, "backlog_batches", np.nan),
                counts=tuple((words, count) for words, count in counts if count),
                remarks=tuple(remarks),
            )
        )
    return tuple(sorted(found, key=_need))


def _increases(rows: Iterable[Row]) -> dict[tuple[str, str], float]:
    """How far each gateway's counter went up; one that fell began anew at 0."""
    sums: dict[tuple[str, str], float] = {}
    last: dict[tuple[str, str], float] = {}
    for row in sorted(rows, key=lambda row: number(row, "time")):
        key = (str(row["site"]), str(row["gateway"]))
        high, before = number(row, "max"), last.get(key, number(row, "min"))
        sums[key] = sums.get(key, 0.0) + (high - before if high >= before else high)
        last[key] = high
    return sums


def _need(gateway: Gateway) -> tuple[object, ...]:
    lost = sum(count for _, count in gateway.counts)
    return not gateway.is_silent, -lost, -np.nan_to_num(gateway.lag_s), gateway.site, gateway.name
