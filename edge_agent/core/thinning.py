"""What goes first when results find no room: alarms > predictions > features > readings.

Each level takes the next bite, from the least valuable kind to the most: a kind is halved four times, then dropped.
Halving drops every second row of each series, counted across batches, so that a stretch keeps its shape, however
few rows of it lie in one batch. A row's quality does not matter: a fault that is cut out of its stretch would mislead.
Alarms are never dropped, nor is the batch itself: `seq` stays without a gap.

    level   1 2 3 4 5    6 7 8 9 10    11 12 13 14 15
            readings     features      inferences
            ½ ¼ ⅛ … 0    ½ ¼ ⅛ … 0     ½ ¼ ⅛ … 0
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_agent.core.derive.kinds import is_source
from edge_agent.core.features import WAVEFORM_FEATURES
from models.contract.batch import Batch, decode_batch, encode_batch, indices

KINDS = ("reading", "feature", "inference")
_STEPS = 5  # four halvings, then the rest
LEVELS = _STEPS * len(KINDS)
Mask = NDArray[np.bool_]
Series = tuple[str, ...]


class Thinned(NamedTuple):
    """The smaller batch, and how many rows of which kind are gone."""

    payload: bytes
    dropped: Counter[str]


class Thinner:
    """Remembers of each series, at each level, whether the next row stays. To be given batches in order."""

    def __init__(self) -> None:
        self._seen: defaultdict[tuple[int, Series], int] = defaultdict(int)

    def thin(self, payload: bytes, level: int) -> Thinned | None:
        """The batch at `level` (1 … LEVELS), when it is at the level before. None: there is nothing to drop in it.

        Raises ContractError when it is no batch.
        """
        kind, step = KINDS[(level - 1) // _STEPS], (level - 1) % _STEPS
        batch = decode_batch(payload)
        table = batch.inferences if kind == "inference" else batch.readings
        index = indices(table.index)
        chosen = np.isin(index, _of_kind(table.series, kind))
        if not chosen.any():
            return None
        keep = ~chosen
        if step < _STEPS - 1:
            keep |= self._every_second(index, table.series, level)
        dropped = int(np.count_nonzero(~keep))
        if not dropped:
            return None
        _keep_rows(batch, kind, keep)
        return Thinned(encode_batch(batch), Counter({kind: dropped}))

    def _every_second(self, index: NDArray[np.int32], series: Sequence[Series], level: int) -> Mask:
        """The first of each pair, by series."""
        order = np.argsort(index, kind="stable")
        ordered = index[order]
        present, starts, counts = np.unique(ordered, return_index=True, return_counts=True)
        rank = np.empty(len(index), np.int64)
        rank[order] = np.arange(len(index)) - np.repeat(starts, counts)
        seen = np.zeros(len(series), np.int64)
        for at, count in zip(present.tolist(), counts.tolist(), strict=True):
            key = (level, series[at])
            seen[at] = self._seen[key]
            self._seen[key] += count
        even: Mask = (rank + seen[index]) % 2 == 0
        return even


def _of_kind(series: Sequence[Series], kind: str) -> list[int]:
    """Positions of the series that the kind means."""
    if kind == "inference":
        return list(range(len(series)))
    is_feature = kind == "feature"
    return [i for i, (_, channel, *_) in enumerate(series) if _is_feature(channel) == is_feature]


def _is_feature(channel: str) -> bool:
    """Of a waveform, `v.rms` or `v.bands.low`; or of frames, `t.slope_600s`."""
    return not is_source(channel) or not WAVEFORM_FEATURES.keys().isdisjoint(channel.split(".")[1:])


def _keep_rows(batch: Batch, kind: str, keep: Mask) -> None:
    """Columns of the rows that stay; series without a row are left, they cost little."""
    if kind == "inference":
        inferences = batch.inferences
        inferences.index = _cut(inferences.index, keep)
        inferences.time_ns = _cut(inferences.time_ns, keep)
        inferences.fields = {name: _cut(column, keep) for name, column in inferences.fields.items()}
        return
    readings = batch.readings
    readings.index, readings.time_ns = _cut(readings.index, keep), _cut(readings.time_ns, keep)
    readings.value, readings.denoised = _cut(readings.value, keep), _cut(readings.denoised, keep)
    readings.quality = _cut(readings.quality, keep)


def _cut(column: bytes, keep: Mask) -> bytes:
    """The kept rows of a column of any width."""
    rows = np.frombuffer(column, f"V{len(column) // len(keep)}")
    return rows[keep].tobytes()
