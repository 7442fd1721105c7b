"""Whether models fit the assets that they are to watch."""

import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path

from edge_agent.config import AssetRule, EdgeConfig
from edge_agent.core.derive.kinds import is_source
from models.manifest import Manifest


def misfits(config: EdgeConfig, manifests: Mapping[Path, Manifest]) -> dict[Path, str]:
    """Models that cannot stay, and why: a model's grid must be its assets', and their alarms go by the models' names.

    Of models of one name the first that fits may stay. Those that `manifests` lacks are not judged.
    """
    found: dict[Path, str] = {}
    for i, rule in enumerate(config.assets):
        where = f"assets[{i}].models"
        known = [(path, manifests[path]) for path in rule.models if path in manifests]
        names, stay = [manifest.name for _, manifest in known], set[str]()
        for path, manifest in known:
            if manifest.sample_period_s != rule.period_s:
                grid = f"was trained on a grid of {manifest.sample_period_s:g} s; period_s is {rule.period_s:g}"
                found.setdefault(path, f"{where}: {path.name} {grid}")
            elif manifest.name in stay:
                count = names.count(manifest.name)
                also = f"{count} models are named {manifest.name}, and an asset's alarms go by that name: keep one"
                found.setdefault(path, f"{where}: {also}")
            else:
                stay.add(manifest.name)
    return found


def namesakes(manifests: Mapping[Path, Manifest]) -> list[str]:
    """A sentence for each name and version that two different models share: nobody can tell their metrics apart."""
    found: dict[tuple[str, str], list[Path]] = {}
    for path, manifest in manifests.items():
        found.setdefault((manifest.name, manifest.version), []).append(path)
    return [
        f"{', '.join(path.name for path in paths)} are different models that are all named {name} {version}: metrics "
        "and alarms go by the name; train them with other names"
        for (name, version), paths in found.items()
        if any(manifests[path] != manifests[paths[0]] for path in paths)
    ]


def unlike_units(config: EdgeConfig, manifests: Mapping[Path, Manifest]) -> list[str]:
    """A sentence for each input whose model was trained in another unit than the configuration gives its channel.

    Only a person knows whether these are two spellings of one: none is an error. A side without a unit is not judged.
    Assets of a pattern are judged by the rules that name the pattern, or assets of it.
    """
    found: dict[str, None] = {}  # in order, each once
    for rule in config.assets:
        assets = list(_known_assets(config, rule))
        for path in rule.models:
            for channel in manifests[path].channels if path in manifests else ():
                for asset in assets:
                    unit = _unit(config, rule, asset, channel.name)
                    if channel.unit and unit and _plain(channel.unit) != _plain(unit):
                        trained = f"{path.name} was trained on {channel.name} in {channel.unit}"
                        found[f"{trained}; the configuration has {asset}/{channel.name} in {unit}"] = None
    return list(found)


def _known_assets(config: EdgeConfig, rule: AssetRule) -> Iterator[str]:
    """Names, or patterns that stand for them, to which this rule applies."""
    names = [rule.match, *(channel.match.partition("/")[0] for channel in config.channels)]
    return (name for name in dict.fromkeys(names) if config.asset_rule(name) is rule)


def _unit(config: EdgeConfig, rule: AssetRule, asset: str, channel: str) -> str:
    """Of a channel; empty: unknown, as of features, whose units are not those of what they are of."""
    derived = {each.channel: each.unit for each in rule.derived}
    declared = config.channel_rule(asset, channel) if is_source(channel) else None
    return derived.get(channel) or (declared.unit if declared and declared.kind == "value" else "")


def _plain(unit: str) -> str:
    """Without what is only writing. Case is more: mW and MW are two units."""
    return unicodedata.normalize("NFKC", unit).replace("°", "deg").replace(" ", "")
