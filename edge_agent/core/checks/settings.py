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

    They hold for one configuration: another one needs new settings. `extend` looks only at channels that are new.
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
        # Which channels have each check: [channels], or all or none of them.
        self.has_range: Flags | bool = False
        self.has_operating_range: Flags | bool = False
        self.has_clock: Flags | bool = False
        self.has_rate: Flags | bool = False
        self.has_flat: Flags | bool = False
        self.has_no_data: Flags | bool = False
        self.has_quantum: Flags | bool = False
        self.has_group: Flags | bool = False

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
            array = grown(getattr(self, name), len(channels), 0)
            array[known:] = column
            setattr(self, name, array)
        self.asset_of = asset_of
        assets = max(assets_known, int(asset_of[known:].max()) + 1)
        self.asset_skew_ns = grown(self.asset_skew_ns, assets, OFF_NS)
        np.minimum.at(self.asset_skew_ns, asset_of[known:], self.max_skew_ns[known:])
        self.asset_delay_ns = grown(self.asset_delay_ns, assets, OFF_NS)
        np.minimum.at(self.asset_delay_ns, asset_of[known:], self.max_delay_ns[known:])
        owners = zip(asset_of[known:].tolist(), new, strict=True)
        self._declare(list(dict.fromkeys(key[0] for asset, key in owners if asset >= assets_known)))
        self.group = grown(self.group, len(channels), -1)
        for number, key in enumerate(new, known):
            if key in self._places:
                group, place = self._places[key]
                self.group[number], self.members[group, place] = group, number
        self._use(known)

    def _declare(self, assets: Sequence[str]) -> None:
        """The groups of redundant channels of new assets. A channel that stands in two belongs to the first."""
        rules = ((asset, self._config.asset_rule(asset)) for asset in assets)
        more = [(asset, rule, declared) for asset, rule in rules if rule for declared in rule.redundant]
        if not more:
            return
        for group, (asset, _, declared) in enumerate(more, len(self.members)):
            for place, name in enumerate(declared.of):
                self._places.setdefault((asset, name), (group, place))
        wider = max(max(len(declared.of) for *_, declared in more) - self.members.shape[1], 0)
        self.members = np.pad(self.members, ((0, len(more)), (0, wider)), constant_values=-1)
        self.max_difference = np.append(self.max_difference, [declared.max_difference for *_, declared in more])
        self.hold_ns = np.append(self.hold_ns, [_ns(rule.hold_s) for _, rule, _ in more])

    def _use(self, known: int) -> None:
        """Bring up to date which channels have each check; those from `known` on are new."""
        self.has_range = _joined(self.has_range, known, np.isfinite(self.low[known:]))
        self.has_operating_range = _joined(self.has_operating_range, known, np.isfinite(self.operating_low[known:]))
        self.has_clock = _joined(self.has_clock, known, self.max_skew_ns[known:] < OFF_NS)
        self.has_rate = _joined(self.has_rate, known, np.isfinite(self.max_rate_per_s[known:]))
        self.has_flat = _joined(self.has_flat, known, self.flat_ns[known:] < OFF_NS)
        self.has_no_data = _joined(self.has_no_data, known, np.isfinite(self.no_data_factor[known:]))
        self.has_quantum = _joined(self.has_quantum, known, np.isfinite(self.quantum_factor[known:]))
        self.has_group = _joined(self.has_group, known, self.group[known:] >= 0)


def _joined(before: Flags | bool, known: int, new: Flags) -> Flags | bool:
    """With the new ones behind those that are known."""
    alike = bool((new == new[0]).all())
    if alike and (not known or before is bool(new[0])):
        return bool(new[0])
    flags = grown(np.full(known, before) if isinstance(before, bool) else before, known + len(new), 0)
    flags[known:] = new
    return flags


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
