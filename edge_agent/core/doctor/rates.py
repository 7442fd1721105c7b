"""How often things come: messages by their arrival, the samples of blocks by their own times."""

import math
from collections.abc import Iterable

import numpy as np

from edge_agent.core.doctor.heard import Log
from edge_agent.core.doctor.trial import ChannelLog

_SHORTEST_S, _LONGEST_S = 0.001, 3600.0


def interval_s(log: Log, topics: Iterable[str]) -> float | None:
    """The median time between two messages of a topic, s; of several topics, the median of theirs. None: unknown."""
    medians = [np.median(found) for topic in topics if (found := log.topics[topic].intervals_ns)]
    return float(np.median(medians)) / 1e9 if medians else None


def channel_period_s(log: Log, channel: ChannelLog) -> float | None:
    """From one reading to the next, s; None: it came once. Of a channel on several topics, the fastest."""
    if channel.is_block and len(channel.times_ns) > 1:
        return float(np.median(np.diff(channel.times_ns))) / 1e9
    medians = [np.median(log.topics[topic].intervals_ns) for topic in channel.topics if log.topics[topic].intervals_ns]
    if not medians or not channel.count:
        return None
    return float(min(medians)) / 1e9 * channel.messages / channel.count


def pace(period_s: float | None) -> str:
    """As people say it: `every 5 s`, `20 Hz`; empty: unknown."""
    if period_s is None or period_s <= 0:
        return ""
    return f"every {period_s:.3g} s" if period_s >= 1 else f"{1 / period_s:.3g} Hz"


def nice(period_s: float) -> float:
    """The nearest of … 0.1, 0.2, 0.5, 1, 2, 5 …, within what a grid may have."""
    if not period_s > _SHORTEST_S:
        return _SHORTEST_S
    exponent = math.floor(math.log10(period_s))
    near = min((factor * 10.0**exponent for factor in (1, 2, 5, 10)), key=lambda one: abs(math.log(one / period_s)))
    return float(f"{min(near, _LONGEST_S):.3g}")
