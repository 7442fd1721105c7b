"""The engine on a real GPU. Where there is none these tests are left out, and the summary says so."""

from pathlib import Path

import numpy as np
import pytest

from edge_agent.adapters.inference import ModelShelf, OnnxModel
from edge_agent.adapters.inference.cuda_driver import cuda_driver
from edge_agent.adapters.inference.runtime import OnnxRuntime
from edge_agent.config import Inference
from models.bundle import Bundle
from tests import small_models
from tests.small_models import windows

pytestmark = pytest.mark.gpu
GPU = Inference(providers=("cuda",), allow_unsigned=True)
CPU = Inference(providers=("cpu",))
MODELS = [small_models.dense(), small_models.convolutional(), small_models.remembering()]


def state_of(bundle: Bundle, n: int) -> np.ndarray | None:
    if not bundle.manifest.state:
        return None
    return np.random.default_rng(4).normal(size=(n, bundle.manifest.state)).astype(np.float32)


def test_auto_wants_the_gpu_and_the_shelf_proves_it(tmp_path: Path) -> None:
    path = tmp_path / "dense.bundle"
    small_models.dense().save(path)
    required = Inference(require="cuda", allow_unsigned=True)
    adopted = ModelShelf(tmp_path / "shelf", required).adopt(path)
    assert (adopted.provider, adopted.reason) == ("cuda", "")


@pytest.mark.parametrize("bundle", MODELS, ids=lambda bundle: bundle.manifest.name)
def test_results_agree_with_the_cpus(bundle: Bundle) -> None:
    frames, state = windows(bundle, 300), state_of(bundle, 300)
    on_gpu, on_cpu = OnnxModel(bundle, GPU).score(frames, state), OnnxModel(bundle, CPU).score(frames, state)
    for name, column in on_cpu.fields.items():
        np.testing.assert_allclose(on_gpu.fields[name], column, rtol=1e-4, atol=1e-4)
    for mine, wanted in ((on_gpu.contribution, on_cpu.contribution), (on_gpu.state, on_cpu.state)):
        assert (mine is None) == (wanted is None)
        if mine is not None and wanted is not None:
            np.testing.assert_allclose(mine, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bundle", MODELS, ids=lambda bundle: bundle.manifest.name)
def test_bits_do_not_depend_on_how_windows_are_batched(bundle: Bundle) -> None:
    model, frames, state = OnnxModel(bundle, GPU), windows(bundle, 4200), state_of(bundle, 4200)
    whole = model.score(frames, state)
    for start, count in ((0, 1), (1, 5), (6, 2), (8, 33), (41, 259), (100, 4100)):
        some = slice(start, start + count)
        part = model.score(frames[some], None if state is None else state[some])
        for name, column in part.fields.items():
            np.testing.assert_array_equal(column, whole.fields[name][some])


def test_the_same_windows_again_give_the_same_bits_in_another_session() -> None:
    bundle = small_models.convolutional()
    frames = windows(bundle, 500)
    first, second = (OnnxModel(bundle, GPU).score(frames).fields["anomaly_score"] for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("graphs", [True, False], ids=["graphs", "plain"])
def test_a_recorded_run_reads_what_was_written_last(graphs: bool) -> None:
    bundle = small_models.dense()
    session = OnnxRuntime(GPU).open("cuda", bundle.model, bundle.manifest, graphs=graphs)
    session.record()
    plain = OnnxRuntime(CPU).open("cpu", bundle.model, bundle.manifest, graphs=False)
    for seed in range(5):
        frames = windows(bundle, 32, seed=seed)
        wanted = plain.run(32, frames, None)
        for one, other in zip(session.run(32, frames, None), wanted, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_memory_of_the_device_is_reported_and_given_back() -> None:
    before = cuda_driver().free_bytes()
    model = OnnxModel(small_models.convolutional(), GPU)
    assert 0 < model.memory_bytes <= before
    pinned = cuda_driver().pinned((3, 5))
    pinned[:] = 7
    assert pinned.sum() == 105
