"""Chains of filters, a chain a channel, all channels at once.

    readings ─▶ usable, in order ─▶ first filters ─▶ second filters ─▶ … ─▶ denoised, spikes

A stage is one filter with one setting at one place of the chains; the channels whose chains have it there share its
arrays. Here is decided what no filter needs to know: which channels have it, and where a gap makes it begin anew.

Invariant: results depend on the readings before, never on how they were cut into batches.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from edge_agent.core.denoise import FILTERS, AnyFilterSettings
from edge_agent.core.denoise.runs import Flags, Floats, Ids, Ints, Runs, by_identity
from edge_agent.core.segments import Segments, grown, lasts_of, preceding

_NEVER = np.iinfo(np.int64).min // 4
_NO_GAP_NS = np.iinfo(np.int64).max
_LARGEST = 1e100


class Chains:
    """All channels' filters. `settle` says which; it must be called when channels are new."""

    def __init__(self) -> None:
        self._stages: list[list[_Stage]] = []  # by place in the chain
        self._at: list[Ids] = []  # by place: which of its stages each channel has, -1 = none
        self._chains: Sequence[Sequence[AnyFilterSettings]] = ()
        self._known = 0  # channels

    def settle(self, chains: Sequence[Sequence[AnyFilterSettings]]) -> None:
        """The chain of each channel, [channels]. Filters that stay keep what they remember.

        The very list of the last call, grown at its end since: only what is new of it is looked at. Channels of one
        rule share one chain, the same object: settings are compared once a chain, not once a channel.
        """
        before: dict[tuple[int, AnyFilterSettings], _Stage] = {}
        if chains is not self._chains:
            before = {(stage.place, stage.settings): stage for stages in self._stages for stage in stages}
            self._chains, self._stages, self._at, self._known = chains, [], [], 0
        known, self._known = self._known, len(chains)
        distinct, which = by_identity(chains[known:])
        for place in range(max(map(len, distinct), default=0)):
            if place == len(self._stages):
                self._stages.append([])
                self._at.append(np.empty(0, np.intp))
            stages = self._stages[place]
            numbers = {stage.settings: number for number, stage in enumerate(stages)}
            at_place = [chain[place] if place < len(chain) else None for chain in distinct]
            stage_of = [-1 if one is None else numbers.setdefault(one, len(numbers)) for one in at_place]
            stages += [before.get((place, one)) or _Stage(place, one) for one in list(numbers)[len(stages) :]]
            at = np.array(stage_of, np.intp)[which]
            for number in np.unique(at[at >= 0]).tolist():
                stages[number].admit(known + np.flatnonzero(at == number), is_anew=not known)
            self._at[place] = grown(self._at[place], len(chains), -1)
            self._at[place][known:] = at
        self._at = [grown(at, len(chains), -1) for at in self._at]

    def step(self, grouped: Segments, time_ns: Ints, value: Floats) -> tuple[Floats, Flags]:
        """Filter m readings, finite, of ascending times within each channel, in grouped order ([m] each).

        Returns (denoised [m], is_spike [m]): a channel without a chain gets its values back. To a chain what lies
        beyond 1e100 is 1e100: sums of such values are finite, and no reading can spoil what a filter remembers.
        """
        is_spike = np.zeros(len(value), bool)
        denoised = value
        for place, at in enumerate(self._at):
            stages = at[grouped.series]
            if place == 0:
                denoised = _limited(value, stages >= 0, grouped)
            for number in np.unique(stages).tolist():
                if number >= 0:
                    denoised = self._stages[place][number].step(grouped, stages == number, time_ns, denoised, is_spike)
        return denoised, is_spike

    def snapshot(self) -> list[Any]:
        """The state as plain values and arrays."""
        return [stage.snapshot() for stages in self._stages for stage in stages]

    def restore(self, saved: list[Any]) -> None:
        """The reverse; `settle` must have been called with the chains of the snapshot."""
        for stage, state in zip((stage for stages in self._stages for stage in stages), saved, strict=True):
            stage.restore(state)


