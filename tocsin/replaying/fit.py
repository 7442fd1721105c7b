"""Whether data name what models take: bundles of earlier versions call columns otherwise than the data do."""

from collections.abc import Iterator, Mapping

from edge_agent.config import EdgeConfig
from models.bundle import BundleError, read_bundle
from models.contract.topics import clean_name


def renamed_inputs(settings: EdgeConfig, seen: Mapping[str, set[str]]) -> Iterator[str]:
    """A sentence for each model whose missing inputs are there under the names of their columns.

    `seen`: the channels of each asset.
    """
    told: set[str] = set()
    for asset, channels in sorted(seen.items()):
        rule = settings.asset_rule(asset)
        cleaned = {clean_name(name): name for name in sorted(channels)}
        for path in rule.models if rule else ():
            try:
                manifest = read_bundle(path).manifest
            except BundleError:  # a journal's own models ran; the file of CONFIG may be gone
                continue
            missing = [one.name for one in manifest.channels if one.name not in channels]
            wanted = next((name for name in missing if name in cleaned), None)
            if wanted is not None and manifest.name not in told:
                told.add(manifest.name)
                yield (
                    f"model {manifest.name!r} takes {wanted!r}, {asset!r} has {cleaned[wanted]!r}: "
                    f"train {path.name} again, for names of columns stand as they are now"
                )
