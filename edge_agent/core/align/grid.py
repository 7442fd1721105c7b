"""Settings of the alignment: the grid of each asset, and how each channel is put on it."""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.intp]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

NEVER = np.iinfo(np.int64).min // 4  # a cell or a time before all others, with room to count from


class Mode(IntEnum):
    """What a channel's value in a cell is; the names in the configuration are these in lower case."""

    HOLD = 0  # the last reading up to the cell's end, for as long as the asset's `hold`
    LINEAR = 1  # between the readings around the cell's end; where there is no such pair: as HOLD
    MEAN = 2  # of the readings within the cell, as of all below: nothing is held
    MAX = 3
    MIN = 4
    LAST = 5


@dataclass
class Modes:
    """Settings per channel, [channels] each; all three empty: every channel holds."""

    mode: NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))  # of `Mode`
    max_gap_ns: Ints = field(default_factory=lambda: np.empty(0, np.int64))  # between the two readings of LINEAR
    asset_of: Ids = field(default_factory=lambda: np.empty(0, np.intp))

    def __post_init__(self) -> None:
        self.all_hold = not self.mode.any()
        self.any_fold = bool(np.isin(self.mode, (Mode.MEAN, Mode.MAX, Mode.MIN)).any())
        self.is_plain: Flags = np.isin(self.mode, (Mode.HOLD, Mode.LAST))  # only a cell's last reading counts
        self.all_plain = bool(self.is_plain.all())
        self.holds: Flags = self.mode == Mode.HOLD
        linear = np.flatnonzero(self.mode == Mode.LINEAR)
        self.linear: Ids = linear[np.argsort(self.asset_of[linear], kind="stable")]  # channels, by asset
        self.linear_asset: Ids = self.asset_of[self.linear]


@dataclass
class Grid:
    """Settings per asset, int64 [assets], and those per channel."""

    period_ns: Ints
    lateness_ns: Ints
    idle_ns: Ints
    hold: Ints  # cells
    modes: Modes = field(default_factory=Modes)


class Closing(NamedTuple):
    """The assets whose last closed cell moves on in this step, ascending, and when in the step it does."""

    asset: Ids  # [k]
    before: Ints  # [k], last closed cell
    after: Ints  # [k]
    order: Ids  # [n], position in the step of each reading, by asset
    rank: Ids  # [n], position in `touched` of its asset
    touched: Ids  # [assets of the step], ascending
    closes: Ints  # [n], last cell that is closed once that reading is taken

    def of(self, assets: Ids) -> Ids:
        """Positions of `assets` (all of which move) in `asset`."""
        return np.searchsorted(self.asset, assets)

    def position(self, assets: Ids, cells: Ints) -> Ids:
        """Of the reading that closes each cell; in a tick, which comes after all readings, beyond all positions."""
        if not len(self.closes):
            return np.full(len(cells), np.iinfo(np.intp).max)
        low = min(int(self.closes.min()), int(cells.min()))
        span = max(int(self.closes.max()), int(cells.max())) - low + 1
        rank = np.searchsorted(self.touched, assets)
        return self.order[np.searchsorted(self.rank * span + (self.closes - low), rank * span + (cells - low))]


def spread(begin: Ints, count: Ints) -> Ints:
    """The numbers begin, begin + 1, … of each entry ([m], `count` of them), one after the other."""
    out: Ints = np.repeat(begin - (np.cumsum(count) - count), count) + np.arange(count.sum())
    return out


def extent(cells: Ints) -> tuple[int, int]:
    """The first cell, and how many there are from it to the last; (0, 1) for none."""
    if not len(cells):
        return 0, 1
    first = int(cells.min())
    return first, int(cells.max()) - first + 1
