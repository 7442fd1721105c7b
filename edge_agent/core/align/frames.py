"""Frames: what closed in one step, and the values of any channel at them."""

from typing import NamedTuple

import numpy as np

from edge_agent.core.align.grid import Flags, Floats, Ids, Ints

_NO_KEYS, _NO_VALUES = np.full(1, -1, np.int64), np.full(1, np.nan)


class Frames(NamedTuple):
    """Closed cells of this step, by asset and ascending within each, and what is needed to look values up.

    To be used before the next step: what was held before this one is looked up in the arrays of the stage itself.
    """

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
    holds: Flags | None = None  # [channels], whether a value holds beyond its cell; None: all do

    def lookup(self, channels: Ids, rows: Ids | None = None) -> Floats:
        """Values [rows, c] for channels [rows, c] (-1: the asset has no such channel); NaN where none holds.

        With `rows` ([r], positions of frames) only of those: channels [r, c] -> values [r, c].
        """
        cells, hold = (self.cell, self.hold) if rows is None else (self.cell[rows], self.hold[rows])
        cells = cells[:, None]
        known = channels >= 0
        channel = np.where(known, channels, 0)
        keys, values = (self.keys, self.values) if len(self.keys) else (_NO_KEYS, _NO_VALUES)
        found = np.searchsorted(keys, channel * self.span + (cells - self.base), side="right") - 1
        near = np.maximum(found, 0)
        key = keys[near]
        here = (found >= 0) & (key // self.span == channel)
        cell = np.where(here, key % self.span + self.base, self.last_cell[channel])
        value = np.where(here, values[near], self.last_value[channel])
        reach = hold[:, None] if self.holds is None else np.where(self.holds[channel], hold[:, None], 0)
        out: Floats = np.where(known & (cells - cell <= reach), value, np.nan)
        return out

    def merged(self, channel: Ids, row: Ids, value: Floats) -> "Frames":
        """With more values, each of a channel ([m]) at a frame ([m], its position); NaN is a value as well."""
        keys = np.concatenate((self.keys, channel * self.span + (self.cell[row] - self.base)))
        order = np.argsort(keys, kind="stable")
        return self._replace(keys=keys[order], values=np.concatenate((self.values, value))[order])
