"""Alignment: the readings of an asset's channels onto one grid of its own, in event time.

Cell k of an asset with period p holds the readings with (k-1)p < t <= kp; its frame, stamped kp, has for
each channel the last such reading, else the last one before, for as long as `hold_s`. A cell closes when a
reading of the asset lies more than `lateness_s` beyond its end, or when the asset has been silent for `idle_s` on
the listening clock, which leaves out the agent's own absences and those of the network. Silence is looked for at
ticks only. A reading for a closed cell is late: it is marked and changes no frame.

Invariants
1. Whether a reading is late depends on the readings and ticks before it, never on how they were cut into batches.
2. Closed cells stay closed; frames of an asset come in ascending order, each once.
3. No frame is made where no value is held: a gap of a year costs nothing.

Delay: `lateness_s`, plus up to one period. Cost: O(n log n) a batch, no loop over assets or channels.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_agent.core.segments import grown, running_max, segments

Ids = NDArray[np.intp]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_OPEN = ("open_channel", "open_asset", "open_cell", "open_time", "open_value")
_CROWD = 1024
NEVER = np.iinfo(np.int64).min // 4  # a cell or a time before all others, with room to count from


class Frames(NamedTuple):
    """Closed cells of this step, ascending within each asset, and what is needed to look values up."""

    asset: Ids  # [rows]
    cell: Ints  # [rows]
    time_ns: Ints  # [rows], the cell's end
    hold: Ints  # [rows], cells for which a value holds
    keys: Ints  # [m], sorted: channel and cell of each value that closed in this step
    values: Floats  # [m]
    base: int
    span: int
    last_cell: Ints  # [channels], as they were before this step
    last_value: Floats  # [channels]

    def lookup(self, channels: Ids) -> Floats:
        """Values [rows, c] for channels [rows, c] (-1: the asset has no such channel); NaN where none holds."""
        cells = self.cell[:, None]
        known = channels >= 0
        channel = np.where(known, channels, 0)
        found = np.searchsorted(self.keys, channel * self.span + (cells - self.base), side="right") - 1
        near = np.maximum(found, 0)
        keys = self.keys if len(self.keys) else np.full(1, -1, np.int64)
        values = self.values if len(self.values) else np.full(1, np.nan)
        here = (found >= 0) & (keys[near] // self.span == channel)
        cell = np.where(here, keys[near] % self.span + self.base, self.last_cell[channel])
        value = np.where(here, values[near], self.last_value[channel])
        out: Floats = np.where(known & (cells - cell <= self.hold[:, None]), value, np.nan)
        return out


@dataclass
class Grid:
    """Settings per asset, int64 [assets]."""

    period_ns: Ints
    lateness_ns: Ints
    idle_ns: Ints
    hold: Ints  # cells


class Align:
    """State of the alignment.

    Per channel the last closed value; per asset the newest event time, the last closed cell, when it
    was heard of last; and the readings of cells that are still open.
    """

    def __init__(self, listened_ns: int = 0) -> None:
        self.last_cell: Ints = np.empty(0, np.int64)
        self.last_value: Floats = np.empty(0)
        self.newest_ns: Ints = np.empty(0, np.int64)
        self.closed: Ints = np.empty(0, np.int64)
        self.held: Ints = np.empty(0, np.int64)  # [assets], last cell with a value
        self.heard_ns: Ints = np.empty(0, np.int64)  # [assets], on the listening clock
        self.listened_ns = listened_ns  # the listening clock at the last tick
        self.open_channel: Ids = np.empty(0, np.intp)
        self.open_asset: Ids = np.empty(0, np.intp)
        self.open_cell: Ints = np.empty(0, np.int64)
        self.open_time: Ints = np.empty(0, np.int64)
        self.open_value: Floats = np.empty(0)
        self.crowd = _CROWD  # so many open readings are looked through for superseded ones

    def grow(self, channels: int, assets: int) -> None:
        """Make room for more channels and assets."""
        self.last_cell = grown(self.last_cell, channels, NEVER)
        self.last_value = grown(self.last_value, channels, np.nan)
        for name in ("newest_ns", "closed", "held", "heard_ns"):
            setattr(self, name, grown(getattr(self, name), assets, NEVER))

    def step(
        self, grid: Grid, channel: Ids, asset: Ids, time_ns: Ints, value: Floats
    ) -> tuple[NDArray[np.bool_], Frames]:
        """Take n readings in order of arrival ([n] each; value NaN = not usable).

        Returns (is_late [n], the frames that closed).
        """
        before = self.closed.copy()
        late = self._admit(grid, channel, asset, time_ns, value)
        self.heard_ns[asset] = self.listened_ns
        return late, self._close(grid, before)

    def tick(self, grid: Grid, listened_ns: int) -> Frames:
        """The listening clock has come this far; returns the frames that closed because their asset is silent."""
        before = self.closed.copy()
        self.listened_ns = max(self.listened_ns, listened_ns)
        silent = (self.newest_ns > NEVER) & (self.listened_ns - self.heard_ns > grid.idle_ns)
        self.closed[silent] = np.maximum(self.closed, _cell(self.newest_ns, grid.period_ns))[silent]
        return self._close(grid, before)

    def _admit(self, grid: Grid, channel: Ids, asset: Ids, time_ns: Ints, value: Floats) -> NDArray[np.bool_]:
        """Sort out late readings, keep the others, move the watermarks."""
        late = np.zeros(len(asset), bool)
        if not len(asset):
            return late
        grouped = segments(asset)
        ordered = time_ns[grouped.order]
        period, lateness = (setting[asset[grouped.order]] for setting in (grid.period_ns, grid.lateness_ns))
        # The cell that each reading closes, and the running maximum of those before it, per asset.
        closes = (ordered - lateness - 1) // period
        closes_so_far = running_max(closes, grouped.rank)
        closed = self.closed[grouped.series][grouped.rank]
        earlier = np.concatenate(([NEVER], closes_so_far[:-1]))
        earlier[grouped.starts] = NEVER
        cell = _cell(ordered, period)
        late[grouped.order] = late_sorted = cell <= np.maximum(closed, earlier)
        last = np.append(grouped.starts[1:], len(ordered)) - 1
        self.closed[grouped.series] = np.maximum(self.closed[grouped.series], closes_so_far[last])
        newest = np.maximum.reduceat(ordered, grouped.starts)
        self.newest_ns[grouped.series] = np.maximum(self.newest_ns[grouped.series], newest)
        keep = ~late_sorted & ~np.isnan(value[grouped.order])
        kept = grouped.order[keep]
        self.open_channel = np.append(self.open_channel, channel[kept])
        self.open_asset = np.append(self.open_asset, asset[kept])
        self.open_cell = np.append(self.open_cell, cell[keep])
        self.open_time = np.append(self.open_time, time_ns[kept])
        self.open_value = np.append(self.open_value, value[kept])
        return late

    def _close(self, grid: Grid, before: Ints) -> Frames:
        done = self.open_cell <= self.closed[self.open_asset]
        channel, asset, cell = self.open_channel[done], self.open_asset[done], self.open_cell[done]
        time_ns, value = self.open_time[done], self.open_value[done]
        for name in _OPEN:
            setattr(self, name, getattr(self, name)[~done])
        self._forget_superseded()
        last_cell, last_value = self.last_cell, self.last_value
        rows_asset, rows_cell = self._rows(grid, before, asset, cell)
        base = int(min(cell.min(initial=0), rows_cell.min(initial=0)))
        span = int(max(cell.max(initial=0), rows_cell.max(initial=0))) - base + 1
        # The last value of each (channel, cell): latest in event time, and of equal times the last to arrive.
        order = np.lexsort((time_ns, cell, channel))
        keys = channel[order] * span + (cell[order] - base)
        final = np.ones(len(keys), bool)
        final[:-1] = keys[1:] != keys[:-1]
        keys, values = keys[final], value[order][final]
        if len(keys):
            owner = keys // span
            newest = np.append(owner[1:] != owner[:-1], True)
            self.last_cell, self.last_value = last_cell.copy(), last_value.copy()
            self.last_cell[owner[newest]] = keys[newest] % span + base
            self.last_value[owner[newest]] = values[newest]
        time = rows_cell * grid.period_ns[rows_asset]
        hold = grid.hold[rows_asset]
        return Frames(rows_asset, rows_cell, time, hold, keys, values, base, span, last_cell, last_value)

    def _forget_superseded(self) -> None:
        """Of an open cell only each channel's last reading counts: a clock that stands still must not pile them up.

        Done when their number has doubled, for it sorts them all.
        """
        if len(self.open_cell) < self.crowd:
            return
        order = np.lexsort((self.open_time, self.open_cell, self.open_channel))
        channel, cell = self.open_channel[order], self.open_cell[order]
        final = np.ones(len(order), bool)
        final[:-1] = (channel[1:] != channel[:-1]) | (cell[1:] != cell[:-1])
        keep = np.sort(order[final])
        for name in _OPEN:
            setattr(self, name, getattr(self, name)[keep])
        self.crowd = 2 * len(keep) + _CROWD

    def _rows(self, grid: Grid, before: Ints, asset: Ids, cell: Ints) -> tuple[Ids, Ints]:
        """The (asset, cell) pairs that closed in this step and hold a value of some channel."""
        moved = np.flatnonzero((self.closed > before) & (self.held > NEVER))
        assets = np.concatenate((asset, moved))
        cells = np.concatenate((cell, self.held[moved]))
        order = np.lexsort((cells, assets))
        assets, cells = assets[order], cells[order]
        distinct = np.ones(len(cells), bool)
        distinct[1:] = (cells[1:] != cells[:-1]) | (assets[1:] != assets[:-1])
        assets, cells = assets[distinct], cells[distinct]
        following = np.full(len(cells), np.iinfo(np.int64).max)
        same = assets[1:] == assets[:-1]
        following[:-1][same] = cells[1:][same] - 1
        begin = np.maximum(cells, before[assets] + 1)
        end = np.minimum(np.minimum(following, cells + grid.hold[assets]), self.closed[assets])
        count = np.maximum(end - begin + 1, 0)
        np.maximum.at(self.held, asset, cell)
        offset = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        return np.repeat(assets, count), np.repeat(begin, count) + offset


def _cell(time_ns: Ints, period_ns: Ints) -> Ints:
    return -(-time_ns // period_ns)
