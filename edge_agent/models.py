"""The agent's models: from the files that a configuration names until nobody needs them any more.

    start, SIGHUP ─▶ load: read, check, keep, prove ─┬▶ adopt: the journal names them now
                     (beside what serves)            └▶ refuse: they go again
    journal ──────▶ find ─▶ pipeline ─▶ serve: what neither serves nor is adopted nor is being loaded is let go

`load` runs in a thread of its own, `find` and `serve` in the pipeline's, all else in the event loop.
"""

import threading
from collections.abc import Collection, Mapping
from pathlib import Path

import structlog

from edge_agent.adapters.inference import Adopted, ModelShelf
from edge_agent.config import EdgeConfig, Inference
from edge_agent.core.errors import StartError
from edge_agent.core.fitting import faults
from edge_agent.core.model import Model, Unfit
from edge_agent.metrics import Metrics
from models.bundle import BundleError
from models.contract.config_errors import ConfigError
from models.contract.state import RunningModel

_log = structlog.get_logger()


class AgentModels:
    """Which bundles are in memory, and why. Raises StartError when ONNX Runtime is not there as it must be."""

    def __init__(self, folder: Path, settings: Inference, metrics: Metrics) -> None:
        self._shelf, self._metrics = ModelShelf(folder, settings, metrics=metrics), metrics
        self._loading = threading.Lock()  # nothing is let go while models are being loaded
        # By digest: of the configuration that was loaded last, and of the one that the journal was told last.
        self._loaded: Mapping[str, Adopted] = {}
        self._adopted: Mapping[str, Adopted] = {}
        self._serving: Collection[str] = ()  # digests: of the one that the pipeline works with

    def load(self, config: EdgeConfig, source: Path) -> dict[str, Adopted]:
        """Check, keep, load and try the models of a configuration; path -> what became of it.

        `source` names the configuration in errors. Raises BundleError, StartError, ConfigError.
        """
        paths = sorted({path for rule in config.assets for path in rule.models})
        with self._loading:
            found = self._shelf.adopt_all(paths)
            manifests = {path: self._shelf.find(one.digest).manifest for path, one in found.items()}
            if wrong := faults(config, manifests):
                raise ConfigError("\n".join(f"{source}: {fault}" for fault in wrong))
            self._loaded = {one.digest: one for one in found.values()}
        return {str(path): one for path, one in found.items()}

    def adopt(self) -> None:
        """The journal names those that were loaded last."""
        self._adopted = self._loaded
        self._metrics.provider.clear()
        for one in self._adopted.values():
            self._metrics.provider.labels(one.provider).set(1)
            if one.reason:
                _log.warning("the first provider is not in use", used=one.provider, reason=one.reason)

    def refuse(self) -> None:
        """The journal was not told of those that were loaded last."""
        self._loaded = self._adopted
        self._let_go()

    def serve(self, digests: Collection[str]) -> None:
        """The pipeline works with these from here on."""
        self._serving = digests
        self._let_go()

    def find(self, digest: str) -> Model | None:
        """A model of the journal; None: there is none.

        One that cannot or may not be run any more keeps no agent from starting: it is there, and scores nothing.
        """
        try:
            return self._shelf.find(digest)
        except (BundleError, StartError) as error:
            reason = str(error)
        _log.error("what the journal has for this model is not scored", digest=digest, error=reason)
        try:
            return Unfit(self._shelf.manifest(digest), reason)
        except BundleError:
            return None

    @property
    def running(self) -> tuple[RunningModel, ...]:
        """Those that the journal was told of last, for the agent's state."""
        adopted = self._adopted
        return tuple(
            RunningModel(
                name=model.manifest.name,
                version=model.manifest.version,
                digest=model.digest,
                provider=adopted[model.digest].provider,
                provider_reason=adopted[model.digest].reason,
            )
            for model in self._shelf.models
            if model.digest in adopted
        )

    @property
    def names(self) -> list[str]:
        """The same for the log: two models of one name and version are told apart by their digests."""
        return [f"{one.name} {one.version} ({one.digest[:12]}) on {one.provider}" for one in self.running]

    @property
    def is_first(self) -> bool | None:
        """Whether each runs on the first provider that is wanted; None: there are no models."""
        adopted = self._adopted
        return not any(one.reason for one in adopted.values()) if adopted else None

    def _let_go(self) -> None:
        """Unload what nobody needs. Not while others are being loaded: what follows that comes here again."""
        if self._loading.acquire(blocking=False):
            try:
                self._shelf.keep_only({*self._serving, *self._adopted, *self._loaded})
            finally:
                self._loading.release()
