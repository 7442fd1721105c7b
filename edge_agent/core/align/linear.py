"""Interpolation between the readings around a cell's end, with what had arrived when the cell closed."""

import numpy as np

from edge_agent.core.align.grid import Closing, Floats, Grid, Ids, Ints, spread
from edge_agent.core.align.opened import Open


def interpolate(
    grid: Grid, closing: Closing, held: Open, readings: Open, arrived: Ids
) -> tuple[Ids, Ids, Ints, Floats]:
    """The values of LINEAR channels in the cells that close: (channel, asset, cell, value), sorted by the first two.

    held: per channel the last reading of the cells closed before. readings: all that were open, with their position
    in the step (arrived, -1 = before it). A pair counts if both had arrived when the cell closed and they lie at
    most `max_gap_ns` apart: of those after the cell's end the earliest in event time, of equal times the first to
    arrive. Else the reading before holds.
    """
    node = held.and_then(readings)
    arrived = np.concatenate((np.full(len(held.cell), -1), arrived))
    order = np.lexsort((node.time_ns, node.channel))
    node, arrived = node.at(order), arrived[order]
    at = closing.of(node.asset)
    before, after = closing.before[at], closing.after[at]
    period, hold = grid.period_ns[node.asset], grid.hold[node.asset]
    max_gap_ns = grid.modes.max_gap_ns[node.channel]
    # Each reading serves from its own cell to the one before that of the next reading, if it reaches so far.
    next_cell = np.full(len(order), np.iinfo(np.int64).max)
    same = node.channel[1:] == node.channel[:-1]
    next_cell[:-1][same] = node.cell[1:][same]
    begin = np.maximum(node.cell, before + 1)
    reach = np.maximum(node.cell + hold, (node.time_ns + max_gap_ns) // period)
    count = np.maximum(np.minimum(np.minimum(after, next_cell - 1), reach) - begin + 1, 0)
    left = np.repeat(np.arange(len(order)), count)
    cell = spread(begin, count)
    if not len(left):
        return node.channel[left], node.asset[left], cell, node.value[left]
    right = _first_arrived(arrived, left + 1, closing.position(node.asset[left], cell))
    near = np.minimum(right, len(order) - 1)
    gap_ns = node.time_ns[near] - node.time_ns[left]
    paired = (right < len(order)) & (node.channel[near] == node.channel[left]) & (gap_ns <= max_gap_ns[left])
    share = np.where(paired, cell * period[left] - node.time_ns[left], 0) / np.where(paired, gap_ns, 1)
    with np.errstate(over="ignore", invalid="ignore"):  # moves between values at the ends of float64
        between = node.value[left] + (node.value[near] - node.value[left]) * share
    value = np.where(paired, between, node.value[left])
    there = paired | (cell - node.cell[left] <= hold[left])
    left = left[there]
    return node.channel[left], node.asset[left], cell[there], value[there]


def _first_arrived(arrived: Ids, start: Ids, by: Ids) -> Ids:
    """The first position from `start` on whose reading had arrived by then; len(arrived): none.

    Leaps over blocks of 1, 2, 4, … whose earliest arrival comes too late: O(n log n), whatever the order.
    """
    earliest = [np.append(arrived, -1)]  # [j]: of the 2**j from each position on; behind the last all have arrived
    while 2 ** len(earliest) <= len(arrived):
        half = 2 ** (len(earliest) - 1)
        below = earliest[-1]
        earliest.append(np.minimum(below, np.append(below[half:], np.full(half, -1))))
    position = start.copy()
    for j in range(len(earliest) - 1, -1, -1):
        position += 2**j * (earliest[j][position] > by)
    return position
