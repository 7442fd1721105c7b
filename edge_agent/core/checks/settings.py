"""What each check is to do with each channel: the configuration as arrays."""

from collections.abc import Sequence

import numpy as np

from edge_agent.config import ChannelRule, EdgeConfig
from edge_agent.core.checks.rows import Flags, Floats, Ints
from edge_agent.core.readings import ChannelKey
from edge_agent.core.segments import Ids, grown

OFF_NS = np.iinfo(np.int64).max


class CheckSettings:
    """Arrays [channels] where nothing else is said; a check that is off has a limit that nothing exceeds.

    They hold for one configuration: another one needs new settings. `extend` costs little where few channels are new.
    """

    def __init__(self, config: EdgeConfig) -> None:
        self._config = config
        self.low: Floats = np.empty(0)
        self.high: Floats = np.empty(0)
        self.operating_low: Floats = np.empty(0)
        self.operating_high: Floats = np.empty(0)
        self.max_rate_per_s: Floats = np.empty(0)
        self.flat_ns: Ints = np.empty(0, np.int64)
        self.flat_band: Floats = np.empty(0)
        self.no_data_factor: Floats = np.empty(0)
        self.quantum_factor: Floats = np.empty(0)
        self.max_skew_ns: Ints = np.empty(0, np.int64)
        self.max_delay_ns: Ints = np.empty(0, np.int64)
        self.asset_of: Ids = np.empty(0, np.intp)
        self.asset_skew_ns: Ints = np.empty(0, np.int64)  # [assets], the smallest of its channels
        self.asset_delay_ns: Ints = np.empty(0, np.int64)  # [assets], likewise
        self.group: Ids = np.empty(0, np.intp)  # of redundant channels; -1: in none
        self.members: Ids = np.empty((0, 2), np.intp)  # [groups, widest], channels; -1: not seen yet
        self.max_difference: Floats = np.empty(0)  # [groups]
        self.hold_ns: Ints = np.empty(0, np.int64)  # [groups]
        self._places: dict[ChannelKey, tuple[int, int]] = {}  # group and place in it of members, seen or not
        self._use()

    @classmethod
    def of(cls, config: EdgeConfig, channels: Sequence[ChannelKey], asset_of: Ids) -> "CheckSettings":
        """Those of all channels; asset_of: [channels], the assets are numbered as they first appear."""
        settings = cls(config)
        settings.extend(channels, asset_of)
        return settings

    def extend(self, channels: Sequence[ChannelKey], asset_of: Ids) -> None:
        """Take notice of new channels, at the end of all; asset_of: [channels]."""
        known, assets_known = len(self.asset_of), len(self.asset_skew_ns)
        new = channels[known:]
        if not new:
            return
        columns = zip(*(_row(self._config.channel_rule(*key)) for key in new), strict=True)
        for name, column in zip(_PER_CHANNEL, columns, strict=True):
            array = getattr(self, name)
            setattr(self, name, np.append(array, np.array(column, array.dtype)))
        self.asset_of = np.array(asset_of, np.intp)
        self.asset_skew_ns = grown(self.asset_skew_ns, int(asset_of.max()) + 1, OFF_NS)
        np.minimum.at(self.asset_skew_ns, asset_of[known:], self.max_skew_ns[known:])
        self.asset_delay_ns = grown(self.asset_delay_ns, int(asset_of.max()) + 1, OFF_NS)
        np.minimum.at(self.asset_delay_ns, asset_of[known:], self.max_delay_ns[known:])
        self.group = grown(self.group, len(channels), -1)
        for number, key in enumerate(new, known):
            if asset_of[number] >= assets_known:
                self._declare(key[0])
                assets_known = int(asset_of[number]) + 1
            if key in self._places:
                group, place = self._places[key]
                self.group[number], self.members[group, place] = group, number
        self._use()

    def _declare(self, asset: str) -> None:
        """The groups of redundant channels of a new asset. A channel that stands in two belongs to the first."""
        rule = self._config.asset_rule(asset)
        for declared in rule.redundant if rule else ():
            group = len(self.members)
            wider = max(0, len(declared.of) - self.members.shape[1])
            self.members = np.pad(self.members, ((0, 1), (0, wider)), constant_values=-1)
            self.max_difference = np.append(self.max_difference, declared.max_difference)
            self.hold_ns = np.append(self.hold_ns, _ns(rule.hold_s if rule else 0))
            for place, name in enumerate(declared.of):
                self._places.setdefault((asset, name), (group, place))

    def _use(self) -> None:
        """Which channels have each check: [channels], or all or none of them."""
        self.has_range = _which(np.isfinite(self.low))
        self.has_operating_range = _which(np.isfinite(self.operating_low))
        self.has_clock = _which(self.max_skew_ns < OFF_NS)
        self.has_rate = _which(np.isfinite(self.max_rate_per_s))
        self.has_flat = _which(self.flat_ns < OFF_NS)
        self.has_no_data = _which(np.isfinite(self.no_data_factor))
        self.has_quantum = _which(np.isfinite(self.quantum_factor))
        self.has_group = _which(self.group >= 0)


def _which(channels: Flags) -> Flags | bool:
    return bool(channels[0]) if len(channels) and (channels == channels[0]).all() else channels


_PER_CHANNEL = (
    "low",
    "high",
    "operating_low",
    "operating_high",
    "max_rate_per_s",
    "flat_ns",
    "flat_band",
    "no_data_factor",
    "quantum_factor",
    "max_skew_ns",
    "max_delay_ns",
)
_ALL_OFF = (-np.inf, np.inf, -np.inf, np.inf, np.inf, OFF_NS, 0.0, np.inf, np.inf, OFF_NS, OFF_NS)


def _row(rule: ChannelRule | None) -> tuple[float, ...]:
    """Of a channel, in the order of _PER_CHANNEL."""
    if rule is None:
        return _ALL_OFF
    unlimited = (-np.inf, np.inf)
    return (
        *(rule.range or unlimited),
        *(rule.operating_range or unlimited),
        rule.max_rate_per_s or np.inf,
        _ns(rule.flat_s) if rule.flat_s else OFF_NS,
        rule.flat_band,
        rule.no_data_factor or np.inf,
        rule.quantum_factor or np.inf,
        _ns(rule.max_skew_s) if rule.max_skew_s else OFF_NS,
        _ns(rule.max_delay_s) if rule.max_delay_s else OFF_NS,
    )


def _ns(seconds: float) -> int:
    return min(round(seconds * 1e9), OFF_NS // 4)
