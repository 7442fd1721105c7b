"""How readings are handed to a check, and the look back and the memory that checks share."""

from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from edge_agent.core.align import NEVER
from edge_agent.core.segments import Ids, Segments, grown, kept, lasts_of, preceding

Scalar = TypeVar("Scalar", bound=np.generic)
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

NONE: Ids = np.empty(0, np.intp)


class Rows(NamedTuple):
    """m readings in grouped order: by channel, and within each in order of arrival. None of their values is NaN.

    What a check finds it returns as positions among these m, ascending.
    """

    grouped: Segments
    time_ns: Ints  # [m], event time
    value: Floats  # [m]
    at: Ids  # [m], which of the readings of the step each one is
    ends: Ids  # [k], the last reading of each channel

    @classmethod
    def grouped_as(cls, grouped: Segments, time_ns: Ints, value: Floats, at: Ids) -> "Rows":
        """Those of one grouping, [m] each."""
        return cls(grouped, time_ns, value, at, lasts_of(grouped.starts, len(at)))

    @property
    def series(self) -> Ids:
        """[k], the channels touched."""
        return self.grouped.series

    def spread(self, setting: NDArray[Scalar]) -> NDArray[Scalar]:
        """A setting [channels] for each reading [m]."""
        return setting[self.series][self.grouped.rank]

    def where(self, keep: Flags) -> "Rows":
        """Those of m that are kept."""
        if keep.all():
            return self
        return Rows.grouped_as(kept(self.grouped, keep), self.time_ns[keep], self.value[keep], self.at[keep])

    def of(self, channels: Flags | bool) -> "Rows | None":
        """Those of the channels [channels] that are set, or of all or no channels; None: there are none."""
        if isinstance(channels, bool):
            return self if channels else None
        wanted = channels[self.series]
        if wanted.all():
            return self
        return self.where(wanted[self.grouped.rank]) if wanted.any() else None


class LastReading:
    """State per channel: time and value of the last reading."""

    def __init__(self) -> None:
        self.time_ns: Ints = np.empty(0, np.int64)
        self.value: Floats = np.empty(0)

    def grow(self, channels: int) -> None:
        """Make room for more channels."""
        self.time_ns = grown(self.time_ns, channels, NEVER)
        self.value = grown(self.value, channels, np.nan)

    def forget(self, channels: Ids | Flags) -> None:
        """The next reading has none before it."""
        self.time_ns[channels], self.value[channels] = NEVER, np.nan


def before(rows: Rows, values: NDArray[Scalar], last: NDArray[Scalar]) -> NDArray[Scalar]:
    """What stood before each of `values` [m] on its channel; `last` [channels] is brought up to date in place."""
    out = preceding(values, rows.grouped.starts, last[rows.series])
    last[rows.series] = values[rows.ends]
    return out
