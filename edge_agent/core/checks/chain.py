"""The checks in order, each on the readings that it is for."""

from typing import Any, NamedTuple

import numpy as np

from edge_agent.core.checks.clock import SenderClock
from edge_agent.core.checks.flat import Flat
from edge_agent.core.checks.marks import Qualities, mark
from edge_agent.core.checks.order import Order
from edge_agent.core.checks.quantum import Quantum
from edge_agent.core.checks.range import outside
from edge_agent.core.checks.rate import Rate
from edge_agent.core.checks.redundancy import Redundancy
from edge_agent.core.checks.rows import Flags, Floats, Ints, Rows
from edge_agent.core.checks.settings import CheckSettings
from edge_agent.core.checks.silence import Silence
from edge_agent.core.segments import Ids, Segments
from models.contract.quality import BAD_FROM, Quality


class Checked(NamedTuple):
    """What is known of n readings, in grouped order."""

    quality: Qualities  # [n]
    ascends: Flags  # [n], newer than all before on its channel: it may go to filters. Never where NaN or `is_ahead`
    is_ahead: Flags  # [n], its sender's clock is ahead: it must not move a watermark


class Checks:
    """All checks. `step` takes readings, `tick` the time that has passed."""

    def __init__(self) -> None:
        self.clock = SenderClock()
        self.order = Order()
        self.rate = Rate()
        self.flat = Flat()
        self.quantum = Quantum()
        self.redundancy = Redundancy()
        self.silence = Silence()

    def grow(self, channels: int, assets: int) -> None:
        """Make room for more channels and assets."""
        self.clock.grow(assets)
        for check in (self.order, self.rate, self.flat, self.quantum, self.redundancy, self.silence):
            check.grow(channels)

    def step(
        self,
        settings: CheckSettings,
        grouped: Segments,
        asset: Ids,
        time_ns: Ints,
        value: Floats,
        quality: Qualities,
        clock_ns: int,
    ) -> Checked:
        """Take n readings in grouped order, [n] each; asset: numbers, value: NaN = no reading. None is changed.

        clock_ns: the gateway's clock at the last tick before these readings; 0 = unknown.
        """
        n = len(value)
        checked = Checked(quality.copy(), np.zeros(n, bool), np.zeros(n, bool))
        rows = Rows.grouped_as(grouped, time_ns, value, np.arange(n)).where(~np.isnan(value))
        if not len(rows.at):
            return checked
        with np.errstate(over="ignore", invalid="ignore"):  # moves between values at the ends of float64
            rows = self._alone(settings, rows, asset, clock_ns, checked)
            if len(rows.at):
                ascends = self.order.step(rows)
                checked.ascends[rows.at] = ascends
                if not ascends.all():
                    mark(checked.quality, rows.at[~ascends], Quality.UNCERTAIN_ORDER)
                rows = rows.where(ascends & (checked.quality[rows.at] < BAD_FROM))
            if len(rows.at):
                self._neighbours(settings, grouped, rows, checked.quality)
        return checked

    def _alone(self, settings: CheckSettings, rows: Rows, asset: Ids, clock_ns: int, checked: Checked) -> Rows:
        """The checks that ask for no neighbours; returns the rows that are not ahead of time."""
        marked = checked.quality
        if limited := rows.of(settings.has_range):
            mark(marked, limited.at[outside(limited, settings.low, settings.high)], Quality.BAD_RANGE)
        if limited := rows.of(settings.has_operating_range):
            found = outside(limited, settings.operating_low, settings.operating_high)
            mark(marked, limited.at[found], Quality.UNCERTAIN_OPERATING)
        if spoken := rows.of(settings.has_no_data):
            self.silence.step(spoken, marked[spoken.at] < BAD_FROM)
        # A time of arrival is the gateway's own.
        timed = rows.where(marked[rows.at] != Quality.UNCERTAIN_ARRIVAL_TIME).of(settings.has_clock)
        if timed is None or not clock_ns:
            return rows
        told = self.clock.step(
            timed, asset[timed.at[timed.grouped.starts]], settings.max_skew_ns, settings.max_delay_ns, clock_ns
        )
        mark(marked, timed.at[told.off], Quality.UNCERTAIN_CLOCK)
        mark(marked, timed.at[told.jumped], Quality.UNCERTAIN_CLOCK_JUMP)
        if not len(told.is_ahead):
            return rows
        checked.is_ahead[timed.at[told.is_ahead]] = True
        return rows.where(~checked.is_ahead[rows.at])

    def _neighbours(self, settings: CheckSettings, grouped: Segments, rows: Rows, marked: Qualities) -> None:
        """The checks that hold a reading against those before it; rows ascend in time and are not bad."""
        if mine := rows.of(settings.has_rate):
            mark(marked, mine.at[self.rate.step(mine, settings.max_rate_per_s)], Quality.UNCERTAIN_RATE)
        if mine := rows.of(settings.has_flat):
            found = self.flat.step(mine, settings.flat_ns, settings.flat_band)
            mark(marked, mine.at[found], Quality.UNCERTAIN_FLAT)
        if mine := rows.of(settings.has_quantum):
            mark(marked, mine.at[self.quantum.step(mine, settings.quantum_factor)], Quality.UNCERTAIN_QUANTUM)
        if mine := rows.of(settings.has_group):
            found = self.redundancy.step(mine, grouped.order[mine.at], settings)
            mark(marked, mine.at[found], Quality.UNCERTAIN_DISAGREES)

    def tick(self, settings: CheckSettings, clock_ns: int, listened_ns: int) -> Ids:
        """The gateway's clock (0 = unknown) and the listening clock have come this far.

        Returns the channels [m] that have fallen silent, ascending; each once until it speaks again.
        """
        silent = self.silence.tick(settings.has_no_data, settings.no_data_factor, listened_ns)
        jumped = self.clock.tick(settings.asset_skew_ns, settings.asset_delay_ns, clock_ns)
        if len(jumped):
            channels = np.isin(settings.asset_of, jumped)
            for check in (self.order, self.rate, self.flat, self.redundancy, self.silence):
                check.forget(channels)
        return silent

    def last(self, channels: Ids) -> tuple[Ints, Floats]:
        """For the rows of silent channels: the event time that it must be now, and the last usable value, [m] each."""
        silence = self.silence
        return silence.newest_ns[channels] + silence.listened_ns - silence.heard_ns[channels], silence.value[channels]

    def snapshot(self) -> dict[str, dict[str, Any]]:
        """The state by check: views, not copies."""
        return {name: vars(check) for name, check in vars(self).items()}

    def restore(self, state: dict[str, dict[str, Any]]) -> None:
        """Go on from a snapshot; a check that it does not know begins anew."""
        for name, saved in state.items():
            vars(getattr(self, name)).update(saved)
