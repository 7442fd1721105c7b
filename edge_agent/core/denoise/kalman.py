"""Kalman filter: the most likely level of a signal that wanders and is measured with noise.

    level:   dy = process_std dW                         readings  x = y + measurement_std * noise
    trend:   dy = slope dt,  dslope = process_std dW

The times between readings may be any: the filter predicts over what is missing, and the longer that was, the more the
next reading counts. By default it never begins anew. Causal. Delay: `level` lags behind a ramp by (1 - g) / g readings,
g the gain it settles at, 1 / g about measurement_std / (process_std * sqrt(dt)); `trend` does not lag. Warm-up: nothing
is known before the first reading, which passes unchanged, as does the second of a trend but for a millionth.

Source: Kalman 1960, J. Basic Eng. 82(1), 35-45; Harvey 1989, Forecasting, Structural Time Series Models and the Kalman
Filter, chapters 2 and 9 (continuous time).
"""

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from pydantic import Field

from edge_agent.core.denoise.runs import (
    FilterSettings,
    Flags,
    Floats,
    Ids,
    Ints,
    Runs,
    elapsed_s,
    remember,
    remembered,
)
from edge_agent.core.segments import grown

_UNKNOWN = 1e6  # variance of a slope of which nothing is known, in units of the variance of the first estimate of it
_FEW_RUNS = 24  # with fewer going on at a time, floats one by one are faster than arrays over the runs


class KalmanSettings(FilterSettings):
    """A level, or a level with a slope, that wanders at random."""

    filter: Literal["kalman"] = "kalman"
    model: Literal["level", "trend"] = "level"
    measurement_std: float = Field(ge=1e-12, le=1e12, description="standard deviation of the noise of a reading, units")
    process_std: float = Field(
        ge=1e-12,
        le=1e12,
        description="how far the level (units) or the slope (units a s) wanders in 1 s, standard deviation; "
        "4 times as long, twice as far",
    )

    @property
    def ratio(self) -> float:
        """Variance that the process gains in a second over that of a reading: all that the gains depend on."""
        return (self.process_std / self.measurement_std) ** 2

    def delay_s(self, period_s: float) -> float:
        """The lag behind a ramp once the gain has settled."""
        if self.model == "trend":
            return 0.0
        gained = self.ratio * period_s
        gain = 2 / (1 + math.sqrt(1 + 4 / gained))
        return (1 - gain) / gain * period_s


class Kalman:
    """State: float64 [slots, 2 or 6], what `_level` or `_trend` returns; int64 [slots], the time of the last reading.

    Variances are in units of measurement_std^2: that of the level is then the gain.
    """

    def __init__(self, settings: KalmanSettings) -> None:
        self._ratio = settings.ratio
        self._update, self._begin = _MODELS[settings.model]
        self.state: Floats = np.empty((0, len(self._begin)))
        self.heard_ns: Ints = np.empty(0, np.int64)

    def grow(self, slots: int) -> None:
        """Make room for more slots."""
        self.state = grown(self.state, slots, 0.0)
        self.heard_ns = grown(self.heard_ns, slots, 0)

    def step(self, runs: Runs, time_ns: Ints, value: Floats) -> tuple[Floats, Flags | None]:
        """See `Filter`."""
        state = remembered(runs, self.state, 0.0)
        state[runs.is_new] = self._begin
        state[runs.is_new, 0] = value[runs.starts[runs.is_new]]
        dt_s = elapsed_s(runs, time_ns, self.heard_ns)
        # The first reading of a new run is its state already.
        starts, lengths = runs.starts + runs.is_new, runs.lengths - runs.is_new
        out = value.copy()
        is_narrow = lengths.sum() < _FEW_RUNS * lengths.max()
        follow = self._one_by_one if is_narrow else self._side_by_side
        follow(state, starts, lengths, dt_s, out)
        remember(runs, self.state, state)
        return out, None

    def _one_by_one(self, state: Floats, starts: Ids, lengths: Ids, dt_s: Floats, out: Floats) -> None:
        """Run after run in floats."""
        for run, (start, length) in enumerate(zip(starts.tolist(), lengths.tolist(), strict=True)):
            at, now = slice(start, start + length), tuple(state[run].tolist())
            levels = []
            for x, dt in zip(out[at].tolist(), dt_s[at].tolist(), strict=True):
                now = self._update(now, x, dt, self._ratio)
                levels.append(now[0])
            out[at], state[run] = levels, now

    def _side_by_side(self, state: Floats, starts: Ids, lengths: Ids, dt_s: Floats, out: Floats) -> None:
        """The same sums on arrays: the first readings of all runs, then the second ones of those that go on."""
        longest_first = np.argsort(-lengths, kind="stable")
        now, firsts = tuple(state[longest_first].T.copy()), starts[longest_first]
        going = len(starts) - np.searchsorted(np.sort(lengths), np.arange(lengths.max()), side="right")
        for position, count in enumerate(going.tolist()):
            at = firsts[:count] + position
            after = self._update(tuple(part[:count] for part in now), out[at], dt_s[at], self._ratio)
            out[at] = after[0]
            for part, new in zip(now, after, strict=True):
                part[:count] = new
        state[longest_first] = np.column_stack(now)


# State, reading, seconds since the last, ratio -> state; floats or arrays, with the same bits. The level comes first.
_State = tuple[Any, ...]
_Update = Callable[[_State, Any, Any, float], _State]


def _level(state: _State, x: Any, dt: Any, ratio: float) -> _State:  # noqa: ANN401 - floats or arrays
    """Level and its variance."""
    y, p = state
    spread = p + ratio * dt
    gain = spread / (spread + 1.0)
    return y + gain * (x - y), gain


def _trend(state: _State, x: Any, dt: Any, ratio: float) -> _State:  # noqa: ANN401 - floats or arrays
    """Level, slope, the variances 11, 12 and 22, and 1 as long as nothing is known of the slope."""
    y, slope, p11, p12, p22, unknown = state
    p22 = p22 + unknown * (_UNKNOWN / (dt * dt))
    y = y + dt * slope
    p11 = p11 + dt * (2.0 * p12 + dt * p22) + ratio * (dt * dt * dt / 3.0)
    p12 = p12 + dt * p22 + ratio * (dt * dt / 2.0)
    p22 = p22 + ratio * dt
    gain, slope_gain = p11 / (p11 + 1.0), p12 / (p11 + 1.0)
    missed = x - y
    return y + gain * missed, slope + slope_gain * missed, gain, slope_gain, p22 - slope_gain * p12, 0.0 * unknown


_MODELS: dict[str, tuple[_Update, tuple[float, ...]]] = {
    "level": (_level, (0.0, 1.0)),
    "trend": (_trend, (0.0, 0.0, 1.0, 0.0, 0.0, 1.0)),
}
