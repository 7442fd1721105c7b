"""Whether models fit the assets that they are to watch."""

from collections.abc import Mapping
from pathlib import Path

from edge_agent.config import EdgeConfig
from models.manifest import Manifest


def faults(config: EdgeConfig, manifests: Mapping[Path, Manifest]) -> list[str]:
    """What is wrong, a line each: a model's grid must be its assets', and their alarms go by the models' names."""
    found = []
    for i, rule in enumerate(config.assets):
        where = f"assets[{i}].models"
        found += [
            f"{where}: {path.name} was trained on a grid of {manifests[path].sample_period_s:g} s;"
            f" period_s is {rule.period_s:g}"
            for path in rule.models
            if manifests[path].sample_period_s != rule.period_s
        ]
        names = [manifests[path].name for path in rule.models]
        found += [
            f"{where}: {names.count(name)} models are named {name}, and an asset's alarms go by that name: keep one"
            for name in sorted(set(names))
            if names.count(name) > 1
        ]
    return found
