"""The readings of cells that are still open, in order of arrival within each channel."""

from typing import NamedTuple

import numpy as np

from edge_agent.core.align.grid import Flags, Floats, Grid, Ids, Ints, Mode, extent

_COLUMNS = ("open_channel", "open_asset", "open_cell", "open_time", "open_value", "open_stands_for")
_CROWD = 1024
SLOTS = 4  # a channel: cells that are open at the same time, as a rule
_GONE = np.iinfo(np.int64).max  # the cell of a reading that has been taken


class Open(NamedTuple):
    """m readings. A reading may stand for several of its cell: `value` is then their sum, extreme or last."""

    channel: Ids
    asset: Ids
    cell: Ints
    time_ns: Ints
    value: Floats
    stands_for: Ints

    def at(self, positions: Ids) -> "Open":
        """Some of them."""
        channel, asset, cell, time_ns, value, stands_for = self
        return Open(
            channel[positions],
            asset[positions],
            cell[positions],
            time_ns[positions],
            value[positions],
            stands_for[positions],
        )

    def and_then(self, more: "Open") -> "Open":
        """These, then those."""
        return Open(
            np.concatenate((self.channel, more.channel)),
            np.concatenate((self.asset, more.asset)),
            np.concatenate((self.cell, more.cell)),
            np.concatenate((self.time_ns, more.time_ns)),
            np.concatenate((self.value, more.value)),
            np.concatenate((self.stands_for, more.stands_for)),
        )


class Folded(NamedTuple):
    """One entry for each channel and cell there is, sorted by these."""

    keys: Ints  # [g], channel * span + (cell - base)
    first: Ids  # [g], of its readings, in event time; of equal times the first to arrive
    last: Ids  # [g], of equal times the last to arrive
    value: Floats  # [g]; of a MEAN the sum
    stands_for: Ints  # [g], readings in the sum of a MEAN, else 1


class OpenReadings:
    """State: the columns, with room behind the last one; taken ones stay in place until there are many."""

    def __init__(self) -> None:
        self.open_channel: Ids = np.zeros(_CROWD, np.intp)
        self.open_asset: Ids = np.zeros(_CROWD, np.intp)
        self.open_cell: Ints = np.full(_CROWD, _GONE)
        self.open_time: Ints = np.zeros(_CROWD, np.int64)
        self.open_value: Floats = np.zeros(_CROWD)
        self.open_stands_for: Ints = np.zeros(_CROWD, np.int64)
        self.open_size = 0
        # Where the reading of a cell may be found: a hint, right if channel and cell are the same there.
        self.slots: Ids = np.empty(0, np.intp)  # [channels * SLOTS]
        self.crowd = _CROWD  # at so many, taken ones included, there is a clearance
        self.fold_at = _CROWD  # at so many that wait each cell is folded as well

    def _append(self, more: Open) -> None:
        begin, end = self.open_size, self.open_size + len(more.cell)
        room = len(self.open_cell)
        for name, added in zip(_COLUMNS, more, strict=True):
            if end > room:
                column = getattr(self, name)
                fill = _GONE if name == "open_cell" else 0
                setattr(self, name, np.concatenate((column, np.full(2 * end - room + _CROWD, fill, column.dtype))))
            getattr(self, name)[begin:end] = added
        self.open_size = end

    def _place(self, more: Open) -> None:
        """As `_append`, of channels of which only the last reading of a cell counts: it takes the older one's place.

        No sorting. Where a slot is taken by another cell the reading is appended, and `fold` sees to it.
        """
        if len(more.cell) == 1:
            self._place_one(more)
            return
        slot = more.channel * SLOTS + more.cell % SLOTS
        entry = self.slots[slot]
        is_there = self._is_at(entry, more)
        new = np.flatnonzero(~is_there)
        if len(new):
            is_free = (self.open_cell[entry[new]] == _GONE) | (self.open_channel[entry[new]] != more.channel[new])
            claims = new[is_free]
            self.slots[slot[claims]] = claims
            won = claims[self.slots[slot[claims]] == claims]  # of several that want the slot the last one
            self.slots[slot[won]] = self.open_size + np.arange(len(won))
            if len(won) == len(slot):  # each is the first of its cell: the usual case where cells are short
                self._append(more)
                return
            self._append(more.at(won))
            entry = self.slots[slot]
            is_there = self._is_at(entry, more)
            if not is_there.all():
                self._append(more.at(np.flatnonzero(~is_there)))
        newer = np.flatnonzero(is_there & (more.time_ns >= self.open_time[entry]))
        entry, time_ns = entry[newer], more.time_ns[newer]
        self.open_time[entry] = time_ns
        if (self.open_time[entry] < time_ns).any():
            # Several of a cell: the newest is to be written last.
            order = np.argsort(time_ns, kind="stable")
            newer, entry, time_ns = newer[order], entry[order], time_ns[order]
            self.open_time[entry] = time_ns
        self.open_value[entry] = more.value[newer]

    def _place_one(self, more: Open) -> None:
        """The same for a single one, without the price of arrays."""
        channel, cell, time_ns = int(more.channel[0]), int(more.cell[0]), int(more.time_ns[0])
        slot = channel * SLOTS + cell % SLOTS
        entry = int(self.slots[slot])
        is_mine = self.open_channel[entry] == channel
        if not is_mine or self.open_cell[entry] != cell:
            if not is_mine or self.open_cell[entry] == _GONE:
                self.slots[slot] = self.open_size
            self._append(more)
        elif time_ns >= self.open_time[entry]:
            self.open_time[entry], self.open_value[entry] = time_ns, more.value[0]

    def _is_at(self, entry: Ids, readings: Open) -> Flags:
        out: Flags = (self.open_cell[entry] == readings.cell) & (self.open_channel[entry] == readings.channel)
        return out

    def _open(self, at: Ids) -> Open:
        return Open(
            self.open_channel, self.open_asset, self.open_cell, self.open_time, self.open_value, self.open_stands_for
        ).at(at)

    def _due(self, closed: Ints) -> Ids:
        """Those whose cell has been closed. closed: last closed cell [assets]."""
        size = self.open_size
        return np.flatnonzero(self.open_cell[:size] <= closed[self.open_asset[:size]])

    def _waiting(self) -> Ids:
        return np.flatnonzero(self.open_cell[: self.open_size] != _GONE)

    def _take(self, at: Ids) -> None:
        self.open_cell[at] = _GONE

    def _thin(self, grid: Grid) -> None:
        """Leave of each open cell what its value needs: a clock that stands still must not pile readings up.

        Each of the two parts waits until numbers have multiplied, for it goes through them all.
        """
        if self.open_size < self.crowd:
            return
        kept = self._open(self._waiting())
        if len(kept.cell) >= self.fold_at:
            kept = _thinned(grid, kept)
            self.fold_at = 2 * len(kept.cell) + _CROWD
        self._keep(kept)

    def thin(self, grid: Grid) -> None:
        """The same at once: to be done before modes change.

        How many readings still stand for a cell depends on how they were cut: under another mode that would show.
        """
        kept = self._open(self._waiting())
        if len(kept.cell):
            self._keep(_thinned(grid, kept))

    def _keep(self, kept: Open) -> None:
        self.open_cell[len(kept.cell) : self.open_size] = _GONE
        self.open_size = len(kept.cell)
        for name, column in zip(_COLUMNS, kept, strict=True):
            getattr(self, name)[: self.open_size] = column
        self.slots[kept.channel * SLOTS + kept.cell % SLOTS] = np.arange(self.open_size)
        self.crowd = 3 * self.open_size + _CROWD


