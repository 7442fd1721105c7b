"""The stage: which readings are late, which cells close, what is in them."""

import numpy as np

from edge_agent.core.align.frames import Frames
from edge_agent.core.align.grid import NEVER, Closing, Flags, Floats, Grid, Ids, Ints, Mode, extent, spread
from edge_agent.core.align.linear import interpolate
from edge_agent.core.align.opened import SLOTS, Open, OpenReadings, fold
from edge_agent.core.segments import Segments, begins, grown, running_max, segments

_LAST = np.iinfo(np.int64).max
_NO_IDS, _NO_INTS, _NO_VALUES = np.empty(0, np.intp), np.empty(0, np.int64), np.empty(0)


class Align(OpenReadings):
    """State of the alignment.

    Per channel the last closed reading; per asset the newest event time, the last closed cell, when it
    was heard of last; and the readings of cells that are still open.
    """

    def __init__(self, listened_ns: int = 0) -> None:
        super().__init__()
        self.last_cell: Ints = np.empty(0, np.int64)
        self.last_value: Floats = np.empty(0)
        self.last_time: Ints = np.empty(0, np.int64)
        # What this step has closed becomes the last at the next one: until then its frames look up what was before.
        self.fresh_channel: Ids = _NO_IDS
        self.fresh_cell: Ints = _NO_INTS
        self.fresh_value: Floats = _NO_VALUES
        self.fresh_time: Ints = _NO_INTS
        self.newest_ns: Ints = np.empty(0, np.int64)
        self.closed: Ints = np.empty(0, np.int64)
        self.held: Ints = np.empty(0, np.int64)  # [assets], last cell with a value that holds
        self.heard_ns: Ints = np.empty(0, np.int64)  # [assets], on the listening clock
        self.listened_ns = listened_ns  # the listening clock at the last tick

    def grow(self, channels: int, assets: int) -> None:
        """Make room for more channels and assets."""
        if len(self.last_cell) < channels:
            self.last_cell = grown(self.last_cell, channels, NEVER)
            self.last_value = grown(self.last_value, channels, np.nan)
            self.last_time = grown(self.last_time, channels, NEVER)
            self.slots = grown(self.slots, channels * SLOTS, 0)
        if len(self.closed) < assets:
            for name in ("newest_ns", "closed", "held", "heard_ns"):
                setattr(self, name, grown(getattr(self, name), assets, NEVER))

    def step(
        self, grid: Grid, channel: Ids, asset: Ids, time_ns: Ints, value: Floats, is_ahead: Flags | None = None
    ) -> tuple[Flags, Frames]:
        """Take n readings in order of arrival ([n] each; value NaN = not usable).

        Those that `is_ahead` ([n]) marks come from a clock that runs far ahead: they are not late, go into no frame,
        close none, and do not count as having been heard. Returns (is_late [n], the frames that closed).
        """
        self._settle()
        late = np.zeros(len(asset), bool)
        if is_ahead is not None and is_ahead.any():
            near = np.flatnonzero(~is_ahead)
            if not len(near):
                return late, self._nothing(grid)
            late[near], frames = self._step(grid, channel[near], asset[near], time_ns[near], value[near])
            return late, frames
        return self._step(grid, channel, asset, time_ns, value) if len(asset) else (late, self._nothing(grid))

    def tick(self, grid: Grid, listened_ns: int) -> Frames:
        """The listening clock has come this far; returns the frames that closed because their asset is silent."""
        self._settle()
        self.listened_ns = max(self.listened_ns, listened_ns)
        silent = np.flatnonzero(self.silent(grid))
        before, ends = self.closed[silent], -(-self.newest_ns[silent] // grid.period_ns[silent])
        at = ends > before
        if not at.any():
            return self._nothing(grid)
        self.closed[silent[at]] = ends[at]
        closing = Closing(silent[at], before[at], ends[at], _NO_IDS, _NO_IDS, _NO_IDS, _NO_INTS)
        return self._close(grid, closing, self.open_size, _NO_IDS)

    def silent(self, grid: Grid) -> Flags:
        """Whether each asset has said nothing for longer than its `idle_s`, [assets]."""
        out: Flags = (self.newest_ns > NEVER) & (self.listened_ns - self.heard_ns > grid.idle_ns)
        return out

    def _step(self, grid: Grid, channel: Ids, asset: Ids, time_ns: Ints, value: Floats) -> tuple[Flags, Frames]:
        """Sort out late readings, keep the others, move the watermarks, close."""
        order, touched, starts, rank = _by_asset(asset)
        alone = len(touched) == 1
        ordered = time_ns if alone else time_ns[order]
        period, lateness, closed = grid.period_ns[touched], grid.lateness_ns[touched], self.closed[touched]
        each = (period, lateness, closed) if alone else (period[rank], lateness[rank], closed[rank])
        # The cell that each reading closes, and the running maximum up to it, per asset.
        closes = (ordered - (each[1] + 1)) // each[0]
        closes = np.maximum.accumulate(closes) if alone else running_max(closes, rank)
        cell = -(-ordered // each[0])
        is_late = cell <= each[2]
        is_late[1:] |= (cell[1:] <= closes[:-1]) & (rank[1:] == rank[:-1])
        reached = np.maximum(closed, np.maximum.reduceat(closes, starts))
        self.closed[touched] = reached
        self.newest_ns[touched] = np.maximum(self.newest_ns[touched], np.maximum.reduceat(ordered, starts))
        self.heard_ns[touched] = self.listened_ns
        kept = (~(is_late | np.isnan(value if alone else value[order]))).nonzero()[0]
        arrived = kept if alone else order[kept]
        if len(kept) > 1:
            needed = _needed(grid, channel[arrived], cell[kept], time_ns[arrived])
            kept, arrived = kept[needed], arrived[needed]
        before = self.open_size
        new = Open(
            channel[arrived], asset[arrived], cell[kept], time_ns[arrived], value[arrived], np.ones(len(kept), np.int64)
        )
        if grid.modes.all_plain:
            self._place(new)
        else:
            plain = grid.modes.is_plain[new.channel]
            others = np.flatnonzero(~plain)
            self._append(new.at(others))
            self._place(new.at(np.flatnonzero(plain)))
            arrived = arrived[others]
        late = is_late
        if not alone:
            late = np.empty_like(is_late)
            late[order] = is_late
        moved = reached > closed
        if not moved.any():
            self._thin(grid)
            return late, self._nothing(grid)
        closing = Closing(touched[moved], closed[moved], reached[moved], order, rank, touched, closes)
        return late, self._close(grid, closing, before, arrived)

    def _settle(self) -> None:
        if len(self.fresh_channel):
            self.last_cell[self.fresh_channel] = self.fresh_cell
            self.last_value[self.fresh_channel] = self.fresh_value
            self.last_time[self.fresh_channel] = self.fresh_time
            self.fresh_channel = _NO_IDS

    def _nothing(self, grid: Grid) -> Frames:
        holds = None if grid.modes.all_hold else grid.modes.holds
        last = self.last_cell, self.last_value
        return Frames(_NO_IDS, _NO_INTS, _NO_INTS, _NO_INTS, _NO_INTS, _NO_VALUES, 0, 1, *last, holds)

    def _close(self, grid: Grid, closing: Closing, known: int, arrived: Ids) -> Frames:
        """The frames of the cells that close.

        known: so many readings were open before the step; arrived: position in the step of those that follow them,
        as far as the order of arrival counts.
        """
        modes = grid.modes
        due = self._due(self.closed)
        readings = self._open(due)
        folded = fold(grid, readings, *extent(readings.cell))
        channel, asset, cell = (column[folded.last] for column in readings[:3])
        value, lasting = folded.value / folded.stands_for, None
        newest = np.ones(len(channel), bool)
        newest[:-1] = channel[1:] != channel[:-1]
        self.fresh_channel, self.fresh_cell = channel[newest], cell[newest]
        self.fresh_value, self.fresh_time = value[newest], readings.time_ns[folded.last[newest]]
        if len(modes.linear):
            read = modes.mode[channel] != Mode.LINEAR
            between = self._interpolate(grid, closing, known, arrived)
            columns = zip((channel, asset, cell, value), between, strict=True)
            channel, asset, cell, value = (np.concatenate((mine[read], more)) for mine, more in columns)
            order = np.lexsort((cell, channel))
            channel, asset, cell, value = channel[order], asset[order], cell[order], value[order]
        if not modes.all_hold:
            lasting = modes.holds[channel]
        self._take(due)
        self._thin(grid)
        rows_asset, rows_cell = self._rows(grid, closing, asset, cell, lasting)
        base, span = extent(np.concatenate((cell, rows_cell)))
        return self._nothing(grid)._replace(
            asset=rows_asset,
            cell=rows_cell,
            time_ns=rows_cell * grid.period_ns[rows_asset],
            hold=grid.hold[rows_asset],
            keys=channel * span + (cell - base),
            values=value,
            base=base,
            span=span,
        )

    def _interpolate(self, grid: Grid, closing: Closing, known: int, arrived: Ids) -> tuple[Ids, Ids, Ints, Floats]:
        modes = grid.modes
        begin, end = (np.searchsorted(modes.linear_asset, closing.asset, side) for side in ("left", "right"))
        at = spread(begin, end - begin)
        channel, asset = modes.linear[at], modes.linear_asset[at]
        has_one = self.last_cell[channel] > NEVER
        channel, asset = channel[has_one], asset[has_one]
        last = self.last_cell[channel], self.last_time[channel], self.last_value[channel]
        waiting = self._waiting()
        waiting = waiting[modes.mode[self.open_channel[waiting]] == Mode.LINEAR]
        waiting = waiting[np.isin(self.open_asset[waiting], closing.asset)]
        held = Open(channel, asset, *last, np.ones(len(channel), np.int64))
        position = np.full(self.open_size, -1)
        position[known : known + len(arrived)] = arrived
        return interpolate(grid, closing, held, self._open(waiting), position[waiting])

    def _rows(self, grid: Grid, closing: Closing, asset: Ids, cell: Ints, lasting: Flags | None) -> tuple[Ids, Ints]:
        """The (asset, cell) pairs that close and have a value: those of `asset` and `cell`, and where one is held.

        lasting: which of the values hold; None = all.
        """
        old = closing.asset[self.held[closing.asset] > NEVER]
        assets, cells = np.concatenate((asset, old)), np.concatenate((cell, self.held[old]))
        base, span = extent(cells)
        keys = assets * span + (cells - base)
        order = np.argsort(keys, kind="stable")
        starts = np.flatnonzero(begins(keys[order]))
        assets, cells = assets[order[starts]], cells[order[starts]]
        reach = cells + grid.hold[assets]
        if lasting is None or not len(starts):
            self.held[assets] = cells  # ascending: the last of each asset stays
        else:
            holds = np.logical_or.reduceat(np.append(lasting, np.ones(len(old), bool))[order], starts)
            self.held[assets[holds]] = cells[holds]
            reach = running_max(np.where(holds, reach, cells), closing.of(assets))
        following = np.full(len(cells), _LAST)
        same = assets[1:] == assets[:-1]
        following[:-1][same] = cells[1:][same]
        at = closing.of(assets)
        begin = np.maximum(cells, closing.before[at] + 1)
        end = np.minimum(np.minimum(following - 1, reach), closing.after[at])
        count = np.maximum(end - begin + 1, 0)
        return np.repeat(assets, count), spread(begin, count)


def _by_asset(asset: Ids) -> Segments:
    """`segments`, at once where all readings are of one asset."""
    n = len(asset)
    if n == 1 or (asset == asset[0]).all():
        return Segments(np.arange(n), asset[:1], np.zeros(1, np.intp), np.zeros(n, np.intp))
    return segments(asset)


def _needed(grid: Grid, channel: Ids, cell: Ints, time_ns: Ints) -> Ids:
    """Positions of the readings ([n], in order of arrival within each asset) that may count in their cell's value.

    Where the next one is of the same channel and cell and no older, it takes this one's place.
    """
    superseded = np.zeros(len(channel), bool)
    superseded[:-1] = (channel[1:] == channel[:-1]) & (cell[1:] == cell[:-1]) & (time_ns[1:] >= time_ns[:-1])
    if not grid.modes.all_hold:
        mode = grid.modes.mode[channel]
        inner = superseded.copy()  # for LINEAR the first of a cell counts as well
        inner[1:] &= superseded[:-1]
        inner[:1] = False
        superseded &= (mode == Mode.HOLD) | (mode == Mode.LAST) | (inner & (mode == Mode.LINEAR))
    return np.flatnonzero(~superseded)
