"""Which readings are reported, all channels at once: a reporter a channel, and what no reporter may keep back.

Always reported: a channel's first reading; a bad one (or one whose denoised value is no number); one whose quality is
not that of the reading before; one whose time does not ascend, which is passed on as it is and changes nothing else.

Invariant: what is reported of a channel, and in which order, depends on its readings (and on `flush` and `settle`),
never on how they were cut into batches.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.core.denoise import REPORTERS, AnyReportSettings
from edge_agent.core.denoise.reporting import Mark, ReportRows
from edge_agent.core.denoise.runs import Flags, Ids, Ints, by_identity
from edge_agent.core.segments import Segments, ascending, begins, grown, lasts_of, preceding
from models.contract.quality import BAD_FROM

_NEVER = np.iinfo(np.int64).min
_NO_QUALITY = -1
_UNUSABLE = 256  # as if it were a quality


class Reports:
    """All channels' reporters. `settle` says which; it must be called when channels are new."""

    def __init__(self) -> None:
        self._stages: list[_Stage] = []
        self._at: Ids = np.empty(0, np.intp)  # [channels], its stage, -1 = none: everything is reported
        self._settings: Sequence[AnyReportSettings | None] = ()

    @property
    def is_used(self) -> bool:
        """Whether any channel is reported in part."""
        return bool(self._stages)

    def settle(self, settings: Sequence[AnyReportSettings | None]) -> ReportRows:
        """The setting of each channel, [channels]. Channels whose setting stays go on as before.

        The very list of the last call, grown at its end since: only what is new of it is looked at. Returns what was
        kept back for channels whose setting changes: to be reported now.
        """
        before: list[_Stage] = []
        if settings is not self._settings:
            before, self._settings, self._stages, self._at = self._stages, settings, [], self._at[:0]
        known, former = len(self._at), {stage.settings: stage for stage in before}
        distinct, which = by_identity(settings[known:])
        numbers = {stage.settings: number for number, stage in enumerate(self._stages)}
        stage_of = [-1 if one is None else numbers.setdefault(one, len(numbers)) for one in distinct]
        self._stages += [former.get(one) or _Stage(one) for one in list(numbers)[len(self._stages) :]]
        at = np.array(stage_of, np.intp)[which]
        self._at = grown(self._at, len(settings), -1)
        self._at[known:] = at
        released = [stage.release(known + np.flatnonzero(at == numbers.get(stage.settings, -2))) for stage in before]
        for number in np.unique(at[at >= 0]).tolist():
            self._stages[number].admit(known + np.flatnonzero(at == number))
        return _by_channel(released)

    def step(self, grouped: Segments, rows: ReportRows) -> ReportRows:
        """What to report of m readings in grouped order, and of those kept back before; channel after channel."""
        stages = self._at[grouped.series]
        ends = lasts_of(grouped.starts, len(grouped.rank)) + 1
        parts = []
        for number in np.unique(stages).tolist():
            here = stages == number
            if here.all():
                mine, starts, rank = rows, grouped.starts, grouped.rank
            else:
                sizes = (ends - grouped.starts)[here]
                starts, rank = np.cumsum(sizes) - sizes, np.repeat(np.arange(len(sizes)), sizes)
                mine = rows.take(here[grouped.rank])
            parts.append(mine if number < 0 else self._stages[number].step(grouped.series[here], starts, rank, mine))
        return _by_channel(parts)

    def flush(self, channels: Ids) -> ReportRows:
        """What is kept back for these channels (each once), to be reported now: for channels that have gone silent."""
        return _by_channel([stage.flush(channels) for stage in self._stages])

    def snapshot(self) -> list[Any]:
        """The state as plain values and arrays."""
        return [stage.snapshot() for stage in self._stages]

    def restore(self, saved: list[Any]) -> None:
        """The reverse; `settle` must have been called with the settings of the snapshot."""
        for stage, state in zip(self._stages, saved, strict=True):
            stage.restore(state)


