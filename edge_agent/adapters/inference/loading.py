"""Which provider a model runs on: the first in the configured order that proves itself, and why none before it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import structlog

from edge_agent.adapters.inference import buckets
from edge_agent.adapters.inference.bounded import Watchdog, Worker
from edge_agent.adapters.inference.proof import Proof, ProofError, answers, differs, prove, same
from edge_agent.adapters.inference.runtime import Runtime
from edge_agent.adapters.inference.session import Session
from edge_agent.config import Inference
from edge_agent.core.errors import NowhereError, StartError
from models.bundle import Bundle, BundleError
from models.manifest import Manifest

_log = structlog.get_logger()
_OPEN_S = {"tensorrt": 900.0}  # it builds engines the first time
_OPEN_OTHERS_S = 60.0
_FIRST_RUN_S = 60.0  # a GPU's first run loads its kernels
_BRIEF = 300  # characters of an error that are shown
_TOLERANCE = 1e-3  # relative to max(1, |value|), between a provider and the CPU


class Bounds:
    """The threads that keep all models of a shelf within their time."""

    def __init__(self) -> None:
        self.watchdog = Watchdog()
        # One for what serves and one for what is being loaded: the old model goes on until the new one is warm.
        self.serving, self.loading = Worker("inference"), Worker("inference-load")


class Way(NamedTuple):
    """How a model is run."""

    provider: str
    graphs: bool  # with CUDA graphs


class Loaded(NamedTuple):
    """A session that has proved itself."""

    session: Session
    proof: Proof
    way: Way
    reason: str  # why it is not the first provider that is wanted; empty: it is
    memory_bytes: int  # what it took of the process's or the device's memory, seen from outside


class _Opening:
    """Nothing can be told to a session that is being made."""

    begun_s, is_stopped = 0.0, False

    def stop(self) -> None:
        """It is left behind."""


def load(bundle: Bundle, settings: Inference, runtime: Runtime, bounds: Bounds) -> Loaded:
    """Try the providers in order. Raises BundleError: it runs on none of them; StartError: though one is required."""
    label = f"{bundle.manifest.name} {bundle.manifest.version}"
    reasons: list[str] = []
    fault: Exception | None = None
    for way in _ways(runtime.wanted()):
        why = runtime.why_not(way.provider)
        if not why:
            try:
                loaded = _prove(bundle, settings, runtime, bounds, way)
            except Exception as error:  # noqa: BLE001 - whatever it is, the next is tried, and all are told of
                why, fault = brief(error), error if way.provider == "cpu" else fault
            else:
                return loaded._replace(reason="; ".join(reasons))
        if way.graphs:
            _log.debug("CUDA graphs are not used", model=label, reason=why)
        else:
            reasons.append(f"{way.provider}: {why}")
    text = f"model {label} runs on none of inference.providers: {'; '.join(reasons)}"
    if fault is not None:
        raise BundleError(text) from fault
    if settings.require:
        raise StartError(text)
    raise NowhereError(text)


def open_session(manifest: Manifest, model: bytes, runtime: Runtime, worker: Worker, way: Way) -> Session:
    """A session, made in bounded time."""
    limit_s = _OPEN_S.get(way.provider, _OPEN_OTHERS_S)
    return worker.run(_Opening(), lambda: runtime.open(way.provider, model, manifest, graphs=way.graphs), limit_s)


def brief(error: BaseException) -> str:
    """An error of ONNX Runtime in one line that a person reads."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _BRIEF else text[:_BRIEF] + " ..."


def _ways(providers: Sequence[str]) -> list[Way]:
    """A graph that CUDA cannot record as a whole is run without recording."""
    return [Way(name, graphs) for name in providers for graphs in ((True, False) if name == "cuda" else (False,))]


def _prove(bundle: Bundle, settings: Inference, runtime: Runtime, bounds: Bounds, way: Way) -> Loaded:
    manifest, limit_s = bundle.manifest, settings.run_timeout_s
    before = runtime.used_bytes(way.provider)
    session = open_session(manifest, bundle.model, runtime, bounds.loading, way)
    sizes = buckets.sizes(way.provider, settings.max_batch, manifest.window * manifest.width)
    if way.provider == "cpu":
        proof = bounds.loading.run(session, lambda: prove(session, manifest, sizes), limit_s)
    else:
        limit_s = max(limit_s, _FIRST_RUN_S)
        proof = bounds.loading.run(session, lambda: prove(session, manifest, sizes), limit_s)
        _check_agrees(proof, bundle, settings, runtime, bounds)
        # What CUDA prepares belongs to the thread: the one that serves runs each bucket as well.
        bounds.serving.run(session, lambda: _warm(session, proof), limit_s)
    return Loaded(session, proof, way, "", max(0, runtime.used_bytes(way.provider) - before))


def _warm(session: Session, proof: Proof) -> None:
    """In the thread that serves. Raises ProofError when it gives other bits than were proved."""
    session.record()
    frames, states = proof.windows
    for size in proof.costs:
        for some in (np.arange(len(frames))[::-1][:size], np.arange(len(frames))[:size]):
            # The first run may be recorded, the second plays it back with other windows.
            found = session.run(size, frames[some], None if states is None else states[some])
            wanted = [column[some] for column in proof.outputs]
            if not same(found, wanted):
                msg = f"runs of {size} windows give other results in the thread that serves"
                raise ProofError(msg)


def _check_agrees(proof: Proof, bundle: Bundle, settings: Inference, runtime: Runtime, bounds: Bounds) -> None:
    """Raises ProofError when the CPU says something else."""
    cpu = open_session(bundle.manifest, bundle.model, runtime, bounds.loading, Way("cpu", graphs=False))
    wanted = bounds.loading.run(cpu, lambda: answers(cpu, proof.windows), settings.run_timeout_s)
    worst = differs(proof.outputs, wanted)
    if worst > _TOLERANCE:
        msg = f"its results differ from the CPU's by {worst:.2g} (allowed: {_TOLERANCE:g}, relative to max(1, |value|))"
        raise ProofError(msg)
