"""Models and devices that fail: bounded in time, tried once more, then out of service; everything else goes on."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from edge_agent.adapters.inference import ModelShelf, OnnxModel
from edge_agent.adapters.inference.loading import Bounds
from edge_agent.adapters.inference.runtime import OnnxRuntime
from edge_agent.adapters.inference.session import BoundSession, Floats, Outputs, PlainSession, Session
from edge_agent.config import Inference
from edge_agent.core.errors import ModelFailedError, StartError
from edge_agent.metrics import Metrics, total
from models.bundle import Bundle, BundleError
from models.manifest import Manifest
from tests import small_models
from tests.small_models import windows

CPU = Inference(providers=("cpu",), allow_unsigned=True, run_timeout_s=0.6)
GPU = Inference(providers=("cuda", "cpu"), allow_unsigned=True, run_timeout_s=0.6)
Fail = ort.capi.onnxruntime_pybind11_state.Fail
VANISHED = "CUDA failure 719: unspecified launch failure ; GPU=0"


class FakeGpu(OnnxRuntime):
    """CPU sessions that pass for CUDA's. `fault` is done before each run, in the n-th session that was made."""

    def __init__(self, settings: Inference, fault: Callable[[int], None] = lambda _: None, error: float = 0) -> None:
        super().__init__(settings)
        self.fault, self.error, self.made = fault, error, 0
        self.runs: set[tuple[int, str, bool]] = set()  # number of the session, thread, whether it records

    def why_not(self, provider: str) -> str:
        assert provider in {"cuda", "cpu"}
        return ""

    def open(self, provider: str, model: bytes, manifest: Manifest, *, graphs: bool) -> Session:
        session = super().open("cpu", model, manifest, graphs=False)
        if provider == "cpu":
            return session
        if graphs:
            msg = "This session cannot use the CUDA Graph feature as requested by the user"
            raise RuntimeError(msg)
        self.made += 1
        return Faulty(session, self, self.made)

    def used_bytes(self, provider: str) -> int:
        assert provider in {"cuda", "cpu"}
        return super().used_bytes("cpu")


class Faulty:
    """A session that fails as its GPU does."""

    def __init__(self, inner: Session, gpu: FakeGpu, number: int) -> None:
        self._inner, self._gpu, self._number, self.recording = inner, gpu, number, False
        self.names, self.begun_s, self.is_stopped = inner.names, 0.0, False

    def run(self, size: int, frames: Floats, state: Floats | None) -> Outputs:
        self._gpu.fault(self._number)
        self._gpu.runs.add((self._number, threading.current_thread().name, self.recording))
        found = self._inner.run(size, frames, state)
        self.begun_s = self._inner.begun_s
        return [column + np.float32(self._gpu.error) for column in found]

    def record(self) -> None:
        self.recording = True

    def stop(self) -> None:
        self.is_stopped = True


def vanish(*numbers: int) -> Callable[[int], None]:
    """The GPU is gone in these sessions."""

    def fault(number: int) -> None:
        if number in numbers:
            raise Fail(VANISHED)

    return fault


def on_gpu(fault_later: Callable[[int], None], **more: Any) -> tuple[OnnxModel, FakeGpu]:
    """A model that was loaded while all was well."""
    gpu = FakeGpu(GPU)
    model = OnnxModel(small_models.dense(hidden=(8,)), GPU, runtime=gpu, **more)
    gpu.fault = fault_later
    return model, gpu


@pytest.mark.parametrize(
    ("bundle", "says"),
    [
        (small_models.nothing(), "none of its outputs for 16 windows of noise is a number"),
        (small_models.picking(below=-9), "Gather"),
        (small_models.hanging(below=-9), "no result within 0.6 s"),
        (small_models.growing(1e13), "Available memory of [0-9]+ is smaller"),  # none was taken
        (small_models.unknown(), "Divine"),
    ],
    ids=lambda each: each if isinstance(each, str) else each.manifest.name,
)
def test_a_model_that_does_not_work_is_refused_before_it_serves(bundle: Bundle, says: str) -> None:
    with pytest.raises(BundleError, match=says) as raised:
        OnnxModel(bundle, CPU)
    assert f"model {bundle.manifest.name} 1 runs on none of inference.providers: cpu: " in str(raised.value)


