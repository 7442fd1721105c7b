"""Which virtual channels an asset has. They have no rule of their own, and no sensor."""

from edge_agent.config.assets import AssetRule, Features
from edge_agent.core.derive.kinds import REGIME, is_source


def virtual(rule: AssetRule, channel: str) -> list[str]:
    """The virtual channels that an asset with that rule has as soon as it has `channel`, each after its sources.

    Cost: O(what the rule declares). A feature has no features, and the regime has none.
    """
    if not is_source(channel):
        return []
    own = [group.fused for group in rule.redundant if group.fused] + [each.channel for each in rule.derived]
    names = []
    for name in (channel, *(name for name in own if name != channel)):
        names += [name] if name in own else []
        names += [f.name(name, give) for f in rule.features if is_taken(f, name) for give in f.give]
    return [*names, REGIME] if rule.regimes else names


def is_taken(features: Features, channel: str) -> bool:
    """Whether these are features of that channel."""
    return features.of == channel or (features.of == "*" and is_source(channel))


def is_virtual(rule: AssetRule, channel: str) -> bool:
    """Whether the rule gives a channel of that name: then no sensor may."""
    if channel == REGIME:
        return bool(rule.regimes)
    own = {group.fused for group in rule.redundant} | {each.channel for each in rule.derived}
    return channel in own or (bool(rule.features) and not is_source(channel))
