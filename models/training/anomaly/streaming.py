"""Novelty of each channel by itself, learned as the series comes: nothing is fitted beforehand.

A row is seen as its value and its running means over a few time scales. Its novelty is the distance to the nearest
of some hundred rows of its own past, the prototypes. A row that is more novel than the least novel prototype was when
it came takes its place, so that they spread over all that the series has ever done: a season, a batch or a level is
known once it was seen, and drift is learned on the way. (Novelty as the distance to a neighbour: Knorr, Ng & Tucakov
2000, Distance-based outliers, VLDB Journal 8.)

A row of usual values may still come at an unusual time, as when a cycle is missing: a season is looked for as well,
and a row that does not fit it is a surprise (`streaming_season`).

How surprising a novelty is depends on the series (`streaming_tail`). A surprise is held for a while that grows with
the series, so that one disturbance is one alarm.

The state of a channel has a fixed size and starts from zeros, on the gateway; its layout is in `streaming_layout`.
The step is written twice, in numpy and as ONNX nodes: here and in `streaming_graph`, its parts each in their file.
"""

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
from pydantic import BaseModel, Field, PositiveInt, model_validator

from models.training.anomaly.base import Advance, Floats, check_runs, quiet, shares_of
from models.training.anomaly.streaming_graph import build_step
from models.training.anomaly.streaming_layout import (
    EDGES,
    FARTHEST,
    HALF,
    STRETCHES,
    Floats32,
    Layout,
)
from models.training.anomaly.streaming_season import Timing, season_step
from models.training.anomaly.streaming_tail import Rule, surprise
from models.training.graph import Graph


class Params(BaseModel, extra="forbid", frozen=True):
    """What can be chosen. Time is counted in rows, for a channel has a fixed sample period."""

    scales: tuple[PositiveInt, ...] = Field(
        (8, 64), min_length=1, description="rows of the running means a row is seen by, the shortest first"
    )
    season: int = Field(128, ge=0, le=4096, description="longest season, in units of the first scale; 0: none")
    prototypes: int = Field(256, ge=8, le=4096, description="rows of the past that are kept to compare with")
    learning: int = Field(150, ge=10, le=5000, description="rows of a new series before its first score")
    tail: float = Field(0.02, gt=0, lt=0.5, description="share of rows, the most novel, that the tail is fitted to")
    hold: int = Field(50, ge=1, description="rows for which a surprise is held, about")
    hold_share: float = Field(0.04, ge=0, le=0.5, description="share of the rows seen so far that is added to hold")
    memory: int = Field(  # float32 holds neither a count nor a share as fine as a longer one would need
        100_000, ge=10_000, le=1_000_000, description="rows over which what was learned fades"
    )

    @model_validator(mode="after")
    def _ascends_and_remembers_seasons(self) -> Self:
        if list(self.scales) != sorted(set(self.scales)):
            msg = "scales: the shortest first, and none twice"
            raise ValueError(msg)
        # A season shows once it was seen twice, and what fades never counts quite as far as the memory.
        if self.memory < 3 * self.season * self.scales[0]:
            msg = f"memory: at least three of the longest season, {3 * self.season * self.scales[0]} rows"
            raise ValueError(msg)
        return self

    @property
    def layout(self) -> Layout:
        """Of a channel's state."""
        return Layout(len(self.scales), self.prototypes, self.season)

    @property
    def rule(self) -> Rule:
        """Of the tail of the distances to the nearest prototype."""
        return Rule(self.tail, self.learning)

    @property
    def timing(self) -> Timing:
        """Of the notes of a season."""
        return Timing(self.scales[0], self.season, self.tail, 1 - 1 / self.memory)


class StreamingModel(NamedTuple):
    """The step for `channels` channels; the most surprising one counts."""

    params: Params
    channels: int

    @property
    def window(self) -> int:
        """A row at a time."""
        return 1

    @property
    def state(self) -> int:
        """Numbers remembered of an asset."""
        return self.channels * self.params.layout.size

    def raw(self, windows: Floats) -> tuple[Floats, Floats]:
        """The surprise held at consecutive rows [n, 1, channels] of an asset never seen before, [n]; channel shares.

        0 during the learning time.
        """
        state = np.zeros((self.channels, self.params.layout.size), np.float32)
        held = np.empty((len(windows), self.channels))
        for number, values in enumerate(windows[:, 0].astype(np.float32)):
            held[number], state = step(self.params, state, values)
        return held.max(1), shares_of(held)

    def build(self, graph: Graph, window: str) -> tuple[str, str]:
        """The nodes of one step; takes `state` and names `state_next`."""
        return build_step(graph, window, self.params, self.channels)


def fit(runs: Sequence[Floats], params: Params, *, seed: int = 0, advance: Advance = quiet) -> StreamingModel:
    """A detector that has learned nothing yet: the runs [rows, channels] say how many channels there are.

    Raises DataError: runs that are not all finite, or no longer than the learning time.
    """
    del seed
    channels = check_runs(runs, 1, least=params.learning + 1)
    advance(1, 1)
    return StreamingModel(params, channels)


def step(params: Params, state: Floats32, values: Floats32) -> tuple[Floats32, Floats32]:
    """One row of many series at once, none of which tells of another.

    Args:
        params: the setting.
        state: float32 [series, Layout.size], zeros at first; left as it is.
        values: float32 [series], no NaN, in any unit.

    Returns:
        The surprise held, float32 [series], in nats, 0 during the learning time; and the next state.
    """
    layout = params.layout
    after = np.empty_like(state)
    was, now = layout.parts(state), layout.parts(after)
    keep = np.float32(1 - 1 / params.memory)
    value = np.clip(values, -FARTHEST, FARTHEST)[:, None]

    now.rows[:] = was.rows * keep + 1
    gain = np.maximum(np.array([1 / scale for scale in params.scales], np.float32), 1 / now.rows)
    now.means[:] = was.means + (value - was.means) * gain
    seen = np.concatenate((value, now.means), 1)[:, :, None]
    distance = np.where(was.births > 0, np.abs(seen - was.prototypes).sum(1), FARTHEST)
    novelty = np.clip(distance.min(1, keepdims=True), EDGES[0], EDGES[-1])

    faded = was.births * keep
    is_weakest = np.arange(params.prototypes) == faded.argmin(1)[:, None]
    place = is_weakest & (novelty > faded.min(1, keepdims=True))
    now.births[:] = np.where(place, novelty, faded)
    now.prototypes[:] = np.where(place[:, None], seen, was.prototypes)

    found = surprise(params.rule, novelty, was.tail, was.rows, now.rows)
    now.tail[:] = was.tail * keep + ((novelty >= EDGES) & (was.rows > 0))
    if params.season:
        found = np.maximum(found, season_step(params.timing, was.season, now.season, now.means[:, :1], now.rows))

    peaks = np.concatenate((np.maximum(was.peaks[:, :1], found), was.peaks[:, 1:]), 1)
    left = was.left - 1
    begun = np.concatenate((np.zeros_like(found), peaks[:, :-1]), 1)
    now.peaks[:] = np.where(left <= 0, begun, peaks)
    stretch = (np.float32(params.hold) + np.float32(params.hold_share) * now.rows) / (STRETCHES - HALF)
    now.left[:] = np.where(left <= 0, stretch, left)
    return peaks.max(1), after