@pytest.mark.parametrize(
    ("bundle", "says"),
    [(small_models.picking(below=5), "Gather"), (small_models.hanging(below=50), "no result within 0.6 s")],
    ids=["fails", "hangs"],
)
def test_a_model_that_fails_on_some_data_is_out_of_service_and_says_why(bundle: Bundle, says: str) -> None:
    metrics = Metrics()
    model, frames = OnnxModel(bundle, CPU, metrics=metrics), windows(bundle, 3)
    model.score(frames)
    with pytest.raises(ModelFailedError, match=f"failed twice in a row on cpu: .*{says}.*; then .*{says}"):
        model.score(frames + 100)
    with pytest.raises(ModelFailedError, match="tocsin model score"):
        model.score(frames)
    assert total(metrics.run_failures, model=bundle.manifest.name) == 2
    assert total(metrics.scored, model=bundle.manifest.name) == 3


def test_a_gpu_that_vanishes_for_a_moment_costs_nothing_but_a_new_session(capsys: pytest.CaptureFixture[str]) -> None:
    model, gpu = on_gpu(lambda _: None)
    frames = windows(small_models.dense(hidden=(8,)), 40)
    before = model.score(frames)
    gpu.fault = vanish(1)
    after = model.score(frames)
    np.testing.assert_array_equal(after.fields["anomaly_score"], before.fields["anomaly_score"])
    assert "a run failed, and worked in a new session" in capsys.readouterr().out
    assert (model.failure, gpu.made) == ("", 2)


def test_only_the_thread_that_serves_records_runs_and_it_does_so_before_the_model_serves() -> None:
    model, gpu = on_gpu(vanish(1))
    assert gpu.runs == {(1, "inference-load", False), (1, "inference", True)}
    model.score(windows(small_models.dense(hidden=(8,)), 3))
    assert gpu.runs - {(2, "inference", True)} == {(1, "inference-load", False), (1, "inference", True)}


def test_a_provider_that_gives_other_results_when_it_records_is_not_used() -> None:
    gpu = FakeGpu(GPU)

    def drift(_: int) -> None:
        gpu.error = 1e-7 * (threading.current_thread().name == "inference")

    gpu.fault = drift
    model = OnnxModel(small_models.dense(hidden=(8,)), GPU, runtime=gpu)
    assert model.provider == "cpu"
    assert "give other results in the thread that serves" in model.reason


def test_a_gpu_that_has_vanished_takes_its_models_out_of_service_and_no_others() -> None:
    bounds = Bounds()
    model, _ = on_gpu(vanish(1, 2), bounds=bounds)
    other = OnnxModel(small_models.rows(), CPU, bounds=bounds)
    with pytest.raises(ModelFailedError, match=f"{VANISHED}; then {VANISHED}: `nvidia-smi`"):
        model.score(windows(small_models.dense(), 3))
    assert other.score(windows(small_models.rows(), 3)).fields["anomaly_score"].shape == (3,)


def test_a_gpu_that_never_answers_is_left_behind_and_others_go_on() -> None:
    answers, bounds = threading.Event(), Bounds()

    def fault(number: int) -> None:
        if number == 1:
            answers.wait(60)

    model, gpu = on_gpu(fault, bounds=bounds)
    well = OnnxModel(small_models.rows(), GPU, runtime=FakeGpu(GPU), bounds=bounds)
    frames = windows(small_models.dense(), 3)
    assert model.score(frames).fields["anomaly_score"].shape == (3,)  # in a new session, by a new thread
    assert well.score(windows(small_models.rows(), 3)).fields["anomaly_score"].shape == (3,)
    assert gpu.made == 2
    answers.set()


