"""What a model is fitted on: runs of whole frames, and where they come from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.bundle import Channel
from models.training.data.grid import Stretch

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Source(NamedTuple):
    """A file that was read."""

    name: str
    sha256: str
    rows: int


@dataclass(frozen=True, eq=False)
class Run:
    """Frames of one machine that follow each other without a gap, oldest first. Windows never span two runs."""

    unit: str  # machine or run to failure; the file's name where no column tells
    time_ns: Ints  # [rows]; without times the row's number, counted in periods
    values: Floats  # [rows, channels], all finite, in the file's units
    label: Floats | None = None  # [rows], 1 where something was wrong
    target: Floats | None = None  # [rows], NaN where nothing was measured

    def __len__(self) -> int:
        return len(self.values)

    def of_channels(self, at: Sequence[int]) -> "Run":
        """Some of the channels, by position."""
        return replace(self, values=self.values[:, list(at)])

    def rows(self, begin: int, end: int) -> "Run":
        """Rows begin <= row < end."""
        cut = slice(max(begin, 0), max(end, 0))
        label = None if self.label is None else self.label[cut]
        target = None if self.target is None else self.target[cut]
        return Run(self.unit, self.time_ns[cut], self.values[cut], label, target)


class Data(NamedTuple):
    """All runs, in order of the files, of the machines' first rows, and of time."""

    channels: tuple[Channel, ...]
    settings: int  # the first channels of these set the operating regime
    runs: tuple[Run, ...]
    sample_period_s: float
    has_times: bool
    sources: tuple[Source, ...]
    notes: tuple[str, ...] = ()  # what was left out, and why

    @property
    def frames(self) -> int:
        """Rows of all runs."""
        return sum(map(len, self.runs))

    @property
    def units(self) -> tuple[str, ...]:
        """Machines in order."""
        return tuple(dict.fromkeys(run.unit for run in self.runs))


def whole(unit: str, stretch: Stretch, inputs: int, *, has_label: bool, has_target: bool) -> Iterator[Run]:
    """The runs of a stretch whose columns are `inputs` channels, then a label and a target where there are such."""
    is_whole = np.logical_and.reduce(np.isfinite(stretch.values[:, :inputs]), axis=1)
    edges = np.flatnonzero(np.diff(is_whole)) + 1
    for part in np.split(np.arange(len(is_whole)), edges):
        if not len(part) or not is_whole[part[0]]:
            continue
        rows = stretch.values[part]
        label = np.nan_to_num(rows[:, inputs]) if has_label else None
        target = rows[:, -1] if has_target else None
        yield Run(unit, stretch.time_ns[part], rows[:, :inputs], label, target)
