"""Whether models fit the assets that they are to watch."""

from collections.abc import Mapping
from pathlib import Path

from edge_agent.config import EdgeConfig
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
