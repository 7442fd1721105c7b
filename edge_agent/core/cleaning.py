"""What is done channel by channel before the alignment.

    readings ─▶ repeats ─▶ checks ─▶ filters ─▶ rows with quality and denoised value

A reading without a value (NaN) says that its source is gone: it becomes a row that repeats the channel's last value
with its mark, and no stage takes it for a reading.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_agent.core.catalogue import Catalogue
from edge_agent.core.checks import Checks
from edge_agent.core.checks.marks import mark, usable
from edge_agent.core.denoise.chain import Chains
from edge_agent.core.repeats import DEPTH, Repeats
from edge_agent.core.rows import Rows
from edge_agent.core.segments import Segments, kept
from models.contract.quality import BAD_FROM, Quality

Ids = NDArray[np.intp]
Flags = NDArray[np.bool_]

# Rows that are no reading of the sensor's stand this far behind their time, in ns: where no reading that states that
# time, once more and otherwise (see repeats.py), can take their place.
_MARKER_NS, _SILENCE_NS = DEPTH + 1, DEPTH + 2


class Cleaned(NamedTuple):
    """What is left of a step's readings, [n] in grouped order."""

    grouped: Segments  # whose `order` is the place of each in the order of arrival
    rows: Rows
    is_aside: Flags  # [n], must neither move a watermark nor stand in a frame
    repeated: int  # readings that were there before and are left out


class Cleaning:
    """Repeats, checks and filters of all channels."""

    def __init__(self) -> None:
        self._repeats = Repeats()
        self._checks = Checks()
        self._chains = Chains()
        self._clock_ns = 0  # the gateway's, at the last tick

    def grow(self, catalogue: Catalogue) -> None:
        """Channels are new, or their settings are."""
        self._repeats.grow(len(catalogue.channels))
        self._checks.grow(len(catalogue.channels), len(catalogue.assets))
        self._chains.settle(catalogue.chains)

    def step(self, catalogue: Catalogue, grouped: Segments, rows: Rows) -> Cleaned:
        """Take n readings, in grouped order; their `denoised` is not looked at."""
        last = self._repeats.last(grouped.series)
        is_marker = np.isnan(rows.value)
        is_repeated, conflicts = self._look_for_repeats(grouped, rows, is_marker)
        repeated = int(is_repeated.sum())
        if conflicts.any():
            quality = rows.quality.copy()
            mark(quality, (conflicts > 0) & ~is_marker, Quality.UNCERTAIN_CONFLICT)
            rows = rows._replace(quality=quality, shift_ns=conflicts)
        value = rows.value
        if is_marker.any():
            rows = rows._replace(value=_filled(grouped, value, is_marker, last))
            # One that has nothing to repeat tells nothing.
            is_repeated = is_repeated | np.isnan(rows.value)
        if is_repeated.any():
            fresh = ~is_repeated
            grouped = kept(grouped, fresh)._replace(order=_places(grouped.order, fresh))
            rows, value, is_marker = rows.at(fresh), value[fresh], is_marker[fresh]
        return self._checked(catalogue, grouped, rows, value, is_marker)._replace(repeated=repeated)

    def _look_for_repeats(self, grouped: Segments, rows: Rows, is_marker: Flags) -> tuple[Flags, NDArray[np.int64]]:
        if not is_marker.any():
            return self._repeats.step(grouped, rows.time_ns, rows.value)
        is_repeated, conflicts = np.zeros(len(is_marker), bool), np.full(len(is_marker), _MARKER_NS)
        real = ~is_marker
        found = self._repeats.step(kept(grouped, real), rows.time_ns[real], rows.value[real])
        is_repeated[real], conflicts[real] = found
        return is_repeated, conflicts

    def _checked(
        self, catalogue: Catalogue, grouped: Segments, rows: Rows, value: NDArray[np.float64], is_marker: Flags
    ) -> Cleaned:
        """`value`: as it came, NaN for markers."""
        asset = catalogue.asset_of[grouped.series][grouped.rank]
        checked = self._checks.step(catalogue.checks, grouped, asset, rows.time_ns, value, rows.quality, self._clock_ns)
        denoised, quality = value, checked.quality
        filtered = (quality < BAD_FROM) & checked.ascends
        if filtered.all():
            denoised, is_spike = self._chains.step(grouped, rows.time_ns, value)
        else:
            denoised, is_spike = usable(value, quality), np.zeros(len(value), bool)
            found = self._chains.step(kept(grouped, filtered), rows.time_ns[filtered], value[filtered])
            denoised[filtered], is_spike[filtered] = found
        if is_spike.any():
            mark(quality, is_spike, Quality.UNCERTAIN_SPIKE)
        rows = rows._replace(denoised=denoised, quality=quality)
        return Cleaned(grouped, rows, checked.is_ahead | is_marker, 0)

    def tick(self, catalogue: Catalogue, clock_ns: int, listened_ns: int) -> tuple[Ids, Rows]:
        """Time has passed. Returns the channels that have fallen silent, and a row for each: its last value, marked."""
        self._clock_ns = clock_ns
        channels = self._checks.tick(catalogue.checks, clock_ns, listened_ns)
        time_ns, value = self._checks.last(channels)
        there = np.isfinite(value)
        channels, time_ns, value = channels[there], time_ns[there], value[there]
        rows = Rows.of(time_ns + _SILENCE_NS, value, np.full(len(channels), Quality.UNCERTAIN_NO_DATA, np.uint8))
        return channels, rows._replace(denoised=np.full(len(channels), np.nan))

    def snapshot(self) -> dict[str, Any]:
        """The state: not a copy."""
        return {
            "repeats": vars(self._repeats),
            "checks": self._checks.snapshot(),
            "chains": self._chains.snapshot(),
            "clock_ns": self._clock_ns,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a snapshot, after `grow`."""
        vars(self._repeats).update(state["repeats"])
        self._checks.restore(state["checks"])
        self._chains.restore(state["chains"])
        self._clock_ns = state["clock_ns"]


def _filled(
    grouped: Segments, value: NDArray[np.float64], is_marker: Flags, last: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Markers get the value before them on their channel; last: [k], before this step, NaN = none."""
    at = np.maximum.accumulate(np.where(is_marker, -1, np.arange(len(value))))
    within = at >= grouped.starts[grouped.rank]
    out: NDArray[np.float64] = np.where(within, value[np.maximum(at, 0)], last[grouped.rank])
    return out


def _places(place: Ids, fresh: Flags) -> Ids:
    """The places in the order of arrival of what is left."""
    arrived = np.zeros(len(place), bool)
    arrived[place[fresh]] = True
    out: Ids = (np.cumsum(arrived) - 1)[place[fresh]]
    return out
