"""All that is asked of ONNX Runtime and of the machine: which providers there are, and a session on one of them."""

import contextlib
import ctypes
import hashlib
import io
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import structlog

from edge_agent.adapters.inference import buckets
from edge_agent.adapters.inference.cuda_driver import CudaError, Gpu, cuda_driver, look
from edge_agent.adapters.inference.providers import ORT_NAMES, TENSORRT_LIBRARY, Facts, provider_options, why_not
from edge_agent.adapters.inference.session import BoundSession, Floats, PlainSession, Session
from edge_agent.adapters.inference.wheels import onnx_runtime
from edge_agent.config import Inference
from models.manifest import Manifest

_log = structlog.get_logger()
_DEVICES = ("/dev/nvidiactl", "/dev/nvhost-ctrl-gpu")  # of cards, of Jetson modules


class Runtime(Protocol):
    """The port, so that a test can have a GPU that vanishes."""

    def wanted(self) -> Sequence[str]:
        """The providers in order of preference."""
        ...

    def why_not(self, provider: str) -> str:
        """Why a provider cannot be used on this machine, and what helps; empty: it may be tried."""
        ...

    def open(self, provider: str, model: bytes, manifest: Manifest, *, graphs: bool) -> Session:
        """A session on that provider; `graphs`: with CUDA graphs. Raises what ONNX Runtime raises, or RuntimeError."""
        ...

    def used_bytes(self, provider: str) -> int:
        """Memory in use: of this process, or of the device."""
        ...


class OnnxRuntime:
    """The real one. `engines`: the folder where TensorRT keeps what it has built; None: it builds anew each time."""

    def __init__(self, settings: Inference, engines: Path | None = None) -> None:
        self._settings, self._engines = settings, engines

    def wanted(self) -> Sequence[str]:
        """As `Runtime` says."""
        if self._settings.providers != ("auto",):
            return self._settings.providers
        return ("cuda", "cpu") if has_nvidia_device() else ("cpu",)

    def why_not(self, provider: str) -> str:
        """As `Runtime` says."""
        return why_not(provider, machine_facts()) if provider != "cpu" else ""

    def open(self, provider: str, model: bytes, manifest: Manifest, *, graphs: bool) -> Session:
        """As `Runtime` says."""
        largest = buckets.sizes(provider, self._settings.max_batch, manifest.window * manifest.width)[-1]
        engines = None
        if provider == "tensorrt" and self._engines is not None:
            engines = self._engines / hashlib.sha256(model).hexdigest()
            engines.mkdir(parents=True, exist_ok=True)
        providers = provider_options(provider, manifest, self._settings, engines, largest, graphs=graphs)
        names, options = map(list, zip(*providers, strict=True))
        make = onnx_runtime().InferenceSession
        # It falls back to the CPU without being asked, and prints that; here the next provider is tried instead.
        session = make(model, _session_options(provider), names, options, enable_fallback=0)
        session._model_bytes = b""  # noqa: SLF001 - kept for that falling back only; 200 models are 100 MB
        if provider == "cpu":
            return PlainSession(session, manifest)
        _check_used(session, provider)
        return BoundSession(session, manifest, "cuda", _host, graphs=graphs)

    def used_bytes(self, provider: str) -> int:
        """As `Runtime` says."""
        if provider == "cpu":
            return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
        return -cuda_driver().free_bytes()


def _session_options(provider: str) -> Any:  # noqa: ANN401 - onnxruntime has no types
    options = onnx_runtime().SessionOptions()
    # Parallelism is over models; threads of a pool spin, which costs a core on a gateway that has two.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.use_deterministic_compute = True
    if provider == "cpu":
        _share_arena()
        options.add_session_config_entry("session.use_env_allocators", "1")
    else:
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    return options


@cache
def _share_arena() -> None:
    """One for all sessions: an own one each would keep the memory of its largest batch, 1.3 MB a model on average."""
    ort = onnx_runtime()
    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    # A graph that wants more than half of the machine's memory fails, which a model may; it does not end the agent.
    most_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE") // 2
    ort.create_and_register_allocator(memory, ort.OrtArenaCfg({"max_mem": most_bytes}))


def _check_used(session: Any, provider: str) -> None:  # noqa: ANN401 - onnxruntime has no types
    """Raises RuntimeError when the session was made, but not on that provider."""
    name = ORT_NAMES[provider]
    if session.get_providers()[0] != name:
        msg = f"ONNX Runtime could not load {name}; its log says why (a library of CUDA or cuDNN that is missing?)"
        raise RuntimeError(msg)
    if not any(part.ep_name == name for part in session.get_provider_graph_assignment_info()):
        msg = f"none of the model's operators runs on {provider}"
        raise RuntimeError(msg)


def _host(shape: Sequence[int]) -> Floats:
    try:
        return cuda_driver().pinned(shape)
    except (OSError, CudaError) as error:
        _log.debug("no pinned memory; copies to the device take longer", error=str(error))
        return np.empty(shape, np.float32)


@cache
def has_nvidia_device() -> bool:
    """Whether this machine, or this container, has been given one; whether it works is another question."""
    return any(Path(node).exists() for node in _DEVICES) or not look().fault


@cache
def machine_facts() -> Facts:
    """Looked at once: a driver or device that appears later needs a restart anyway."""
    ort = onnx_runtime()
    version = str(getattr(ort, "cuda_version", "") or "")
    built = frozenset(ort.get_available_providers())
    if not version and ORT_NAMES["cuda"] not in built:
        return Facts(built, 0, Gpu("not looked for"))
    # A build may list CUDA only when its libraries are loaded.
    built |= {ORT_NAMES["cuda"]}
    cuda, gpu = int(version.partition(".")[0] or 13), look()
    if gpu.fault:
        return Facts(built, cuda, gpu)
    os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")  # TensorRT has no option for it; read when libraries are loaded
    said = io.StringIO()  # it prints what it does not find
    with contextlib.redirect_stdout(said):
        ort.preload_dlls()
    if text := said.getvalue().strip():
        _log.warning("libraries of CUDA or cuDNN cannot be loaded: tocsin[gpu] brings them", missing=text)
    return Facts(built | set(ort.get_available_providers()), cuda, gpu, _can_load(TENSORRT_LIBRARY))


def _can_load(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
