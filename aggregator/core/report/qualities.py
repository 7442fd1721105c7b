"""Which channels are in bad quality, how much of the time, and why."""

from collections.abc import Iterable, Mapping

from aggregator.core.report.content import ChannelQuality
from aggregator.core.report.doubts import TOLD_FROM
from aggregator.core.report.readings import Channel, Readings, channel_of
from aggregator.core.views import Row, number
from models.contract.quality import label


def qualities(readings: Readings, doubtful: Mapping[int, Iterable[Row]]) -> tuple[ChannelQuality, ...]:
    """Channels with more than one reading in a hundred that is not good; the most bad first. See `Sources`."""
    channels: dict[Channel, dict[str, float]] = {}
    for code, rows in doubtful.items():
        for row in rows:
            channels.setdefault(channel_of(row), {})[label(code)] = number(row, "count")
    totals = dict(zip(readings.channels, readings.totals.tolist(), strict=True))
    found = []
    for (site, asset, channel), reasons in channels.items():
        # what came between two questions must not make more than all
        total = max(totals.get((site, asset, channel), 0.0), sum(reasons.values()))
        shares = [(words, count / total) for words, count in reasons.items() if count]
        if sum(share for _, share in shares) > TOLD_FROM:
            shares.sort(key=lambda one: (-one[1], one[0]))
            found.append(ChannelQuality(site, asset, channel, int(total), tuple(shares)))
    return tuple(sorted(found, key=_badness))


def _badness(one: ChannelQuality) -> tuple[object, ...]:
    return -one.bad_share, -sum(share for _, share in one.reasons), one.site, one.asset, one.channel
