"""Which channels and assets there are, numbered as they first appear in the journal, with their settings as arrays."""

import numpy as np
from numpy.typing import NDArray

from edge_agent.config import AssetRule, ChannelRule, EdgeConfig
from edge_agent.core.align import Grid, Mode, Modes
from edge_agent.core.checks import CheckSettings
from edge_agent.core.denoise import AnyFilterSettings, AnyReportSettings
from edge_agent.core.derive.names import virtual
from edge_agent.core.readings import ChannelKey

_TIMES = ("period_s", "lateness_s", "idle_s", "hold_s")


class Catalogue:
    """Numbers never change; settings follow the configuration. Channels that are new cost what they are, not more."""

    def __init__(self) -> None:
        self.channels: list[ChannelKey] = []
        self.assets: list[str] = []
        self.asset_of: NDArray[np.intp] = np.empty(0, np.intp)  # [channels]
        self.chains: list[tuple[AnyFilterSettings, ...]] = []  # [channels]
        self.reports: list[AnyReportSettings | None] = []  # [channels]
        self.checks: CheckSettings
        self.grid = _grid([], [], self.asset_of)
        self._modes: list[tuple[int, float]] = []  # [channels], mode, longest gap in s
        self._times_s: list[tuple[float, ...]] = []  # [assets], of _TIMES
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
        self.chains, self.reports, self._modes, self._times_s = [], [], [], []
        self.checks = CheckSettings(config)
        self._add(list(self.channels), config)

    def _add(self, keys: list[ChannelKey], config: EdgeConfig) -> None:
        for key in keys:
            rule = config.asset_rule(key[0]) or _NO_ASSET_RULE
            self._enter([key, *((key[0], name) for name in virtual(rule, key[1]))])
        for asset in self.assets[len(self._times_s) :]:
            # An asset that no rule fits gets the default grid: it is stored, but no model watches it.
            rule = config.asset_rule(asset) or _NO_ASSET_RULE
            self._times_s.append(tuple(getattr(rule, name) for name in _TIMES))
        for key in self.channels[len(self.chains) :]:
            channel = config.channel_rule(*key) or _NO_RULE
            self.chains.append(channel.denoise)
            self.reports.append(channel.report)
            self._modes.append((Mode[channel.align.upper()], channel.max_gap_s))
        self.asset_of = np.array([self._asset_numbers[asset] for asset, _ in self.channels], np.intp)
        self.checks.extend(self.channels, self.asset_of)
        self.grid = _grid(self._times_s, self._modes, self.asset_of)

    def _enter(self, keys: list[ChannelKey]) -> None:
        for key in keys:
            if key not in self._numbers:
                self._numbers[key] = len(self.channels)
                self.channels.append(key)
                if key[0] not in self._asset_numbers:
                    self._asset_numbers[key[0]] = len(self.assets)
                    self.assets.append(key[0])


_NO_RULE, _NO_ASSET_RULE = ChannelRule(match="*/*"), AssetRule(match="*")


def _grid(times_s: list[tuple[float, ...]], modes: list[tuple[int, float]], asset_of: NDArray[np.intp]) -> Grid:
    period, lateness, idle, hold = np.array(times_s, np.float64).reshape(-1, 4).T
    to_ns = [np.round(seconds * 1e9).astype(np.int64) for seconds in (period, lateness, idle)]
    mode, gap_s = np.array(modes, np.float64).reshape(-1, 2).T
    return Grid(
        to_ns[0],
        to_ns[1],
        to_ns[2],
        np.floor(hold / period + 1e-9).astype(np.int64),
        Modes(mode.astype(np.uint8), np.round(gap_s * 1e9).astype(np.int64), asset_of),
    )
