"""The agent's models: from the files that a configuration names until nobody needs them any more.

    start, SIGHUP ─▶ load: read, check, keep, prove ─┬▶ adopt: the journal names them now
                     (beside what serves)            └▶ refuse: they go again
    journal ──────▶ find ─▶ pipeline ─▶ serve: what neither serves nor is adopted nor is being loaded is let go

A file that cannot be used (missing, cut, of a stranger, for other assets, on none of the providers) stops no agent:

    at the start      the bundle that served last for that file serves, if it is kept and trusted; else the model is
                      left out. The journal names file and reason; log, alarm and state tell.
    with a SIGHUP     all stays as it is, unless a model that runs is trusted no more: then as at the start. What is
                      out already keeps no reload from being taken over.

`load` runs in a thread of its own, `find` and `serve` in the pipeline's, all else in the event loop.
"""

import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import structlog

from edge_agent.adapters.inference import Adopted, ModelShelf
from edge_agent.config import EdgeConfig, Inference
from edge_agent.core.entries import Configured, Engine, Refused
from edge_agent.core.errors import NowhereError, StartError
from edge_agent.core.fitting import misfits, unlike_units
from edge_agent.core.model import Model, Unfit
from edge_agent.metrics import Metrics
from models.bundle import BundleError
from models.contract.config_errors import ConfigError
from models.contract.state import RefusedModel, RunningModel
from models.manifest import Manifest
from models.trust import Trust

_log = structlog.get_logger()
_CURE = "Once `tocsin edge check` passes, reload (SIGHUP)"
_CURE_HERE = "Once that is mended, restart; or name 'cpu' there as well"  # what a machine has is looked at once
_BRIEF, _BRIEFS = 150, 8000  # characters of a reason in the state, and of all: 64 KiB have to hold 200 models


class Loading(NamedTuple):
    """What became of the files of a configuration."""

    adopted: Mapping[Path, Adopted]
    refused: Mapping[Path, Refused]
    trust: Trust
    unlike_units: Sequence[str] = ()

    def entry(self, config: EdgeConfig, now_ns: int) -> Configured:
        """For the journal."""
        return Configured(
            arrival_ns=now_ns,
            config=config.model_dump_json(),
            digests={str(path): one.digest for path, one in self.adopted.items()},
            engines={one.digest: Engine(one.provider, one.reason) for one in self.adopted.values()},
            refused={str(path): one for path, one in self.refused.items()},
        )


