"""Bundles by digest in one folder, so that a journal can be replayed with the models it was made with."""

import os
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import structlog

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


class ModelShelf:
    """Keeps bundles, and loads them once each. Raises StartError when ONNX Runtime is not there as it must be."""

    def __init__(
        self, folder: Path, settings: Inference, *, metrics: Metrics | None = None, runtime: Runtime | None = None
    ) -> None:
        check_wheels()
        self._folder, self._settings = folder, settings
        self._loaded: dict[str, OnnxModel] = {}
        self._trust = Trust.read(settings.trusted_keys, allow_unsigned=settings.allow_unsigned)
        if settings.allow_unsigned:
            _log.warning("models are run whoever made them: inference.allow_unsigned is set")
        self._runtime = runtime or OnnxRuntime(settings, folder / "tensorrt")
        self._bounds, self._metrics = Bounds(), metrics or Metrics()

    def adopt(self, path: Path) -> Adopted:
        """As `adopt_all`, of one."""
        return self.adopt_all([path])[path]

    def adopt_all(self, paths: Iterable[Path]) -> dict[Path, Adopted]:
        """Check bundles, keep copies, load them; one that is out of service gets another chance.

        All copies are on disk for good when this returns. Raises BundleError, StartError.
        """
        # The disk takes as long as the proofs do, and writes some files as fast as one.
        with ThreadPoolExecutor(_WRITERS, thread_name_prefix="keep-bundle") as disk:
            keeping: dict[str, Future[None]] = {}
            adopted = {path: self._adopt(path, disk, keeping) for path in paths}
            for kept in keeping.values():
                kept.result()
        if keeping:
            _sync(self._folder)
        return adopted

    def _adopt(self, path: Path, disk: ThreadPoolExecutor, keeping: dict[str, Future[None]]) -> Adopted:
        bundle = read_bundle(path, self._trust.check)
        digest, content = bundle.digest, bundle.to_bytes()
        if digest not in keeping and not _holds(self._kept(digest), content):
            keeping[digest] = disk.submit(self._keep, content, self._kept(digest))
        model = self._loaded.get(digest)
        if model is None or model.failure:
            model = self._loaded[digest] = self._load(bundle)
        required = self._settings.require
        if required and model.provider != required:
            # Without a reason it is on the first that was wanted, which is another one.
            why = model.reason or self._runtime.why_not(required) or "it comes first in inference.providers"
            msg = f"inference.require = {required!r}, but {path} runs on {model.provider}: {why}"
            raise StartError(msg)
        return Adopted(digest, model.provider, model.reason)

    def find(self, digest: str) -> OnnxModel:
        """The model of a digest. Raises BundleError when the shelf has none, StartError when it runs nowhere."""
        model = self._loaded.get(digest)  # looked up once: another thread may unload it meanwhile
        if model is None:
            model = self._loaded[digest] = self._load(self._read_kept(digest))
        return model

    def manifest(self, digest: str) -> Manifest:
        """Of a kept bundle, whoever signed it: to say what it was, not to run it. Raises BundleError."""
        return self._read_kept(digest, is_to_run=False).manifest

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

    def _load(self, bundle: Bundle) -> OnnxModel:
        digest = bundle.digest  # and not the bundle, whose parts would stay in memory
        return OnnxModel(
            bundle,
            self._settings,
            runtime=self._runtime,
            bounds=self._bounds,
            metrics=self._metrics,
            read=lambda: self._read_kept(digest).model,
        )

    def _read_kept(self, digest: str, *, is_to_run: bool = True) -> Bundle:
        """A kept bundle that is still what was kept, and, to be run, of a signer still trusted. Raises BundleError."""

        def vouch(bundle: Bundle, label: str) -> None:
            if bundle.digest != digest:
                msg = f"{label}: is another bundle, {bundle.digest}: it was exchanged"
                raise BundleError(msg)
            if is_to_run:
                self._trust.check(bundle, label)

        return read_bundle(self._kept(digest), vouch)

    def _keep(self, content: bytes, kept: Path) -> None:
        """In one step: after a power cut it is whole or not there."""
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = kept.with_suffix(".partial")
        with partial.open("wb") as copy:
            copy.write(content)
            copy.flush()
            os.fsync(copy.fileno())
        partial.replace(kept)

    def _kept(self, digest: str) -> Path:
        return self._folder / f"{digest}.bundle"


def _sync(folder: Path) -> None:
    """What has been put into a folder stays there after a power cut."""
    opened = os.open(folder, os.O_RDONLY)
    os.fsync(opened)
    os.close(opened)


def _holds(file: Path, content: bytes) -> bool:
    try:
        return file.read_bytes() == content
    except OSError:
        return False