def test_a_provider_that_says_something_else_than_the_cpu_is_not_used() -> None:
    model = OnnxModel(small_models.dense(hidden=(8,)), GPU, runtime=FakeGpu(GPU, error=0.01))
    assert model.provider == "cpu"
    assert model.reason.startswith("cuda: its results differ from the CPU's by 0.01")


def test_a_provider_that_fails_its_proof_gives_way_to_the_next_and_its_reason_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "dense.bundle"
    small_models.dense(hidden=(8,)).save(path)
    shelf = ModelShelf(tmp_path / "shelf", GPU, runtime=FakeGpu(GPU, vanish(1)))
    adopted = shelf.adopt(path)
    assert (adopted.provider, adopted.reason) == ("cpu", f"cuda: {VANISHED}")
    required = GPU.model_copy(update={"require": "cuda"})
    with pytest.raises(StartError, match=f"require = 'cuda', but .* runs on cpu: cuda: {VANISHED}"):
        ModelShelf(tmp_path / "shelf", required, runtime=FakeGpu(GPU, vanish(1))).adopt(path)
    behind = required.model_copy(update={"providers": ("cpu", "cuda")})
    with pytest.raises(StartError, match=r"runs on cpu: it comes first in inference\.providers"):
        ModelShelf(tmp_path / "shelf", behind, runtime=FakeGpu(behind)).adopt(path)


def test_a_model_that_is_adopted_again_gets_another_chance(tmp_path: Path) -> None:
    path, bundle = tmp_path / "picking.bundle", small_models.picking(below=5)
    bundle.save(path)
    shelf = ModelShelf(tmp_path / "shelf", CPU)
    digest = shelf.adopt(path).digest
    with pytest.raises(ModelFailedError):
        shelf.find(digest).score(windows(bundle, 1) + 100)
    assert shelf.find(digest).failure
    shelf.adopt(path)
    assert shelf.find(digest).score(windows(bundle, 1)).fields["anomaly_score"] == [0.5]


@pytest.mark.parametrize(
    "bundle", [small_models.dense(hidden=(8,)), small_models.remembering()], ids=["dense", "state"]
)
def test_bound_places_give_the_same_bits_as_arrays(bundle: Bundle) -> None:
    manifest, made = bundle.manifest, []
    session = ort.InferenceSession(bundle.model, providers=["CPUExecutionProvider"])

    def host(shape: Sequence[int]) -> Floats:
        made.append(tuple(shape))
        return np.empty(shape, np.float32)

    plain, bound = PlainSession(session, manifest), BoundSession(session, manifest, "cpu", host, graphs=False)
    for n in (1, 5, 32, 3):
        frames = windows(bundle, n, seed=n)
        state = np.ones((n, manifest.state), np.float32) * n if manifest.state else None
        for one, other in zip(plain.run(32, frames, state), bound.run(32, frames, state), strict=True):
            np.testing.assert_array_equal(one, other)
    assert made == [(32, manifest.window, manifest.width), *([(32, 3)] if manifest.state else [])]
    bound.stop()
    with pytest.raises(RuntimeError, match="terminate"):
        bound.run(32, windows(bundle, 1), np.ones((1, 3), np.float32) if manifest.state else None)


def test_runs_are_recorded_by_their_size_once_that_is_asked_for() -> None:
    bundle, ids = small_models.dense(hidden=(8,)), []
    real = ort.InferenceSession(bundle.model, providers=["CPUExecutionProvider"])

    class Spy:
        io_binding = staticmethod(real.io_binding)

        def run_with_iobinding(self, binding: Any, options: Any) -> None:
            ids.append(options.get_run_config_entry("gpu_graph_id"))
            real.run_with_iobinding(binding, options)

    for graphs in (True, False):
        session = BoundSession(Spy(), bundle.manifest, "cpu", lambda shape: np.empty(shape, np.float32), graphs=graphs)
        session.run(2, windows(bundle, 2), None)
        session.record()
        session.run(2, windows(bundle, 2), None)
        session.run(32, windows(bundle, 5), None)
    assert ids == ["-1", "2", "32", "-1", "-1", "-1"]
