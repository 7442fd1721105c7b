"""Features of the last frames of many channels, at every so manieth cell.

A window ends at each frame whose cell is a multiple of `every` (counted from 1970, so that a restart changes
nothing) and reaches back over `frames` cells. Of these at least half must have a value, else there is no feature.
Until the next window a feature holds. Warm-up: half a window. Delay: none beyond the window itself.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_agent.core.align import NEVER
from edge_agent.core.align.grid import spread
from edge_agent.core.derive.statistics import FEATURES
from edge_agent.core.derive.turns import parted, turn_of
from edge_agent.core.segments import grown

Ids = NDArray[np.intp]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

MIN_SHARE = 0.5
_AT_ONCE = 2**18  # values that are looked at together


class Found(NamedTuple):
    """Features at frames: p pairs of a frame and a series."""

    row: Ids  # [p], position of the frame
    series: Ids  # [p]
    values: Floats  # [p, features]
    is_new: NDArray[np.bool_]  # [p], a window ends here; else its features hold


class Windowed:
    """State: of each series the values of the last cells, in a ring; of each asset the cells that these are of."""

    def __init__(self, frames: int, every: int, give: tuple[str, ...], frames_per_hour: float) -> None:
        self._frames, self._every, self._give, self._per_hour = frames, every, give, frames_per_hour
        self.asset: Ids = np.empty(0, np.intp)  # [series]
        self.channel: Ids = np.empty(0, np.intp)  # [series]
        self.values: Floats = np.empty((0, frames))
        self.cells: Ints = np.empty((0, frames), np.int64)
        self.last: Floats = np.empty((0, len(give)))
        self.last_cell: Ints = np.empty(0, np.int64)  # [assets]
        self._by_asset: Ids | None = None

    def grow(self, assets: int) -> None:
        """Make room for more assets."""
        self.cells, self.last_cell = grown(self.cells, assets, NEVER), grown(self.last_cell, assets, NEVER)

    def add(self, asset: int, channel: int) -> int:
        """Another series; returns its number."""
        self.asset, self.channel = np.append(self.asset, asset), np.append(self.channel, channel)
        self._by_asset = None
        return len(self.asset) - 1

    def step(self, asset: Ids, cell: Ints, lookup: Callable[[Ids, Ids], Floats]) -> Found:
        """asset, cell: [n], ascending. lookup: values [p] of channels [p] at frames [p] (positions)."""
        self._settle()
        if self._by_asset is None:
            self._by_asset = np.argsort(self.asset, kind="stable")
        ordered = self.asset[self._by_asset]
        begin, end = np.searchsorted(ordered, asset, "left"), np.searchsorted(ordered, asset, "right")
        row, series = np.repeat(np.arange(len(asset)), end - begin), self._by_asset[spread(begin, end - begin)]
        value = lookup(self.channel[series], row)
        out = np.empty((len(row), len(self._give)))
        ends = cell % self._every == 0
        turn = turn_of(asset, ends)
        count = int(turn.max(initial=-1)) + 1
        for mine, at in zip(parted(turn, count), parted(turn[row], count), strict=True):
            self.cells[asset[mine], cell[mine] % self._frames] = cell[mine]
            self.values[series[at], cell[row[at]] % self._frames] = value[at]
            old, new = at[~ends[row[at]]], at[ends[row[at]]]
            holds = cell[row[old]] - self.last_cell[asset[row[old]]] < self._every
            out[old] = np.where(holds[:, None], self.last[series[old]], np.nan)
            out[new] = self.last[series[new]] = self._features(series[new], cell[row[new]])
            self.last_cell[asset[mine[ends[mine]]]] = cell[mine[ends[mine]]]
        return Found(row, series, out, ends[row])

    def _features(self, series: Ids, cell: Ints) -> Floats:
        out = np.empty((len(series), len(self._give)))
        size = max(_AT_ONCE // self._frames, 1)
        for begin in range(0, len(series), size):
            some, now = series[begin : begin + size, None], cell[begin : begin + size, None]
            at = (now + 1 + np.arange(self._frames)) % self._frames  # oldest first
            recent = self.cells[self.asset[some], at] > now - self._frames
            window = np.where(recent, self.values[some, at], np.nan)
            enough = np.count_nonzero(~np.isnan(window), axis=1) >= MIN_SHARE * self._frames
            for i, name in enumerate(self._give):
                feature = np.full(len(window), np.nan)
                feature[enough] = FEATURES[name](window[enough]) * (self._per_hour if name == "slope" else 1)
                out[begin : begin + size, i] = feature
        return out

    def snapshot(self) -> dict[str, Any]:
        """Arrays, by series and by asset."""
        self._settle()
        return {name: getattr(self, name) for name in ("channel", "values", "last", "cells", "last_cell")}

    def restore(self, saved: dict[str, Any], here: Ids, at: Ids) -> None:
        """here: which of the saved assets to take over; at: their present positions. Series keep their channels."""
        self._settle()
        self.cells[at], self.last_cell[at] = saved["cells"][here], saved["last_cell"][here]
        position = {channel: i for i, channel in enumerate(self.channel.tolist())}
        for i, channel in enumerate(saved["channel"].tolist()):
            if channel in position:
                self.values[position[channel]], self.last[position[channel]] = saved["values"][i], saved["last"][i]

    def _settle(self) -> None:
        self.values = grown(self.values, len(self.asset), np.nan)
        self.last = grown(self.last, len(self.asset), np.nan)
