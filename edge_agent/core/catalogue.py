"""Which channels and assets there are, numbered as they first appear in the journal, with their settings as arrays."""

import numpy as np
from numpy.typing import NDArray

from edge_agent.config import EdgeConfig
from edge_agent.core.align import Grid
from edge_agent.core.denoise import AnyFilterSettings
from edge_agent.core.readings import ChannelKey

_NEVER_NS = np.iinfo(np.int64).max


class Catalogue:
    """Numbers never change; settings follow the configuration."""

    def __init__(self) -> None:
        self.channels: list[ChannelKey] = []
        self.assets: list[str] = []
        self.asset_of: NDArray[np.intp] = np.empty(0, np.intp)  # [channels]
        self.low: NDArray[np.float64] = np.empty(0)
        self.high: NDArray[np.float64] = np.empty(0)
        self.max_rate_per_s: NDArray[np.float64] = np.empty(0)
        self.flat_ns: NDArray[np.int64] = np.empty(0, np.int64)
        self.chains: list[tuple[AnyFilterSettings, ...]] = []  # [channels]
        self.grid = Grid(*(np.empty(0, np.int64) for _ in range(4)))
        self._numbers: dict[ChannelKey, int] = {}
        self._asset_numbers: dict[str, int] = {}

    def number(self, keys: list[ChannelKey], config: EdgeConfig) -> NDArray[np.intp]:
        """The numbers of channels; new ones are added."""
        known = len(self.channels)
        for key in keys:
            if key not in self._numbers:
                self._numbers[key] = len(self.channels)
                self.channels.append(key)
                self._asset_numbers.setdefault(key[0], len(self._asset_numbers))
        if len(self.channels) > known:
            self.settle(config)
        return np.array([self._numbers[key] for key in keys], np.intp)

    def restore(self, channels: list[ChannelKey]) -> None:
        """Take over the numbering of a snapshot; `settle` must follow."""
        self.channels = list(channels)
        self._numbers = {key: i for i, key in enumerate(self.channels)}
        self._asset_numbers = {}
        for asset, _ in self.channels:
            self._asset_numbers.setdefault(asset, len(self._asset_numbers))

    def settle(self, config: EdgeConfig) -> None:
        """Look up the settings of all channels and assets anew."""
        self.assets = list(self._asset_numbers)
        self.asset_of = np.array([self._asset_numbers[asset] for asset, _ in self.channels], np.intp)
        rules = [config.channel_rule(*key) for key in self.channels]
        limits = [rule.range if rule and rule.range else (-np.inf, np.inf) for rule in rules]
        self.low, self.high = np.array(limits, np.float64).reshape(-1, 2).T
        self.max_rate_per_s = np.array([rule.max_rate_per_s or np.inf if rule else np.inf for rule in rules])
        self.flat_ns = np.array(
            [round(rule.flat_s * 1e9) if rule and rule.flat_s else _NEVER_NS for rule in rules], np.int64
        )
        self.chains = [rule.denoise if rule else () for rule in rules]
        self.grid = _grid(config, self.assets)


def _grid(config: EdgeConfig, assets: list[str]) -> Grid:
    """An asset that no rule fits gets the default grid: it is stored, but no model watches it."""
    default = type(config.assets[0])(match="*")
    rules = [config.asset_rule(asset) or default for asset in assets]
    period, lateness, idle, hold = (
        np.array([getattr(rule, name) for rule in rules], np.float64)
        for name in ("period_s", "lateness_s", "idle_s", "hold_s")
    )
    to_ns = [np.round(seconds * 1e9).astype(np.int64) for seconds in (period, lateness, idle)]
    return Grid(to_ns[0], to_ns[1], to_ns[2], np.floor(hold / period + 1e-9).astype(np.int64))
