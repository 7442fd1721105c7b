"""What one rule derives, for all assets that it holds for."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_agent.config.assets import AssetRule
from edge_agent.core.align import Frames
from edge_agent.core.derive.expression import Expression
from edge_agent.core.derive.fusion import fuse, learnt, lessons, start
from edge_agent.core.derive.kinds import REGIME
from edge_agent.core.derive.names import is_taken
from edge_agent.core.derive.regimes import Regimes
from edge_agent.core.derive.turns import turns
from edge_agent.core.derive.windowed import Windowed
from edge_agent.core.segments import grown

Ids = NDArray[np.intp]
Floats = NDArray[np.float64]


class Virtual(NamedTuple):
    """Values of virtual channels, n of them, as readings to be stored."""

    channel: Ids
    time_ns: NDArray[np.int64]
    value: Floats


class Program:
    """State per asset of the rule; assets are numbered here as they come, and columns are the names it uses."""

    def __init__(self, rule: AssetRule) -> None:
        self._groups = [group for group in rule.redundant if group.fused]
        self._derived = [(each.channel, Expression(each.expression)) for each in rule.derived]
        self._conditions = [Expression(each.when) for each in rule.regimes]
        self._specs = rule.features
        names = [name for group in self._groups for name in (*group.of, str(group.fused))]
        names += [name for channel, expression in self._derived for name in (*expression.names, channel)]
        names += [name for condition in self._conditions for name in condition.names] + [REGIME]
        self._column = {name: i for i, name in enumerate(dict.fromkeys(names))}
        self._local: dict[int, int] = {}  # asset -> its number here
        self._outputs: dict[tuple[int, str], tuple[int, int, int]] = {}  # a feature's channel -> where it comes from
        self._numbers = np.empty((0, len(self._column)), np.intp)  # [assets, columns], -1 = no such channel
        self._feature_numbers = [np.empty((0, len(spec.give)), np.intp) for spec in self._specs]  # [series, features]
        self._variances = [np.empty((0, len(group.of))) for group in self._groups]
        self._windowed = [
            Windowed(
                round(spec.window_s / rule.period_s),
                max(round(spec.every_s / rule.period_s), 1),
                spec.give,
                3600 / rule.period_s,
            )
            for spec in self._specs
        ]
        self._regimes = Regimes(int(np.ceil(rule.regime_dwell_s / rule.period_s)))

    def add(self, asset: int, name: str, channel: int) -> None:
        """Take notice of a channel: its asset's number, its name, its number."""
        local = self._local.setdefault(asset, len(self._local))
        if name in self._column:
            self._numbers = grown(self._numbers, len(self._local), -1)
            self._numbers[local, self._column[name]] = channel
        if (local, name) in self._outputs:
            spec, series, i = self._outputs[local, name]
            self._feature_numbers[spec] = grown(self._feature_numbers[spec], series + 1, -1)
            self._feature_numbers[spec][series, i] = channel
        for spec, features in enumerate(self._specs):
            if is_taken(features, name):
                series = self._windowed[spec].add(local, channel)
                for i, give in enumerate(features.give):
                    self._outputs[local, features.name(name, give)] = spec, series, i

    def settle(self) -> None:
        """Make room for what was added."""
        assets = len(self._local)
        self._numbers = grown(self._numbers, assets, -1)
        self._regimes.grow(assets)
        for i, group in enumerate(self._groups):
            self._variances[i] = grown(self._variances[i], assets, start(group.max_difference))
        for i, windowed in enumerate(self._windowed):
            windowed.grow(assets)
            self._feature_numbers[i] = grown(self._feature_numbers[i], len(windowed.asset), -1)

    def step(self, frames: Frames, rows: Ids) -> tuple[Frames, list[Virtual]]:
        """rows: positions of the frames whose asset this rule holds for. Returns the frames with what was derived."""
        assets, inverse = np.unique(frames.asset[rows], return_inverse=True)
        local = np.array([self._local[asset] for asset in assets.tolist()], np.intp)[inverse]
        found: list[Virtual] = []
        frames = self._compute(frames, rows, local, found)
        for spec, windowed in enumerate(self._windowed):
            frames = self._window(frames, rows, local, spec, windowed, found)
        if self._conditions:
            values = self._values(frames, rows, local)
            conditions = np.array([condition(values) for condition in self._conditions])
            regime = self._regimes.step(local, frames.cell[rows], conditions)
            frames = self._merged(frames, rows, local, {REGIME: regime}, found)
        return frames, found

    def _values(self, frames: Frames, rows: Ids, local: Ids) -> dict[str, Floats]:
        """Of every column: those not derived yet are missing."""
        columns = np.ascontiguousarray(frames.lookup(self._numbers[local], rows).T)
        return {name: columns[i] for name, i in self._column.items()}

    def _compute(self, frames: Frames, rows: Ids, local: Ids, found: list[Virtual]) -> Frames:
        if not self._groups and not self._derived:
            return frames
        values = self._values(frames, rows, local)
        given: dict[str, Floats] = {}
        for i, group in enumerate(self._groups):
            members = np.stack([values[name] for name in group.of], axis=1)
            variances = np.tile(np.square(group.sigmas), (len(rows), 1)) if group.sigmas else np.empty(members.shape)
            if not group.sigmas:
                state = self._variances[i]
                squares, teaches = lessons(members, group.max_difference)
                for at in turns(local):
                    variances[at] = before = state[local[at]]
                    state[local[at]] = learnt(before, squares[at], teaches[at], group.max_difference)
            values[str(group.fused)] = given[str(group.fused)] = fuse(members, variances, group.max_difference)
        for channel, expression in self._derived:
            values[channel] = given[channel] = expression(values)
        return self._merged(frames, rows, local, given, found)

    def _merged(self, frames: Frames, rows: Ids, local: Ids, given: dict[str, Floats], found: list[Virtual]) -> Frames:
        channels = self._numbers[local][:, [self._column[name] for name in given]].ravel()
        row, values = np.repeat(rows, len(given)), np.stack(list(given.values()), axis=1).ravel()
        return _added(frames, channels, row, values, np.isfinite(values), found)

    def _window(
        self, frames: Frames, rows: Ids, local: Ids, spec: int, windowed: Windowed, found: list[Virtual]
    ) -> Frames:
        def lookup(channels: Ids, at: Ids) -> Floats:
            return frames.lookup(channels[:, None], rows[at])[:, 0]

        features = windowed.step(local, frames.cell[rows], lookup)
        channels, values = self._feature_numbers[spec][features.series].ravel(), features.values.ravel()
        times = features.values.shape[1]
        is_new = np.repeat(features.is_new, times) & np.isfinite(values)
        return _added(frames, channels, np.repeat(rows[features.row], times), values, is_new, found)

    def snapshot(self) -> dict[str, Any]:
        """Plain values and arrays."""
        return {
            "assets": list(self._local),
            "variances": self._variances,
            "regimes": self._regimes.snapshot(),
            "windowed": [windowed.snapshot() for windowed in self._windowed],
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """The reverse, once all channels have been added again. Assets that are no longer here are left out."""
        here = np.array([i for i, asset in enumerate(saved["assets"]) if asset in self._local], np.intp)
        at = np.array([self._local[saved["assets"][i]] for i in here.tolist()], np.intp)
        for mine, values in zip(self._variances, saved["variances"], strict=True):
            mine[at] = values[here]
        self._regimes.restore(saved["regimes"], here, at)
        for windowed, state in zip(self._windowed, saved["windowed"], strict=True):
            windowed.restore(state, here, at)


def _added(
    frames: Frames, channel: Ids, row: Ids, value: Floats, is_stored: NDArray[np.bool_], found: list[Virtual]
) -> Frames:
    known = channel >= 0
    stored = known & is_stored
    found.append(Virtual(channel[stored], frames.time_ns[row[stored]], value[stored]))
    return frames.merged(channel[known], row[known], value[known])
