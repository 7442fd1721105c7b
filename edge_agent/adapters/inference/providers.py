"""The providers: what each needs, and how ONNX Runtime is told to use it."""

from pathlib import Path
from typing import NamedTuple

from edge_agent.adapters.inference.cuda_driver import Gpu
from edge_agent.config import Inference
from models.manifest import Manifest

ORT_NAMES = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
# Operators that one has no kernel for go to the next.
_BEHIND = {"tensorrt": ("cuda", "cpu"), "cuda": ("cpu",), "cpu": ()}
_DRIVERS = {12: 525, 13: 580}  # the oldest NVIDIA driver for each CUDA (CUDA toolkit release notes, table 2)
TENSORRT_LIBRARY = "libnvinfer.so.10"

Options = dict[str, str]


class Facts(NamedTuple):
    """What is known before a session is made."""

    built: frozenset[str]  # names of the providers that this build of ONNX Runtime has, there or not
    cuda: int  # the CUDA that it was built for; 0 = none
    gpu: Gpu
    has_tensorrt: bool = False


def why_not(provider: str, facts: Facts) -> str:
    """Why there is no point in trying a provider, and what helps; empty: there is."""
    if provider == "cpu":
        return ""
    if ORT_NAMES[provider] not in facts.built:
        cure = "pip uninstall onnxruntime, pip install 'tocsin[gpu]'; in a clone TOCSIN_ONNXRUNTIME=gpu ./run tocsin …"
        return f"this build of ONNX Runtime has no {provider}: {cure}"
    # An old driver is named before what it says of a device.
    if facts.gpu.cuda[0] and facts.gpu.cuda[0] < facts.cuda:
        known = ".".join(map(str, facts.gpu.cuda))
        newer = _DRIVERS.get(facts.cuda)
        cure = f"install NVIDIA driver {newer} or newer" if newer else "install a newer NVIDIA driver"
        return f"the driver is too old: it knows CUDA {known}, and ONNX Runtime needs CUDA {facts.cuda}: {cure}"
    if facts.gpu.fault:
        return facts.gpu.fault
    if provider == "tensorrt" and not facts.has_tensorrt:
        return f"{TENSORRT_LIBRARY} cannot be loaded: install TensorRT 10"
    return ""


def provider_options(
    provider: str, manifest: Manifest, settings: Inference, engines: Path | None, largest: int, *, graphs: bool
) -> list[tuple[str, Options]]:
    """For InferenceSession: the provider and those behind it, each with its options.

    engines: where TensorRT keeps what it built of this model, and of no other; None: nowhere. largest: windows of the
    largest bucket. graphs: whether CUDA graphs are recorded.
    """
    made = []
    for name in (provider, *_BEHIND[provider]):
        options: Options = {}
        if name == "cuda":
            options = _cuda(settings, graphs=graphs)
        elif name == "tensorrt":
            options = _tensorrt(manifest, settings, engines, largest)
        made.append((ORT_NAMES[name], options))
    return made


def _cuda(settings: Inference, *, graphs: bool) -> Options:
    options = {
        "cudnn_conv_algo_search": "HEURISTIC",  # the default tries all of them, anew for each size of batch
        "arena_extend_strategy": "kSameAsRequested",
        "use_tf32": "0",  # it has ten bits; scores are promised to agree with the CPU's
        "enable_cuda_graph": str(int(graphs)),
    }
    return options | _limit("gpu_mem_limit", settings)


def _tensorrt(manifest: Manifest, settings: Inference, engines: Path | None, largest: int) -> Options:
    """Engines are built for all buckets at once, and kept: building takes minutes, and another build may round so.

    ONNX Runtime names engines after the graph without its weights, and would give one model the engine of another:
    https://github.com/microsoft/onnxruntime/issues/6455. What was timed holds for all models.
    """

    def shapes(batch: int) -> str:
        given = [f"window:{batch}x{manifest.window}x{manifest.width}"]
        return ",".join(given + [f"state:{batch}x{manifest.state}"] * bool(manifest.state))

    options = {
        "trt_profile_min_shapes": shapes(1),
        "trt_profile_opt_shapes": shapes(largest),
        "trt_profile_max_shapes": shapes(largest),
    }
    if engines is not None:
        for what, folder in (("engine", engines), ("timing", engines.parent)):
            # "1" will not do: from Python these are read by another parser than CUDA's options.
            options |= {f"trt_{what}_cache_enable": "True", f"trt_{what}_cache_path": str(folder)}
    return options | _limit("trt_max_workspace_size", settings)


def _limit(key: str, settings: Inference) -> Options:
    return {key: str(settings.gpu_memory_bytes)} if settings.gpu_memory_bytes else {}
