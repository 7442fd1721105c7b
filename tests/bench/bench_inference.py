"""Windows per second through the engine, beside ONNX Runtime in a bare loop: same model, batch and sizes of runs.

    ./run bench            a table
    ./run bench --json     one JSON object

A dense model (an auto-encoder of windows of 64 x 8) and a convolutional one (256 x 8), random weights. The engine
checks, cuts, fills up, bounds in time and counts; the bare loop does nothing but run. They take turns, and the best of
their calls is compared: both do the same work, and whatever else the machine does only adds to it. On a CPU the bare
loop hands arrays over; on a GPU it copies to and runs between places that were bound once. `added`: microseconds that
the engine adds to a batch. Each process uses one thread of the CPU.
"""

import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import onnxruntime as ort

from edge_agent.adapters.heap import keep_freed_memory
from edge_agent.adapters.inference import OnnxModel
from edge_agent.adapters.inference.runtime import OnnxRuntime
from edge_agent.config import Inference
from models.bundle import Bundle
from tests import small_models
from tests.bench.machine import machine
from tests.bench.report import print_json, wants_json

BATCHES = (1, 8, 32, 256, 4096)
MEASURE_S, LEAST_PASSES = 2.0, 9  # of each row


class Row(NamedTuple):
    """One row of the table."""

    provider: str
    model: str
    windows: int  # of a batch
    bare_per_s: int
    engine_per_s: int
    share: float
    batch_us: float
    added_us: float
    memory_mb: float  # what loading the model took


def main() -> None:
    """Measure and print."""
    as_json = wants_json(__doc__)
    keep_freed_memory()
    providers = OnnxRuntime(Inference()).wanted()[::-1]
    measured = []
    for provider in providers:
        for bundle in (small_models.dense(), small_models.convolutional()):
            sys.stderr.write(f"bench_inference: {bundle.manifest.name} on {provider}\n")
            measured += rows(bundle, Inference(providers=(provider,)))
    if as_json:
        print_json("inference", cases=measured)
        return
    sys.stdout.write(f"engine and bare ONNX Runtime {ort.__version__}, best of {MEASURE_S:g} s in turns; {machine()}\n")
    sys.stdout.write(
        f"{'provider':>9} {'model':>8} {'batch':>6} {'bare w/s':>11} {'engine w/s':>11} {'share':>6} {'batch us':>10}"
        f" {'added us':>9} {'MB':>6}\n"
    )
    for row in measured:
        sys.stdout.write(
            f"{row.provider:>9} {row.model:>8} {row.windows:>6,} {row.bare_per_s:>11,} {row.engine_per_s:>11,}"
            f" {row.share:>6.0%} {row.batch_us:>10,.0f} {row.added_us:>9,.0f} {row.memory_mb:>6.1f}\n"
        )


def rows(bundle: Bundle, settings: Inference) -> list[Row]:
    """One model on one provider, all batches."""
    model = OnnxModel(bundle, settings)
    made = []
    for n in BATCHES:
        frames = small_models.windows(bundle, n)
        size = max([one for one in model.buckets if one <= n], default=model.buckets[0])
        bare = bare_loop(bundle, settings.providers[0], frames, size)
        bare_s, engine_s = best(bare, partial(model.score, frames))
        made.append(
            Row(
                model.provider,
                bundle.manifest.name.partition("-")[0],
                n,
                round(n / bare_s),
                round(n / engine_s),
                round(bare_s / engine_s, 3),
                round(engine_s * 1e6, 1),
                round((engine_s - bare_s) * 1e6, 1),
                round(model.memory_bytes / 1e6, 1),
            )
        )
    return made


def bare_loop(bundle: Bundle, provider: str, frames: Any, size: int) -> Callable[[], object]:
    """What anybody would write who knows ONNX Runtime: runs of `size` windows, nothing else."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    names = list(bundle.manifest.outputs)
    if provider == "cpu":
        session = ort.InferenceSession(bundle.model, options, providers=["CPUExecutionProvider"])
        parts = [frames[at : at + size] for at in range(0, len(frames), size)]
        return lambda: [session.run(names, {"window": part}) for part in parts]
    cuda = ("CUDAExecutionProvider", {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"})
    session = ort.InferenceSession(bundle.model, options, providers=[cuda, "CPUExecutionProvider"])
    parts = [np.resize(frames[at : at + size], (size, *frames.shape[1:])) for at in range(0, len(frames), size)]
    place, binding = ort.OrtValue.ortvalue_from_numpy(parts[0], "cuda"), session.io_binding()
    binding.bind_ortvalue_input("window", place)
    for name in names:
        binding.bind_output(name, "cuda")

    def run() -> None:
        for part in parts:
            place.update_inplace(part)
            session.run_with_iobinding(binding)
            binding.copy_outputs_to_cpu()

    return run


def best(*works: Callable[[], object]) -> list[float]:
    """Seconds of one call of each; in turns, so that what slows the machine down slows both."""
    found = [float("inf")] * len(works)
    since_s, passes = time.perf_counter(), 0
    while passes < LEAST_PASSES or time.perf_counter() - since_s < MEASURE_S:
        for at, work in enumerate(works):
            begun_s = time.perf_counter()
            work()
            found[at] = min(found[at], time.perf_counter() - begun_s)
        passes += 1
    return found


if __name__ == "__main__":
    main()