class AgentModels:
    """Which bundles are in memory, and why. Raises StartError when ONNX Runtime is not there as it must be."""

    def __init__(self, folder: Path, settings: Inference, metrics: Metrics) -> None:
        self._shelf, self._metrics = ModelShelf(folder, settings, metrics=metrics), metrics
        self._loading = threading.Lock()  # nothing is let go while models are being loaded
        # Of the configuration that was loaded last, and of the one that the journal was told last.
        self._loaded = self._adopted = Loading({}, {}, self._shelf.trust)
        self._serving: Collection[str] = ()  # digests: of the one that the pipeline works with

    def load(self, config: EdgeConfig, source: Path, *, is_start: bool = False) -> Loading:
        """Check, keep, load and try the models of a configuration, which `source` names in what is said of it.

        Raises ConfigError, StartError; and, but at the start, BundleError.
        """
        rules = reversed(list(enumerate(config.assets)))  # of several that name a file the first is told
        keys = {path: f"assets[{i}].models" for i, rule in rules for path in rule.models}
        trust = Trust.read(config.inference.trusted_keys, allow_unsigned=config.inference.allow_unsigned)
        with self._loading:
            adopted, bad = self._shelf.adopt_each(sorted(keys), trust)
            cures = {path: _CURE_HERE for path, fault in bad.items() if isinstance(fault, NowhereError)}
            unfit = {path: f"{source}: {fault}" for path, fault in misfits(config, self._manifests(adopted)).items()}
            faults = {path: f"{source}: {keys[path]}: {fault}" for path, fault in bad.items()}
            wrong = faults | unfit
            last = {path: digest for path in wrong if (digest := self._shelf.kept.last(path))}
            names = self._names(wrong, last)
            adopted = {path: one for path, one in adopted.items() if path not in wrong}
            for path, one in self._shelf.adopt_kept(last, trust).adopted.items():
                if not misfits(config, self._manifests(adopted | {path: one})):
                    adopted[path] = one
            refused = {path: Refused(names[path], f"{why}. {cures.get(path, _CURE)}") for path, why in wrong.items()}
            found = Loading(adopted, refused, trust, unlike_units(config, self._manifests(adopted)))
            if not is_start:
                self._check_is_no_loss(found, faults, unfit)
            self._loaded = found
            with _unsettled():
                self._shelf.kept.expect([one.digest for one in adopted.values()])
        return self._loaded

    def adopt(self, now_ns: int, journal_from_ns: int) -> None:
        """The journal names those that were loaded last, since `now_ns`; its oldest entry is of `journal_from_ns`."""
        self._adopted = now = self._loaded
        self._shelf.rely_on(now.trust)
        self._metrics.provider.clear()
        for one in now.adopted.values():
            self._metrics.provider.labels(one.provider).set(1)
            if one.reason:
                _log.warning("the first provider is not in use", used=one.provider, reason=one.reason)
        if now.unlike_units:
            _log.warning("inputs of models may be in other units than their channels", found=now.unlike_units)
        for path, refused in now.refused.items():
            digest = self._serves(path)
            instead = "the bundle of before serves" if digest else "it scores nothing"
            event = f"a model's file cannot be used: {instead}"
            known = {"serves": digest} if digest else {}
            _log.error(event, model=refused.model, file=str(path), reason=refused.reason, **known)
        # A file that is left out may serve again, when its bundle of before is trusted or fits again.
        out = {path: digest for path in now.refused if (digest := self._shelf.kept.last(path))}
        serves = out | {path: one.digest for path, one in now.adopted.items()}
        with _unsettled():
            self._shelf.kept.settle(serves, now_ns, journal_from_ns)

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
        adopted = {one.digest: one for one in self._adopted.adopted.values()}
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
    def refused(self) -> tuple[RefusedModel, ...]:
        """Those of which the same configuration's file cannot be used."""
        refused = self._adopted.refused
        brief = min(_BRIEF, _BRIEFS // max(1, len(refused)))
        return tuple(
            RefusedModel(name=one.model, reason=one.reason[:brief], serves=self._serves(path))
            for path, one in refused.items()
        )

    @property
    def names(self) -> list[str]:
        """The same for the log: two models of one name and version are told apart by their digests."""
        return [f"{one.name} {one.version} ({one.digest[:12]}) on {one.provider}" for one in self.running]

    @property
    def is_first(self) -> bool | None:
        """Whether each runs on the first provider that is wanted; None: there are no models."""
        adopted = self._adopted.adopted
        return not any(one.reason for one in adopted.values()) if adopted else None

    def _check_is_no_loss(self, found: Loading, faults: Mapping[Path, str], unfit: Mapping[Path, str]) -> None:
        """A reload takes no model out of service but one that is trusted no more. Raises BundleError, ConfigError."""
        now = self._adopted
        # Of what was refused before, only a bundle of before that would go out as well.
        known = now.refused.keys() - (now.adopted.keys() - found.adopted.keys())
        bad, misfit = ([why for path, why in each.items() if path not in known] for each in (faults, unfit))
        if not (bad or misfit):
            return
        if all(self._shelf.is_trusted(one.digest, found.trust) for one in now.adopted.values()):
            raise BundleError("\n".join(bad)) if bad else ConfigError("\n".join(misfit))

    def _manifests(self, adopted: Mapping[Path, Adopted]) -> dict[Path, Manifest]:
        return {path: self._shelf.find(one.digest).manifest for path, one in adopted.items()}

    def _names(self, paths: Iterable[Path], last: Mapping[Path, str]) -> dict[Path, str]:
        """What the models of these files were called before; of one that never served the file's name."""
        names = {path: path.stem for path in paths}
        for path, digest in last.items():
            with suppress(BundleError):
                names[path] = self._shelf.manifest(digest).name
        return names

    def _serves(self, path: Path) -> str:
        one = self._adopted.adopted.get(path)
        return one.digest if one else ""

    def _let_go(self) -> None:
        """Unload what nobody needs. Not while others are being loaded: what follows that comes here again."""
        if self._loading.acquire(blocking=False):
            try:
                needed = {one.digest for each in (self._adopted, self._loaded) for one in each.adopted.values()}
                self._shelf.keep_only(needed.union(self._serving))
            finally:
                self._loading.release()


@contextmanager
def _unsettled() -> Iterator[None]:
    """A full disk keeps no model from serving."""
    try:
        yield
    except OSError as error:
        _log.warning("what is known of the kept models cannot be written now", error=str(error))
