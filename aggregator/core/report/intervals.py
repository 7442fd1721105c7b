"""A span cut into intervals that are counted from 1970, as stores count them."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from aggregator.core.views import Row, number

_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)
_MOST = 60
_SECOND_NS = 1_000_000_000


@dataclass(frozen=True)
class Intervals:
    """`since` <= time < `until`; the first and the last interval may be cut."""

    since_ns: int
    until_ns: int
    every_ns: int

    @classmethod
    def of(cls, since_ns: int, until_ns: int) -> "Intervals":
        """At most 60 of a round length, or of as many days as that takes."""
        span_s = (until_ns - since_ns) / _SECOND_NS
        days = -(-(until_ns - since_ns) // (_MOST * 86400 * _SECOND_NS))
        step_s = next((step for step in _STEPS_S if span_s / step <= _MOST), 86400 * days)
        return cls(since_ns, until_ns, step_s * _SECOND_NS)

    @cached_property
    def begin_ns(self) -> int:
        """Of the first interval."""
        return self.since_ns // self.every_ns * self.every_ns

    @cached_property
    def _number(self) -> int:
        return max(-(-(self.until_ns - self.begin_ns) // self.every_ns), 0)

    def __len__(self) -> int:
        return self._number

    def time_ns(self, at: int) -> int:
        """When interval `at` begins within the span."""
        return max(self.begin_ns + at * self.every_ns, self.since_ns)

    def at(self, row: Row) -> int:
        """The interval of a row, kept within the span."""
        return min(max((int(number(row, "time")) - self.begin_ns) // self.every_ns, 0), len(self) - 1)

    def curve(self, rows: Iterable[Row], column: str) -> NDArray[np.float64]:
        """One value an interval, float64 [n]; NaN where no row has one."""
        values = np.full(len(self), np.nan)
        for row in rows:
            values[self.at(row)] = number(row, column, np.nan)
        return values
