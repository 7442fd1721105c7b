"""What of the readings goes to the results: all of them, or what the channel's `report` lets through."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.core.catalogue import Catalogue
from edge_agent.core.cleaning import Cleaned
from edge_agent.core.denoise.reporting import ReportRows
from edge_agent.core.denoise.reports import Reports
from edge_agent.core.readings import ChannelKey
from edge_agent.core.results import Results
from edge_agent.core.rows import Rows
from edge_agent.core.segments import segments


class Reporting:
    """Costs nothing where no channel is reported in part."""

    def __init__(self) -> None:
        self._reports = Reports()

    def settle(self, catalogue: Catalogue, results: Results) -> None:
        """Channels are new, or their settings are; what was kept back for those that changed is reported now."""
        _add(catalogue.channels, self._reports.settle(catalogue.reports), results)

    def step(
        self,
        channels: Sequence[ChannelKey],
        cleaned: Cleaned,
        ids: NDArray[np.intp],
        rows: Rows,
        results: Results,
    ) -> None:
        """Report n readings in order of arrival ([n] each); `cleaned` has their grouping."""
        time_ns = rows.time_ns + rows.shift_ns
        if not self._reports.is_used:
            results.add_readings(channels, ids, time_ns, rows.value, rows.denoised, rows.quality)
            return
        found = ReportRows(ids, time_ns, rows.value, rows.denoised, rows.quality).take(cleaned.grouped.order)
        _add(channels, self._reports.step(cleaned.grouped, found), results)

    def tell(self, channels: Sequence[ChannelKey], ids: NDArray[np.intp], rows: Rows, results: Results) -> None:
        """Report n rows of as many channels, ascending, that have no denoised value: all of them, and what comes next.

        So that the last thing said of a channel is never that nothing comes, when something does.
        """
        found = ReportRows(ids, rows.time_ns, rows.value, rows.denoised, rows.quality)
        _add(channels, self._reports.step(segments(ids), found) if self._reports.is_used else found, results)

    def flush(self, channels: Sequence[ChannelKey], is_silent: NDArray[np.bool_], results: Results) -> None:
        """Report what is kept back for silent channels ([channels])."""
        if self._reports.is_used:
            _add(channels, self._reports.flush(np.flatnonzero(is_silent)), results)

    def snapshot(self) -> list[Any]:
        """The state: not a copy."""
        return self._reports.snapshot()

    def restore(self, saved: list[Any]) -> None:
        """The reverse, after `settle`."""
        self._reports.restore(saved)


def _add(channels: Sequence[ChannelKey], rows: ReportRows, results: Results) -> None:
    if len(rows.channel):
        results.add_readings(channels, rows.channel, rows.time_ns, rows.value, rows.denoised, rows.quality)
