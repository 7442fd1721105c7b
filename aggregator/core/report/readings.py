"""How many readings each channel had in each interval: the one large answer of a report, as columns."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aggregator.core.report.intervals import Intervals
from aggregator.core.views import Row

Channel = tuple[str, str, str]  # site, asset, channel


@dataclass(frozen=True, eq=False)
class Readings:
    """`channels` are distinct, and rows of `counts` are theirs."""

    channels: list[Channel]
    counts: NDArray[np.float64]  # [channels, intervals]
    code_sums: NDArray[np.float64]  # [channels], of all quality codes
    codes: frozenset[int]  # the highest quality codes of the intervals

    @classmethod
    def of(cls, rows: Sequence[Row], span: Intervals) -> "Readings":
        """From `count`, and `mean` and `max` of the quality, of each channel and interval."""
        places: dict[Channel, int] = {}
        channel = np.array([places.setdefault(channel_of(row), len(places)) for row in rows], dtype=np.int64)
        time_ns = np.array([row["time"] for row in rows], dtype=np.int64)
        count = np.array([row["count"] for row in rows], dtype=np.float64)
        mean = np.array([row["mean"] for row in rows], dtype=np.float64)
        highest = np.array([row["max"] for row in rows], dtype=np.float64)
        counts = np.zeros((len(places), len(span)))
        at = np.clip((time_ns - span.begin_ns) // span.every_ns, 0, len(span) - 1)
        np.add.at(counts, (channel, at), count)
        code_sums = np.zeros(len(places))
        np.add.at(code_sums, channel, count * mean)
        return cls(list(places), counts, code_sums, frozenset(map(int, np.unique(highest))))

    @property
    def totals(self) -> NDArray[np.float64]:
        """Readings of each channel, float64 [channels]."""
        return np.asarray(self.counts.sum(axis=1))


def channel_of(row: Row) -> Channel:
    """A row's channel."""
    return str(row["site"]), str(row["asset"]), str(row["channel"])
