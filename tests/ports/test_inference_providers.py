"""What is said of a build of ONNX Runtime, a driver and a device that cannot be used, before any of them is asked."""

import ctypes
import re
import subprocess
import sys
import threading
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from edge_agent.adapters.inference import ModelShelf, OnnxModel, onnx_runtime_version, runtime
from edge_agent.adapters.inference.cuda_driver import CudaDriver, Gpu, look
from edge_agent.adapters.inference.providers import ORT_NAMES, Facts, provider_options, why_not
from edge_agent.config import Inference
from edge_agent.core.errors import NowhereError, StartError
from tests.small_models import dense, manifest

ALL = frozenset(ORT_NAMES.values())
WELL = Facts(ALL, 13, Gpu("", (13, 0)), has_tensorrt=True)


@pytest.mark.parametrize(
    ("provider", "facts", "says"),
    [
        ("cpu", Facts(frozenset(), 0, Gpu("none")), ""),
        ("cuda", WELL, ""),
        ("tensorrt", WELL, ""),
        ("cuda", WELL._replace(built=frozenset()), r"pip install 'tocsin\[gpu\]'"),
        ("cuda", WELL._replace(gpu=Gpu("there is no NVIDIA driver")), "there is no NVIDIA driver"),
        ("cuda", WELL._replace(gpu=Gpu("", (12, 8))), "it knows CUDA 12.8, .* needs CUDA 13: .* driver 580 or newer"),
        ("cuda", WELL._replace(gpu=Gpu("error 804", (12, 8))), "driver 580 or newer"),
        ("tensorrt", WELL._replace(has_tensorrt=False), "libnvinfer.so.10 cannot be loaded: install TensorRT 10"),
    ],
)
def test_why_a_provider_cannot_be_used_is_said_with_the_cure(provider: str, facts: Facts, says: str) -> None:
    found = why_not(provider, facts)
    assert re.search(says, found) if says else not found


def test_a_machine_without_a_driver_is_told_apart() -> None:
    assert look("libcuda-that-is-not-there.so.1").fault.startswith("there is no NVIDIA driver: ")


def test_options_of_each_provider() -> None:
    settings = Inference(providers=("tensorrt", "cuda", "cpu"), gpu_memory_bytes=1 << 30)
    made = provider_options(
        "tensorrt", manifest("m", 64, 8, state=3), settings, Path("engines/one"), 4096, graphs=False
    )
    assert [name for name, _ in made] == [ORT_NAMES[name] for name in ("tensorrt", "cuda", "cpu")]
    tensorrt, cuda, cpu = (options for _, options in made)
    assert tensorrt["trt_profile_min_shapes"] == "window:1x64x8,state:1x3"
    assert tensorrt["trt_profile_max_shapes"] == "window:4096x64x8,state:4096x3"
    assert (tensorrt["trt_engine_cache_path"], tensorrt["trt_timing_cache_path"]) == ("engines/one", "engines")
    assert (tensorrt["trt_engine_cache_enable"], tensorrt["trt_timing_cache_enable"]) == ("True", "True")
    assert tensorrt["trt_max_workspace_size"] == str(1 << 30)
    assert (cuda["gpu_mem_limit"], cuda["enable_cuda_graph"], cuda["use_tf32"]) == (str(1 << 30), "0", "0")
    assert cpu == {}
    (_, plain), _ = provider_options("cuda", manifest("m", 64, 8), Inference(), None, 256, graphs=True)
    assert plain["enable_cuda_graph"] == "1"
    assert "gpu_mem_limit" not in plain


def test_models_that_differ_in_weights_alone_keep_their_engines_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def make(_model: bytes, _options: Any, _names: Any, options: Any, **_: Any) -> None:
        made.append(options[0]["trt_engine_cache_path"])
        assert Path(made[-1]).is_dir()
        raise RuntimeError

    monkeypatch.setattr(ort, "InferenceSession", make)
    onnx = runtime.OnnxRuntime(Inference(), tmp_path / "tensorrt")
    for bundle in (dense(seed=1), dense(seed=2), dense(seed=1)):
        with pytest.raises(RuntimeError):
            onnx.open("tensorrt", bundle.model, bundle.manifest, graphs=False)
    assert made[0] == made[2] != made[1]


def test_pinned_memory_is_freed_by_the_thread_that_lets_go_of_it() -> None:
    room, calls = np.zeros(16, np.float32), []

    class Library:
        """Notes what is called by whom."""

        def __getattr__(self, name: str) -> Any:
            def call(*arguments: Any) -> int:
                calls.append((threading.current_thread().name, name))
                if name == "cuMemHostAlloc":
                    arguments[0]._obj.value = room.ctypes.data  # noqa: SLF001 - what `byref` refers to
                return 0

            return call

    driver = CudaDriver.__new__(CudaDriver)
    driver._cuda, driver._context = Library(), ctypes.c_void_p(1)  # type: ignore[assignment]  # noqa: SLF001
    held = [driver.pinned((2, 3))]
    held[0][:] = 7
    assert room.sum() == 42
    thread = threading.Thread(target=held.clear, name="other")
    thread.start()
    thread.join()
    assert [call for thread, call in calls if thread == "other"] == ["cuCtxSetCurrent", "cuMemFreeHost"]


def test_auto_wants_the_gpu_only_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    auto = runtime.OnnxRuntime(Inference())
    monkeypatch.setattr(runtime, "has_nvidia_device", lambda: False)
    assert auto.wanted() == ("cpu",)
    monkeypatch.setattr(runtime, "has_nvidia_device", lambda: True)
    assert auto.wanted() == ("cuda", "cpu")
    assert runtime.OnnxRuntime(Inference(providers=("tensorrt", "cpu"))).wanted() == ("tensorrt", "cpu")


def test_a_model_for_which_no_provider_is_left_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = WELL._replace(gpu=Gpu("", (12, 2)))
    monkeypatch.setattr(runtime, "machine_facts", lambda: facts)
    says = r"none of inference\.providers: cuda: the driver is too old"
    with pytest.raises(NowhereError, match=says):
        OnnxModel(dense(hidden=(8,)), Inference(providers=("cuda",)))
    with pytest.raises(StartError, match=says):
        OnnxModel(dense(hidden=(8,)), Inference(providers=("cuda",), require="cuda"))
    both = OnnxModel(dense(hidden=(8,)), Inference(providers=("tensorrt", "cuda", "cpu")))
    assert (both.provider, both.reason.count("the driver is too old")) == ("cpu", 2)


@pytest.mark.parametrize(
    ("wheels", "says"),
    [
        ({"onnxruntime": "1.31.1", "onnxruntime-gpu": "1.31.1"}, "pip uninstall -y onnxruntime onnxruntime-gpu, then"),
        ({}, r"pip install 'tocsin\[cpu\]'"),
    ],
    ids=["both", "none"],
)
def test_anything_but_one_build_of_onnx_runtime_is_explained_at_the_start(
    wheels: dict[str, str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        if name in wheels:
            return wheels[name]
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(StartError, match=says):
        ModelShelf(tmp_path, Inference())
    assert onnx_runtime_version() == ("onnxruntime 1.31.1" if wheels else "")


def test_the_agent_can_be_imported_without_onnx_runtime_to_say_that_it_is_missing() -> None:
    script = "import sys; sys.modules['onnxruntime'] = None; import edge_agent.app"
    subprocess.run([sys.executable, "-c", script], check=True)
