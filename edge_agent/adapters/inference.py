"""Models on ONNX Runtime, kept on the gateway by the digest of their graph.

The provider in use is read from a session that was made, not from the list of what the wheel was built
with: that list names CUDA on a machine without any. One thread a session: parallelism is over models.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from edge_agent.config import Inference
from edge_agent.core.decide import Scores
from edge_agent.core.errors import StartError
from models.bundle import Bundle, BundleError, read_bundle

_log = structlog.get_logger()
_BATCH = 256  # larger batches gain nothing on a CPU and cost memory
_PROOF = (33, 32, 7, 2)  # windows: sizes whose remainders take other ways through a kernel
_PROVIDERS = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}
_NAMES = {value: key for key, value in _PROVIDERS.items()}


class OnnxModel:
    """One loaded bundle. Scores do not depend on how windows are batched: a graph whose do is run window by window.

    Kernels may add up the rows of a matrix in an order that depends on how many there are. The last bits then differ
    between a live minute and its replay, so that is tried once, when the model is loaded.
    """

    def __init__(self, bundle: Bundle, settings: Inference) -> None:
        import onnxruntime as ort  # noqa: PLC0415 - `check` and the aggregator must work without it

        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        available = ort.get_available_providers()
        wanted = [_PROVIDERS[name] for name in settings.providers if _PROVIDERS[name] in available]
        try:
            self._session = ort.InferenceSession(
                bundle.model, options, providers=wanted or list(_PROVIDERS.values())[1:]
            )
        except Exception as error:
            msg = f"model {bundle.manifest.name} {bundle.manifest.version}: ONNX Runtime refuses it: {error}"
            raise BundleError(msg) from error
        self.manifest = bundle.manifest
        self.provider = _NAMES.get(self._session.get_providers()[0], "unknown")
        self._batch = _BATCH if self._prove() else 1

    def score(self, frames: NDArray[np.float32]) -> Scores:
        """frames: float32 [n, window, channels] -> outputs float64 [n]."""
        step = self._batch
        parts = [self._run(frames[start : start + step]) for start in range(0, len(frames), step)]
        columns = [np.concatenate(column).astype(np.float64) for column in zip(*parts, strict=True)]
        outputs = dict(zip(self.manifest.outputs, columns, strict=True))
        contribution = outputs.pop("contribution", None)
        return Scores({name: column.reshape(-1) for name, column in outputs.items()}, contribution)

    def _run(self, frames: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        found: list[NDArray[np.float32]] = self._session.run(list(self.manifest.outputs), {"window": frames})
        return found

    def _prove(self) -> bool:
        """Runs before it serves: what does not work must show now. Whether windows are independent of their batch."""
        shape = (_PROOF[0], self.manifest.window, self.manifest.width)
        frames = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        try:
            alone = [self._run(frames[i : i + 1]) for i in range(len(frames))]
            batches = [self._run(frames[:size]) for size in _PROOF]
        except Exception as error:
            msg = f"model {self.manifest.name} {self.manifest.version}: a test run failed: {error}"
            raise BundleError(msg) from error
        singles = [np.concatenate(column) for column in zip(*alone, strict=True)]
        is_independent = all(
            np.array_equal(single[:size], column, equal_nan=True)
            for size, batch in zip(_PROOF, batches, strict=True)
            for single, column in zip(singles, batch, strict=True)
        )
        if not is_independent:
            name = f"{self.manifest.name} {self.manifest.version}"
            _log.warning("the model's scores depend on the batch: its windows are run one by one", model=name)
        return is_independent


class ModelShelf:
    """Bundles by digest in one folder, so that a journal can be replayed with the models it was made with."""

    def __init__(self, folder: Path, settings: Inference) -> None:
        self._folder, self._settings = folder, settings
        self._loaded: dict[str, OnnxModel] = {}
        _check_wheels()

    def adopt(self, path: Path) -> str:
        """Check a bundle, keep a copy, load it. Returns its digest. Raises BundleError, StartError."""
        digest = read_bundle(path).manifest.digest
        if not _is_sound(self._kept(digest), digest):
            self._keep(path, self._kept(digest))
        model = self.find(digest)
        if self._settings.require and model.provider != self._settings.require:
            msg = (
                f"inference.require = {self._settings.require!r}, but {path} runs on {model.provider}:"
                " install the extra tocsin[gpu] and a CUDA 13 driver, or drop `require`"
            )
            raise StartError(msg)
        if model.provider != self._settings.providers[0]:
            _log.info("the first provider is not in use", wanted=self._settings.providers[0], used=model.provider)
        return digest

    def find(self, digest: str) -> OnnxModel:
        """The model of a digest. Raises BundleError when the shelf has none."""
        if digest not in self._loaded:
            self._loaded[digest] = OnnxModel(read_bundle(self._kept(digest)), self._settings)
        return self._loaded[digest]

    @property
    def models(self) -> Sequence[OnnxModel]:
        """The loaded ones."""
        return list(self._loaded.values())

    def _keep(self, path: Path, kept: Path) -> None:
        """In one step, and for good: after a power cut it is whole or not there."""
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = kept.with_suffix(".partial")
        with partial.open("wb") as copy:
            copy.write(path.read_bytes())
            copy.flush()
            os.fsync(copy.fileno())
        partial.replace(kept)
        folder = os.open(self._folder, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)

    def _kept(self, digest: str) -> Path:
        return self._folder / f"{digest}.bundle"


def onnx_runtime_version() -> str:
    """Of the wheel that is installed, with its kind: 'onnxruntime-gpu 1.22.0'; empty = none is."""
    return next((f"{name} {found}" for name, found in _wheels().items()), "")


def _is_sound(kept: Path, digest: str) -> bool:
    try:
        return read_bundle(kept).manifest.digest == digest
    except BundleError:
        return False


def _check_wheels() -> None:
    found = _wheels()
    if len(found) > 1:
        cure = "pip uninstall -y onnxruntime onnxruntime-gpu, then install one of tocsin[cpu], tocsin[gpu]"
        msg = f"{' and '.join(found)} are both installed and overwrite each other: {cure}"
        raise StartError(msg)
    if not found:
        msg = "ONNX Runtime is not installed: pip install 'tocsin[cpu]', or 'tocsin[gpu]' with an NVIDIA GPU"
        raise StartError(msg)


def _wheels() -> dict[str, str]:
    """The installed wheels of ONNX Runtime and their versions."""
    found = {}
    for name in ("onnxruntime", "onnxruntime-gpu"):
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