class _Stage:
    """One reporter, its channels' slots, and what is known of the last reading of each."""

    def __init__(self, settings: AnyReportSettings) -> None:
        self.settings = settings
        self._reporter = REPORTERS[settings.filter](settings)
        self._slot: Ids = np.empty(0, np.intp)  # [channels], -1 = none
        self._newest_ns: Ints = np.empty(0, np.int64)  # [slots]
        self._quality: NDArray[np.int16] = np.empty(0, np.int16)  # [slots]

    def admit(self, channels: Ids) -> None:
        """These, ascending, are reported here as well; those that were keep their slots."""
        self._slot = grown(self._slot, int(channels[-1]) + 1, -1)
        fresh = channels[self._slot[channels] < 0]
        slots = len(self._newest_ns) + len(fresh)
        self._slot[fresh] = np.arange(len(self._newest_ns), slots)
        self._newest_ns = grown(self._newest_ns, slots, _NEVER)
        self._quality = grown(self._quality, slots, _NO_QUALITY)
        self._reporter.grow(slots)

    def release(self, kept: Ids) -> ReportRows:
        """No others than these are reported here any more; returns what was kept back for the others."""
        slot = np.full(len(self._slot), -1, np.intp)
        kept = kept[kept < len(slot)]
        slot[kept] = self._slot[kept]
        released = self._reporter.flush(self._slot[(self._slot >= 0) & (slot < 0)])
        self._slot = slot
        return released

    def step(self, channels: Ids, starts: Ids, rank: Ids, rows: ReportRows) -> ReportRows:
        """See `Reports.step`; channels: [k], starts: [k], rank: [m]."""
        slot = self._slot[channels]
        ends = lasts_of(starts, len(rank)) + 1
        is_aside = ~ascending(rows.time_ns, starts, rank, self._newest_ns[slot])
        self._newest_ns[slot] = np.maximum(self._newest_ns[slot], np.maximum.reduceat(rows.time_ns, starts))
        marks = np.full(len(rank), Mark.ASIDE, np.int8)
        fresh = np.flatnonzero(~is_aside)
        if len(fresh):
            marks[fresh] = self._judge(slot, rank[fresh], rows.take(fresh))
        return self._reporter.step(slot, ends, rows, marks.tolist())

    def _judge(self, slot: Ids, rank: Ids, rows: ReportRows) -> Flags:
        """Whether readings of ascending times must be reported, [m]; brings the last quality up to date."""
        usable = np.isfinite(rows.denoised) & (rows.quality < BAD_FROM)
        quality = rows.quality.astype(np.int16)
        quality[~usable] = _UNUSABLE
        starts = np.flatnonzero(begins(rank))
        mine = slot[rank[starts]]
        before = preceding(quality, starts, self._quality[mine])
        self._quality[mine] = quality[lasts_of(starts, len(rank))]
        out: Flags = ~usable | (quality != before)
        return out

    def flush(self, channels: Ids) -> ReportRows:
        """See `Reports.flush`."""
        slot = self._slot[channels[channels < len(self._slot)]]
        return self._reporter.flush(slot[slot >= 0])

    def snapshot(self) -> dict[str, Any]:
        state = {name: value for name, value in vars(self._reporter).items() if not name.startswith("_")}
        return {"slot": self._slot, "newest_ns": self._newest_ns, "quality": self._quality, "reporter": state}

    def restore(self, saved: dict[str, Any]) -> None:
        self._slot, self._newest_ns, self._quality = saved["slot"], saved["newest_ns"], saved["quality"]
        vars(self._reporter).update(saved["reporter"])


def _by_channel(parts: list[ReportRows]) -> ReportRows:
    parts = [part for part in parts if len(part.channel)]
    if not parts:
        return ReportRows.none()
    rows = ReportRows.joined(parts)
    return rows if len(parts) == 1 else rows.take(np.argsort(rows.channel, kind="stable"))
