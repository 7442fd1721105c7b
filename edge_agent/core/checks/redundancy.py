"""Disagreement: a reading too far from the sensors declared to measure the same. UNCERTAIN_DISAGREES.

Each reading, in order of arrival, is held against the last usable value of each member of its group, its own
included, as far as they are not older than the asset's `hold_s` (in event time):

    three or more   marked when it is more than `max_difference` off their median: the one that is off
    two             marked when they are more than that apart: both, as they come, for nobody knows which is right
    one             nothing is said

Others' values are up to an interval old: `max_difference` must leave room for what the quantity moves in that time.
No warm-up. Source: majority voting of redundant sensors, IEC 61511 (2oo3) with the median as mid-value select.
"""

import numpy as np

from edge_agent.core.checks.rows import Flags, Floats, LastReading, Rows
from edge_agent.core.checks.settings import CheckSettings
from edge_agent.core.segments import Ids, segments


class Redundancy(LastReading):
    """State per channel: time and value of the last usable reading."""

    def step(self, rows: Rows, arrival: Ids, settings: CheckSettings) -> Ids:
        """Take m usable readings of members of groups; arrival: [m], ascends with the order of arrival."""
        channel = rows.series[rows.grouped.rank]
        order = np.argsort(settings.group[channel] * (arrival.max() + 1) + arrival)
        channel, time_ns, value = channel[order], rows.time_ns[order], rows.value[order]
        grouped = segments(settings.group[channel])
        members = settings.members[grouped.series]  # [groups touched, width]
        start, rank = grouped.starts[grouped.rank], grouped.rank
        held = np.full((len(order), members.shape[1]), np.nan)
        hold_ns = settings.hold_ns[grouped.series][rank]
        for place, member in enumerate(members.T):
            own = np.maximum.accumulate(np.where(channel == member[rank], np.arange(len(order)), -1))
            is_here = own >= start
            time = np.where(is_here, time_ns[own], self.time_ns[member][rank])
            last = np.where(is_here, value[own], self.value[member][rank])
            held[:, place] = np.where((member[rank] >= 0) & (time_ns - time <= hold_ns), last, np.nan)
        self.time_ns[rows.series], self.value[rows.series] = rows.time_ns[rows.ends], rows.value[rows.ends]
        limit = settings.max_difference[grouped.series][rank]
        return np.sort(order[_is_off(value, held, limit)])


def _is_off(value: Floats, held: Floats, limit: Floats) -> Flags:
    """Of values [m] among those of their groups [m, width], NaN where none is held."""
    ordered = np.sort(held, axis=1)  # NaN last
    count = np.sum(~np.isnan(held), axis=1)
    at = np.arange(len(held))
    low, high = ordered[at, (count - 1) // 2], ordered[at, count // 2]
    apart = np.abs(value - (low + high) / 2)
    out: Flags = (count > 1) & (np.where(count == 2, high - low, apart) > limit)
    return out
