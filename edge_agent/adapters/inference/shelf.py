"""The models that are in memory: bundles are checked, kept (kept.py), loaded once each, and let go."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import structlog

from edge_agent.adapters.inference.kept import KeptBundles
from edge_agent.adapters.inference.loading import Bounds
from edge_agent.adapters.inference.model import OnnxModel
from edge_agent.adapters.inference.runtime import OnnxRuntime, Runtime
from edge_agent.adapters.inference.wheels import check_wheels
from edge_agent.config import Inference
from edge_agent.core.errors import StartError
from edge_agent.metrics import Metrics
from models.bundle import Bundle, BundleError, read_bundle
from models.manifest import Manifest
from models.trust import Trust

_log = structlog.get_logger()
_WRITERS = 8  # that wait for the disk


class Adopted(NamedTuple):
    """A model that is kept and loaded."""

    digest: str
    provider: str  # that it was proved to run on
    reason: str  # why that is not the first one wanted; empty: it is


class Adoption(NamedTuple):
    """What became of some files."""

    adopted: dict[Path, Adopted]
    refused: dict[Path, BundleError]  # why


class ModelShelf:
    """Keeps bundles, and loads them once each. Raises StartError when ONNX Runtime is not there as it must be.

    `trust` says whose models are run: the keys of the settings, until `rely_on` takes others.
    """

    def __init__(
        self, folder: Path, settings: Inference, *, metrics: Metrics | None = None, runtime: Runtime | None = None
    ) -> None:
        check_wheels()
        self.kept, self._settings = KeptBundles(folder), settings
        self._loaded: dict[str, OnnxModel] = {}
        self.trust = Trust({})
        self.rely_on(Trust.read(settings.trusted_keys, allow_unsigned=settings.allow_unsigned))
        self._runtime = runtime or OnnxRuntime(settings, folder / "tensorrt")
        self._bounds, self._metrics = Bounds(), metrics or Metrics()

    def rely_on(self, trust: Trust) -> None:
        """From here on."""
        if trust.allow_unsigned and not self.trust.allow_unsigned:
            _log.warning("models are run whoever made them: inference.allow_unsigned is set")
        self.trust = trust

    def adopt(self, path: Path) -> Adopted:
        """As `adopt_all`, of one."""
        return self.adopt_all([path])[path]

    def adopt_all(self, paths: Iterable[Path]) -> dict[Path, Adopted]:
        """As `adopt_each`. Raises BundleError, a line each, when some are refused."""
        adopted, refused = self.adopt_each(paths, self.trust)
        if refused:
            raise BundleError("\n".join(map(str, refused.values())))
        return adopted

    def adopt_each(self, paths: Iterable[Path], trust: Trust) -> Adoption:
        """Check bundles, keep copies, load them; one that is out of service gets another chance.

        All copies are on disk for good when this returns. Raises StartError.
        """
        adopted: dict[Path, Adopted] = {}
        refused: dict[Path, BundleError] = {}
        # The disk takes as long as the proofs do, and writes some files as fast as one.
        with ThreadPoolExecutor(_WRITERS, thread_name_prefix="keep-bundle") as disk:
            keeping: dict[str, Future[None]] = {}
            for path in paths:
                try:
                    bundle = read_bundle(path, trust.check)
                    self._start_keeping(bundle, disk, keeping)
                    adopted[path] = self._adopt(bundle, str(path))
                except BundleError as error:
                    refused[path] = error
        faults = self._make_durable(keeping)
        for path, one in adopted.items():
            if one.digest in faults:
                cure = "make room, or give the agent the right to write"
                refused[path] = BundleError(f"{path}: no copy can be kept: {faults[one.digest]}: {cure}")
        return Adoption({path: one for path, one in adopted.items() if path not in refused}, refused)

    def adopt_kept(self, digests: Mapping[Path, str], trust: Trust) -> Adoption:
        """Load kept bundles in place of files. Raises StartError."""
        adopted: dict[Path, Adopted] = {}
        refused: dict[Path, BundleError] = {}
        for path, digest in digests.items():
            try:
                adopted[path] = self._adopt(self._read_kept(digest, trust), f"the bundle of before for {path}")
            except BundleError as error:
                refused[path] = error
        return Adoption(adopted, refused)

    def is_trusted(self, digest: str, trust: Trust) -> bool:
        """Whether a kept bundle may be run."""
        try:
            self._read_kept(digest, trust)
        except BundleError:
            return False
        return True

    def find(self, digest: str) -> OnnxModel:
        """The model of a digest. Raises BundleError when the shelf has none, StartError when it runs nowhere."""
        model = self._loaded.get(digest)  # looked up once: another thread may unload it meanwhile
        if model is None:
            model = self._loaded[digest] = self._load(self._read_kept(digest, self.trust))
        return model

    def manifest(self, digest: str) -> Manifest:
        """Of a kept bundle, whoever signed it: to say what it was, not to run it. Raises BundleError."""
        return self._read_kept(digest).manifest

    def keep_only(self, digests: Collection[str]) -> None:
        """Unload all others. They stay in the folder, for a replay."""
        for digest in set(self._loaded) - set(digests):  # not over the table itself: another thread may adopt
            self._loaded.pop(digest, None)
        self._metrics.model_memory.clear()
        for model in self.models:
            model.report_memory()

    @property
    def models(self) -> Sequence[OnnxModel]:
        """The loaded ones."""
        return list(self._loaded.values())

    def _start_keeping(self, bundle: Bundle, disk: ThreadPoolExecutor, keeping: dict[str, Future[None]]) -> None:
        digest, content = bundle.digest, bundle.to_bytes()
        if digest not in keeping and not self.kept.holds(digest, content):
            keeping[digest] = disk.submit(self.kept.keep, digest, content)

    def _make_durable(self, keeping: Mapping[str, Future[None]]) -> dict[str, BaseException]:
        """Digests that are not on disk for good, and why."""
        faults = {digest: fault for digest, kept in keeping.items() if (fault := kept.exception())}
        if keeping.keys() - faults:
            try:
                self.kept.sync()
            except OSError as error:
                return dict.fromkeys(keeping, error)
        return faults

    def _adopt(self, bundle: Bundle, label: str) -> Adopted:
        digest = bundle.digest
        model = self._loaded.get(digest)
        if model is None or model.failure:
            model = self._loaded[digest] = self._load(bundle)
        required = self._settings.require
        if required and model.provider != required:
            # Without a reason it is on the first that was wanted, which is another one.
            why = model.reason or self._runtime.why_not(required) or "it comes first in inference.providers"
            msg = f"inference.require = {required!r}, but {label} runs on {model.provider}: {why}"
            raise StartError(msg)
        return Adopted(digest, model.provider, model.reason)

    def _load(self, bundle: Bundle) -> OnnxModel:
        digest = bundle.digest  # and not the bundle, whose parts would stay in memory
        return OnnxModel(
            bundle,
            self._settings,
            runtime=self._runtime,
            bounds=self._bounds,
            metrics=self._metrics,
            read=lambda: self._read_kept(digest, self.trust).model,
        )

    def _read_kept(self, digest: str, trust: Trust | None = None) -> Bundle:
        """A kept bundle that is still what was kept, and, to be run, of a signer still trusted. Raises BundleError."""

        def vouch(bundle: Bundle, label: str) -> None:
            if bundle.digest != digest:
                msg = f"{label}: is another bundle, {bundle.digest}: it was exchanged"
                raise BundleError(msg)
            if trust is not None:
                trust.check(bundle, label)

        return self.kept.read(digest, vouch)