def _limited(value: Floats, is_filtered: Flags, grouped: Segments) -> Floats:
    """Values as filters may see them; is_filtered: [k], whether the channel has any."""
    limited: Floats = np.minimum(np.maximum(value, -_LARGEST), _LARGEST)
    return limited if is_filtered.all() else np.where(is_filtered[grouped.rank], limited, value)


class _Stage:
    """One filter, its channels' slots, and when each was heard of last."""

    def __init__(self, place: int, settings: AnyFilterSettings) -> None:
        self.place, self.settings = place, settings
        self._filter = FILTERS[settings.filter](settings)
        self._slot: Ids = np.empty(0, np.intp)  # [channels], -1 = none
        self._heard_ns: Ints = np.empty(0, np.int64)  # [slots]
        self._max_gap_ns = _NO_GAP_NS if settings.gap_s is None else min(round(settings.gap_s * 1e9), _NO_GAP_NS)

    def admit(self, channels: Ids, *, is_anew: bool) -> None:
        """These, ascending, are filtered here as well; is_anew: only these. Those that were keep their slots."""
        slot = grown(self._slot, int(channels[-1]) + 1, -1)
        if is_anew:
            before, slot = slot, np.full(len(slot), -1, np.intp)
            slot[channels] = before[channels]
        fresh = channels[slot[channels] < 0]
        slot[fresh] = len(self._heard_ns) + np.arange(len(fresh))
        self._slot = slot
        self._heard_ns = grown(self._heard_ns, len(self._heard_ns) + len(fresh), _NEVER)
        self._filter.grow(len(self._heard_ns))

    def step(self, grouped: Segments, here: Flags, time_ns: Ints, value: Floats, is_spike: Flags) -> Floats:
        """Filter the groups that are `here` [k]; returns all values, and adds to `is_spike`."""
        if here.all():
            runs = self._runs(self._slot[grouped.series], grouped.starts, grouped.rank, time_ns)
            out, spikes = self._filter.step(runs, time_ns, value)
            if spikes is not None:
                is_spike |= spikes
            return out
        mine = np.flatnonzero(here[grouped.rank])
        sizes = np.diff(np.append(grouped.starts, len(grouped.rank)))[here]
        starts = np.cumsum(sizes) - sizes
        rank = np.repeat(np.arange(len(sizes)), sizes)
        runs = self._runs(self._slot[grouped.series[here]], starts, rank, time_ns[mine])
        out = value.copy()
        out[mine], spikes = self._filter.step(runs, time_ns[mine], value[mine])
        if spikes is not None:
            is_spike[mine] |= spikes
        return out

    def _runs(self, slot: Ids, starts: Ids, rank: Ids, time_ns: Ints) -> Runs:
        """Cut each slot's readings where a gap is too long."""
        heard_ns = self._heard_ns[slot]
        lasts = lasts_of(starts, len(time_ns))
        self._heard_ns[slot] = time_ns[lasts]
        is_new = heard_ns == _NEVER
        if self._max_gap_ns == _NO_GAP_NS:
            return Runs(slot, starts, lasts, rank, is_new, np.ones(len(slot), bool))
        begins = time_ns - preceding(time_ns, starts, heard_ns) > self._max_gap_ns
        begins[starts] |= is_new
        if np.count_nonzero(begins) == np.count_nonzero(begins[starts]):
            return Runs(slot, starts, lasts, rank, begins[starts], np.ones(len(slot), bool))
        cut = begins.copy()
        cut[starts] = True
        at = np.flatnonzero(cut)
        owner = rank[at]
        is_last = np.append(owner[1:] != owner[:-1], True)
        return Runs(slot[owner], at, lasts_of(at, len(time_ns)), np.cumsum(cut) - 1, begins[at], is_last)

    def snapshot(self) -> dict[str, Any]:
        return {"slot": self._slot, "heard_ns": self._heard_ns, "filter": self._filter_state()}

    def restore(self, saved: dict[str, Any]) -> None:
        self._slot, self._heard_ns = saved["slot"], saved["heard_ns"]
        vars(self._filter).update(saved["filter"])

    def _filter_state(self) -> dict[str, Any]:
        """The arrays: what begins with an underscore is made from the settings."""
        return {name: value for name, value in vars(self._filter).items() if not name.startswith("_")}
