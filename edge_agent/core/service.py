"""Which models serve which assets: what a configuration, a hot swap and a failure change."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from edge_agent.config import EdgeConfig
from edge_agent.core.align import Frames
from edge_agent.core.catalogue import Catalogue
from edge_agent.core.entries import Configured, Withdrawn
from edge_agent.core.gateway_alarms import OUT_OF_SERVICE, PROVIDER, GatewayAlarms
from edge_agent.core.model import Model
from edge_agent.core.results import Results
from edge_agent.core.watch import Watch


class Service:
    """State: a watch for each model, and the gateway's alarms about them.

    `find_model` finds one by its digest; None: it is not to be had, and what it watched is not scored.
    """

    def __init__(self, find_model: Callable[[str], Model | None], catalogue: Catalogue, counts: Counter[str]) -> None:
        self._find_model, self._catalogue, self._counts = find_model, catalogue, counts
        self._watches: dict[str, Watch] = {}  # by digest
        self._alarms = GatewayAlarms()
        self._gateway = ""
        self._failures: dict[str, str] = {}

    @property
    def digests(self) -> frozenset[str]:
        """Of the models that the configuration names."""
        return frozenset(self._watches)

    def step(self, frames: Frames, results: Results) -> None:
        """Take frames; what becomes of them waits for `flush`."""
        for watch in self._watches.values():
            watch.step(frames, self._catalogue, results)

    def flush(self, results: Results) -> None:
        """Score all windows that wait."""
        for watch in self._watches.values():
            was_serving = not watch.failure
            watch.flush(self._catalogue, results)
            if was_serving and watch.failure:
                self._failures[watch.digest] = watch.failure

    def forget_windows(self) -> None:
        """Frames of another grid follow."""
        for watch in self._watches.values():
            watch.forget_windows()

    def configure(self, config: EdgeConfig, entry: Configured, results: Results) -> None:
        """Take over a configuration. No window may wait.

        An asset that changes from one watch to another takes along what means the same to both. All models are in
        service from here on.
        """
        self._gateway, self._failures = config.gateway, {}
        before = self._watches
        for watch in before.values():
            watch.grow(self._catalogue)
        watched = {digest: watch.is_watched for digest, watch in before.items()}
        wanted = {entry.digests.get(str(path), "") for rule in config.assets for path in rule.models} - {""}
        found = {digest: self._find_model(digest) for digest in sorted(wanted)}
        models = {digest: model for digest, model in found.items() if model is not None}
        self._watches = {d: before.get(d) or Watch(d, model, self._counts) for d, model in models.items()}
        for digest, watch in self._watches.items():
            watch.model, watch.failure = models[digest], ""
            watch.configure(_watches(config, entry, digest), config.inference, self._catalogue)
        nobody = np.zeros(len(self._catalogue.assets), bool)
        for digest, watch in self._watches.items():
            new = watch.is_watched & ~watched.get(digest, nobody)
            for other, old in before.items():
                if old is not watch:
                    watch.take_over(old, np.flatnonzero(new & watched[other]))
        for digest, old in before.items():
            stays = old.is_watched if digest in self._watches else nobody
            left = np.flatnonzero(watched[digest] & ~stays)
            old.leave(left, self._catalogue, entry.arrival_ns, results)
        messages = self._not_first(entry) | _refusals(entry)
        results.add_alarms(self._alarms.tell(config.gateway, entry.arrival_ns, messages))

    def withdraw(self, entry: Withdrawn, results: Results) -> None:
        """A model is out of service; unless it has been replaced meanwhile."""
        watch = self._watches.get(entry.digest)
        if watch is None:
            return
        watch.withdraw(entry.reason, self._catalogue, results)
        self._failures.pop(entry.digest, None)
        manifest = watch.manifest
        message = f"{manifest.name} {manifest.version} scores no windows: {entry.reason}"
        code = f"{OUT_OF_SERVICE}{manifest.name}"
        results.add_alarms(self._alarms.add(self._gateway, entry.arrival_ns, code, message))

    def take_failures(self) -> dict[str, str]:
        """Models that failed since the last call: digest -> why."""
        failures, self._failures = self._failures, {}
        return failures

    def snapshot(self) -> dict[str, Any]:
        """The whole state: not a copy."""
        return {"watches": [watch.snapshot() for watch in self._watches.values()], "alarms": self._alarms.open}

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from a snapshot, after `configure` with its configuration."""
        for each in saved["watches"]:
            if each["digest"] in self._watches:  # else its model is not to be had any more
                self._watches[each["digest"]].restore(each)
        self._alarms.open = {code: (opened, spoke, said) for code, (opened, spoke, said) in saved["alarms"].items()}

    def _not_first(self, entry: Configured) -> dict[str, str]:
        """The alarm about providers, when there is reason for one."""
        reasons = [
            f"{watch.manifest.name} {watch.manifest.version} runs on {engine.provider}: {engine.reason}"
            for digest, watch in self._watches.items()
            if (engine := entry.engines.get(digest)) is not None and engine.reason
        ]
        return {PROVIDER: "; ".join(sorted(reasons))} if reasons else {}


def _refusals(entry: Configured) -> dict[str, str]:
    """An alarm for each model whose file cannot be used."""
    said: dict[str, list[str]] = {}
    for path, refused in sorted(entry.refused.items()):
        digest = entry.digests.get(path)
        serves = f"{digest[:12]} of before serves" if digest else "scores no windows"
        said.setdefault(f"{OUT_OF_SERVICE}{refused.model}", []).append(f"{refused.model}: {serves}: {refused.reason}")
    return {code: "; ".join(messages) for code, messages in said.items()}


def _watches(config: EdgeConfig, entry: Configured, digest: str) -> Callable[[str], bool]:
    """Whether the model of this digest watches an asset."""

    def watches(asset: str) -> bool:
        rule = config.asset_rule(asset)
        return rule is not None and any(entry.digests.get(str(path)) == digest for path in rule.models)

    return watches
