"""One loaded model: windows in, scores out, in bounded time; out of service when it fails twice."""

import time
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import structlog
from numpy.typing import NDArray

from edge_agent.adapters.inference import buckets
from edge_agent.adapters.inference.bounded import Bound
from edge_agent.adapters.inference.loading import Bounds, brief, load, open_session
from edge_agent.adapters.inference.runtime import OnnxRuntime, Runtime
from edge_agent.adapters.inference.session import Floats, Outputs
from edge_agent.config import Inference
from edge_agent.core.errors import ModelFailedError
from edge_agent.core.model import Scores
from edge_agent.metrics import Metrics
from models.bundle import Bundle
from models.graph_check import expected_outputs
from models.manifest import PER_CHANNEL, Manifest

_log = structlog.get_logger()
_HELPS = {  # whether it runs on the CPU -> what to do
    True: "`tocsin model score` shows it on recorded data; put a corrected model in its place",
    False: "`nvidia-smi` and the kernel's log (Xid) say whether the GPU is well; a restart loads the model again",
}
_PLANS = 512  # sizes of batches whose cuts are remembered


class OnnxModel:
    """A model in memory. Its scores do not depend on how windows are batched.

    `provider` is the one that it was proved to run on, `reason` why that is not the first one wanted, `memory_bytes`
    what loading it took, `buckets` the sizes of its runs, `failure` why it is out of service (empty: it is not).
    """

    def __init__(
        self,
        bundle: Bundle,
        settings: Inference,
        *,
        runtime: Runtime | None = None,
        bounds: Bounds | None = None,
        metrics: Metrics | None = None,
        read: Callable[[], bytes] | None = None,
    ) -> None:
        """`read` gives the graph again, for another try; by default it is kept. Raises BundleError, StartError."""
        self.manifest, self.digest, self.failure = bundle.manifest, bundle.digest, ""
        self._settings, self._bounds = settings, bounds or Bounds()
        self._runtime = runtime or OnnxRuntime(settings)
        self._read = read or (lambda: bundle.model)
        loaded = load(bundle, settings, self._runtime, self._bounds)
        self._session, self._way = loaded.session, loaded.way
        self.provider, self.reason, self.memory_bytes = loaded.way.provider, loaded.reason, loaded.memory_bytes
        self.buckets: Sequence[int] = sorted(loaded.proof.costs)
        costs = loaded.proof.costs
        self._cut = lru_cache(_PLANS)(lambda n: buckets.cut(n, costs))
        # Where each output is among a run's columns, of which a state is the last.
        places = [(name, at) for at, name in enumerate(self.manifest.outputs)]
        self._fields = [(name, at) for name, at in places if name not in PER_CHANNEL]
        self._per_channel = [(name, at) for name, at in places if name in PER_CHANNEL]
        self._nothing = [np.empty((0, int(width))) for _, width in expected_outputs(self.manifest).values()]
        self._bound: Bound = self._bounds.watchdog if self.provider == "cpu" else self._bounds.serving
        self._metrics = metrics or Metrics()
        self._counts = _Counts(self._metrics, self.manifest, self.provider)
        self.report_memory()
        label = f"{self.manifest.name} {self.manifest.version}"
        if loaded.proof.fault:
            _log.warning("the model is run in small batches only", model=label, error=loaded.proof.fault)
        elif not loaded.proof.is_independent:
            _log.warning("the model's scores depend on the batch: its windows are run one by one", model=label)

    def score(self, frames: NDArray[np.float32], state: NDArray[np.float32] | None = None) -> Scores:
        """As `edge_agent.core.model.Model`: float32 [n, window, width] and [n, state] -> float64 [n], [n, channels].

        Takes at most twice `run_timeout_s` for each run, and some more where a thread has to be left behind.
        """
        if self.failure:
            raise ModelFailedError(self.failure)
        try:
            columns = self._bounded(frames, state)
        except Exception as error:  # noqa: BLE001 - a session may raise anything; the second try tells
            columns = self._again(frames, state, error)
        self._counts.windows.inc(len(frames))
        found = {name: columns[at] for name, at in self._per_channel}
        return Scores(
            {name: columns[at][:, 0] for name, at in self._fields},
            found.get("contribution"),
            found.get("direction"),
            columns[-1].astype(np.float32) if self.manifest.state else None,
        )

    def report_memory(self) -> None:
        """Set the gauge, which was cleared."""
        self._metrics.model_memory.labels(self.manifest.name, self.manifest.version).set(self.memory_bytes)

    def _bounded(self, frames: Floats, state: Floats | None) -> Outputs:
        return self._bound.run(self._session, lambda: self._run(frames, state), self._settings.run_timeout_s)

    def _run(self, frames: Floats, state: Floats | None) -> Outputs:
        """All runs for n windows, one after the other."""
        sizes = self._cut(len(frames))
        if filled_up := sum(sizes) - len(frames):
            self._counts.padding.inc(filled_up)
        if len(sizes) == 1:  # nothing to cut and to join, which would take a tenth of a small model's time
            return self._run_one(sizes[0], frames, state)
        runs, begin = [], 0
        for size in sizes:
            part = slice(begin, begin + size)
            runs.append(self._run_one(size, frames[part], None if state is None else state[part]))
            begin += size
        # The first is for no windows at all.
        return [np.concatenate(parts) for parts in zip(self._nothing, *runs, strict=True)]

    def _run_one(self, size: int, frames: Floats, state: Floats | None) -> Outputs:
        found = self._session.run(size, frames, state)
        self._counts.run_time.observe(time.monotonic() - self._session.begun_s)
        return found

    def _again(self, frames: Floats, state: Floats | None, first: Exception) -> Outputs:
        """Once more, in a session of its own: the first may be stopped, or a device's state spoilt."""
        label = f"{self.manifest.name} {self.manifest.version}"
        self._counts.failures.inc()
        try:
            self._session = open_session(self.manifest, self._read(), self._runtime, self._bounds.serving, self._way)
            self._session.record()
            columns = self._bounded(frames, state)
        except Exception as second:
            self._counts.failures.inc()
            twice, helps = f"{brief(first)}; then {brief(second)}", _HELPS[self.provider == "cpu"]
            self.failure = f"{label} failed twice in a row on {self.provider}: {twice}: {helps}"
            raise ModelFailedError(self.failure) from second
        _log.warning("a run failed, and worked in a new session", model=label, error=brief(first))
        return columns


class _Counts:
    """The metrics of one model."""

    def __init__(self, metrics: Metrics, manifest: Manifest, provider: str) -> None:
        labels = (manifest.name, manifest.version)
        self.windows = metrics.scored.labels(*labels)
        self.padding = metrics.padding.labels(*labels)
        self.failures = metrics.run_failures.labels(*labels)
        self.run_time = metrics.run_time.labels(provider)
