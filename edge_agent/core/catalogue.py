"""Which channels and assets there are, numbered as they first appear in the journal, with their settings as arrays."""

import numpy as np
from numpy.typing import NDArray

from edge_agent.config import AssetRule, ChannelRule, EdgeConfig
from edge_agent.core.align import Grid, Mode, Modes
from edge_agent.core.checks import CheckSettings
from edge_agent.core.denoise import AnyFilterSettings, AnyReportSettings
from edge_agent.core.derive.names import virtual
from edge_agent.core.readings import ChannelKey
from edge_agent.core.segments import Scalar, grown

_TIMES = ("period_s", "lateness_s", "idle_s", "hold_s")


class Catalogue:
    """Numbers never change; settings follow the configuration. Of channels that are new only they are looked at.

    `chains` and `reports` are other lists after each `settle`, and until then only grow at their ends.
    """

    def __init__(self) -> None:
        self.channels: list[ChannelKey] = []
        self.assets: list[str] = []
        self.asset_of: NDArray[np.intp] = np.empty(0, np.intp)  # [channels]
        self.chains: list[tuple[AnyFilterSettings, ...]] = []  # [channels]
        self.reports: list[AnyReportSettings | None] = []  # [channels]
        self.checks: CheckSettings
        self.grid = _NO_GRID
        self._numbers: dict[ChannelKey, int] = {}
        self._asset_numbers: dict[str, int] = {}

    def number(self, keys: list[ChannelKey], config: EdgeConfig) -> NDArray[np.intp]:
        """The numbers of channels; new ones are added, and those that are derived from them."""
        numbers = self._numbers
        if not all(key in numbers for key in keys):
            self._add(keys, config)
        return np.array([numbers[key] for key in keys], np.intp)

    def restore(self, channels: list[ChannelKey]) -> None:
        """Take over the numbering of a snapshot; `settle` must follow."""
        self._numbers, self._asset_numbers = {}, {}
        self.channels, self.assets = [], []
        self._enter(channels)

    def settle(self, config: EdgeConfig) -> None:
        """Look up the settings of all channels and assets anew."""
        self.chains, self.reports, self.grid, self.asset_of = [], [], _NO_GRID, self.asset_of[:0]
        self.checks = CheckSettings(config)
        self._add(list(self.channels), config)

    def _add(self, keys: list[ChannelKey], config: EdgeConfig) -> None:
        for key in keys:
            rule = config.asset_rule(key[0]) or _NO_ASSET_RULE
            self._enter([key, *((key[0], name) for name in virtual(rule, key[1]))])
        # An asset that no rule fits gets the default grid: it is stored, but no model watches it.
        assets = [config.asset_rule(asset) or _NO_ASSET_RULE for asset in self.assets[len(self.grid.period_ns) :]]
        new = self.channels[len(self.chains) :]
        channels = [config.channel_rule(*key) or _NO_RULE for key in new]
        self.chains += [channel.denoise for channel in channels]
        self.reports += [channel.report for channel in channels]
        self.asset_of = _extended(self.asset_of, np.array([self._asset_numbers[asset] for asset, _ in new], np.intp))
        self.checks.extend(self.channels, self.asset_of)
        self.grid = _with(self.grid, assets, channels, self.asset_of)

    def _enter(self, keys: list[ChannelKey]) -> None:
        for key in keys:
            if key not in self._numbers:
                self._numbers[key] = len(self.channels)
                self.channels.append(key)
                if key[0] not in self._asset_numbers:
                    self._asset_numbers[key[0]] = len(self.assets)
                    self.assets.append(key[0])


_NO_RULE, _NO_ASSET_RULE = ChannelRule(match="*/*"), AssetRule(match="*")
_NO_CELLS: NDArray[np.int64] = np.empty(0, np.int64)
_NO_GRID = Grid(_NO_CELLS, _NO_CELLS, _NO_CELLS, _NO_CELLS)


def _with(grid: Grid, assets: list[AssetRule], channels: list[ChannelRule], asset_of: NDArray[np.intp]) -> Grid:
    """The grid with more assets and channels at its ends; asset_of: [channels], of all."""
    times_s = [[getattr(rule, name) for name in _TIMES] for rule in assets]
    period, lateness, idle, hold = np.array(times_s, np.float64).reshape(-1, len(_TIMES)).T
    mode = np.array([Mode[channel.align.upper()] for channel in channels], np.uint8)
    gap_s = np.array([channel.max_gap_s for channel in channels], np.float64)
    modes = grid.modes
    return Grid(
        _extended(grid.period_ns, _ns(period)),
        _extended(grid.lateness_ns, _ns(lateness)),
        _extended(grid.idle_ns, _ns(idle)),
        _extended(grid.hold, np.floor(hold / period + 1e-9).astype(np.int64)),
        Modes(_extended(modes.mode, mode), _extended(modes.max_gap_ns, _ns(gap_s)), asset_of),
    )


def _extended(array: NDArray[Scalar], more: NDArray[Scalar]) -> NDArray[Scalar]:
    known = len(array)
    array = grown(array, known + len(more), 0)
    array[known:] = more
    return array


def _ns(seconds: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.round(seconds * 1e9).astype(np.int64)