def _thinned(grid: Grid, readings: Open) -> Open:
    """What may still count of each cell."""
    folded = fold(grid, readings, *extent(readings.cell))
    readings.value[folded.last], readings.stands_for[folded.last] = folded.value, folded.stands_for
    needed = folded.last
    if len(grid.modes.linear):
        between = grid.modes.mode[readings.channel[folded.first]] == Mode.LINEAR
        needed = np.union1d(needed, folded.first[between])
    return readings.at(np.sort(needed))


def fold(grid: Grid, readings: Open, base: int, span: int) -> Folded:
    """All readings of a channel within a cell as one.

    A sum is taken in order of arrival, one by one, so that neither cuts nor thinning show in its last bit.
    """
    keys = readings.channel * span + (readings.cell - base)
    order = np.argsort(keys, kind="stable")
    ordered, time_ns = keys[order], readings.time_ns[order]
    begins, final = np.ones((2, len(keys)), bool)
    begins[1:] = final[:-1] = ordered[1:] != ordered[:-1]
    if ((time_ns[1:] < time_ns[:-1]) & ~begins[1:]).any():
        order = np.lexsort((readings.time_ns, keys))
    first, last = order[begins], order[final]
    value, count = readings.value[last] / readings.stands_for[last], np.ones(len(last), np.int64)
    modes = grid.modes
    if modes.any_fold:
        mode, starts = modes.mode[readings.channel[last]], np.flatnonzero(begins)
        among = readings.value[order]
        value = np.where(mode == Mode.MAX, np.maximum.reduceat(among, starts), value)
        value = np.where(mode == Mode.MIN, np.minimum.reduceat(among, starts), value)
        group = np.empty(len(order), np.intp)
        group[order] = np.cumsum(begins) - 1
        is_mean = mode == Mode.MEAN
        value = np.where(is_mean, np.bincount(group, readings.value, len(last)), value)
        total = np.bincount(group, readings.stands_for, len(last)).astype(np.int64)
        count = np.where(is_mean, total, count)
    return Folded(ordered[final], first, last, value, count)
