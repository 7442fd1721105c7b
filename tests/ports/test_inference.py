"""Models as the agent runs them: a window's score is its own, whatever else is in the batch."""

import os
import warnings
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from edge_agent.adapters.inference import ModelShelf, OnnxModel
from edge_agent.adapters.inference.buckets import sizes
from edge_agent.adapters.inference.proof import choose, differs
from edge_agent.adapters.inference.runtime import OnnxRuntime
from edge_agent.config import Inference
from edge_agent.metrics import Metrics, total
from models.bundle import Bundle, BundleError, read_bundle
from tests import small_models
from tests.small_models import windows

CPU = Inference(providers=("cpu",), allow_unsigned=True)
ZOO = sorted((Path(__file__).parents[2] / "models" / "zoo").glob("*.bundle"))
SMALL = [
    small_models.dense(hidden=(8,)),
    small_models.convolutional(window=64, channels=3, filters=(4,)),
    small_models.rows(),
    small_models.neighbours(),
]


@pytest.mark.parametrize("bundle", [*SMALL, *map(read_bundle, ZOO)], ids=lambda bundle: bundle.manifest.name)
def test_a_window_has_the_same_score_alone_and_in_any_batch(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    model = OnnxModel(bundle, CPU)
    says = "one by one" in capsys.readouterr().out
    assert says == (bundle.manifest.name in {"rows", "neighbours"})
    frames = windows(bundle, 300)
    whole = model.score(frames)
    for start, count in ((0, 1), (1, 5), (6, 2), (8, 33), (41, 259)):
        part = model.score(frames[start : start + count])
        for name, column in part.fields.items():
            np.testing.assert_array_equal(column, whole.fields[name][start : start + count])


def test_buckets_that_disagree_with_single_windows_serve_without_them() -> None:
    some = {size: [np.full((3, 1), 1 / 3)] for size in (1, 2, 32)}
    assert choose(some) == [1, 2, 32]
    other = {1: [np.nextafter(some[1][0], 1)]}
    assert choose(some | other) == [2, 32]
    assert choose(some | {32: other[1]}) == [1, 2]
    assert choose(other) == [1]
    assert OnnxModel(small_models.neighbours(), CPU).buckets == [1]
    assert OnnxModel(SMALL[1], CPU).buckets == [1, 2, 4, 8, 16, 32, 64, 128, 256]


def test_a_model_that_has_one_answer_to_noise_does_not_run_windows_alone() -> None:
    assert OnnxModel(small_models.saturated(at=1e6), CPU).buckets == [2, 4, 8, 16, 32, 64, 128, 256]
    assert 1 in OnnxModel(small_models.saturated(at=30), CPU).buckets


def test_a_model_that_fails_in_large_batches_is_run_in_small_ones(capsys: pytest.CaptureFixture[str]) -> None:
    bundle = small_models.narrow()
    model, frames = OnnxModel(bundle, CPU), windows(bundle, 5)
    assert model.buckets == [1, 2]
    assert "runs of 4 windows fail" in capsys.readouterr().out
    score = model.score(frames).fields["anomaly_score"]
    np.testing.assert_allclose(score, frames.mean(axis=(1, 2)), atol=1e-6)


def test_scores_and_shares_are_what_onnx_runtime_gives_by_itself() -> None:
    bundle = small_models.dense(hidden=(8,))
    frames = windows(bundle, 70)
    found = OnnxModel(bundle, CPU).score(frames)
    session = ort.InferenceSession(bundle.model, providers=["CPUExecutionProvider"])
    score, share = session.run(["anomaly_score", "contribution"], {"window": frames})
    np.testing.assert_allclose(found.fields["anomaly_score"], score[:, 0], rtol=1e-6)
    assert found.contribution is not None
    np.testing.assert_allclose(found.contribution, share, rtol=1e-5)
    assert (found.contribution.shape, found.state, list(found.fields)) == ((70, 8), None, ["anomaly_score"])


def test_a_model_that_remembers_is_given_its_state_and_gives_the_next() -> None:
    bundle = small_models.remembering(state=3)
    model, frames = OnnxModel(bundle, CPU), windows(bundle, 40)
    state = np.random.default_rng(3).normal(size=(40, 3)).astype(np.float32)
    found = model.score(frames, state)
    mean = frames.mean(axis=(1, 2))[:, None]
    assert found.state is not None
    assert found.state.dtype == np.float32
    np.testing.assert_allclose(found.state, state + (mean - state) / 2, atol=1e-6)
    np.testing.assert_allclose(found.fields["anomaly_score"], np.abs(mean - state).max(axis=1), atol=1e-6)
    one = model.score(frames[7:8], state[7:8])
    assert one.state is not None
    np.testing.assert_array_equal(one.state[0], found.state[7])


def test_no_windows_have_no_scores() -> None:
    bundle = small_models.dense(hidden=(8,))
    found = OnnxModel(bundle, CPU).score(windows(bundle, 0))
    assert found.contribution is not None
    assert (found.fields["anomaly_score"].shape, found.contribution.shape) == ((0,), (0, 8))


def test_windows_without_a_number_leave_the_others_as_they_are() -> None:
    bundle = small_models.root()
    frames = windows(bundle, 50)
    score = OnnxModel(bundle, CPU).score(frames).fields["anomaly_score"]
    mean = frames.mean(axis=(1, 2))
    np.testing.assert_array_equal(np.isnan(score), mean < 0)
    np.testing.assert_allclose(score[mean >= 0], np.sqrt(mean[mean >= 0]), rtol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 32])
@pytest.mark.parametrize("window", [36, 37])
def test_a_score_does_not_depend_on_where_in_memory_its_window_begins(window: int, count: int) -> None:
    bundle = small_models.mean(window, channels=5)
    model, frames = OnnxModel(bundle, CPU), windows(bundle, count)
    wanted, room = model.score(frames).fields["anomaly_score"], np.empty(frames.size + 64, np.float32)
    for begin in range(16):
        moved = room[begin : begin + frames.size].reshape(frames.shape)
        moved[:] = frames
        np.testing.assert_array_equal(model.score(moved).fields["anomaly_score"], wanted)


def test_one_answer_is_not_changed_by_the_next() -> None:
    bundle = small_models.dense(hidden=(8,))
    model, frames = OnnxModel(bundle, CPU), windows(bundle, 2)
    first, second = (model.score(frames[at : at + 1]) for at in (0, 1))
    both = model.score(frames)
    np.testing.assert_array_equal(
        np.concatenate((first.fields["anomaly_score"], second.fields["anomaly_score"])), both.fields["anomaly_score"]
    )
    session = OnnxRuntime(CPU).open("cpu", bundle.model, bundle.manifest, graphs=False)
    one = session.run(1, frames[:1], None)
    kept = [column.copy() for column in one]
    session.run(1, frames[1:], None)
    np.testing.assert_array_equal(one[0], kept[0])


def test_infinity_on_both_sides_is_no_difference() -> None:
    inf = [np.array([[np.inf], [-np.inf], [np.nan]])]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert differs(inf, inf) == 0
        assert differs(inf, [-inf[0]]) == np.inf


def test_max_batch_bounds_the_buckets() -> None:
    assert sizes("cpu", max_batch=40, values=512) == (1, 2, 4, 8, 16, 32)
    assert sizes("cpu", max_batch=4096, values=256) == (1, 2, 4, 8, 16, 32, 64, 128, 256)
    assert sizes("cpu", max_batch=4096, values=2048) == (1, 2, 4, 8, 16, 32)
    assert sizes("cpu", max_batch=4096, values=10**7) == (1,)
    assert sizes("cuda", max_batch=4096, values=512) == (1, 2, 32, 256, 4096)


def test_what_a_model_does_is_counted() -> None:
    bundle, metrics = small_models.dense(hidden=(8,)), Metrics()
    model = OnnxModel(bundle, CPU, metrics=metrics)
    model.score(windows(bundle, 31))
    runs = model._cut(31)  # noqa: SLF001 - which way is cheaper is measured, and may be either
    assert total(metrics.scored, model="dense-0", version="1") == 31
    assert total(metrics.padding, model="dense-0") == sum(runs) - 31
    timed = metrics.registry.get_sample_value("tocsin_edge_run_seconds_count", {"provider": "cpu"})
    memory = metrics.registry.get_sample_value("tocsin_edge_model_memory_bytes", {"model": "dense-0", "version": "1"})
    assert (timed, memory) == (len(runs), model.memory_bytes)


def test_a_kept_copy_that_a_power_cut_left_empty_is_made_anew(tmp_path: Path) -> None:
    digest = ModelShelf(tmp_path, CPU).adopt(ZOO[0]).digest
    kept = tmp_path / f"{digest}.bundle"
    whole = kept.read_bytes()
    kept.write_bytes(whole[:100])
    shelf = ModelShelf(tmp_path, CPU)
    assert shelf.adopt(ZOO[0]) == (digest, "cpu", "")
    assert kept.read_bytes() == whole
    assert shelf.find(digest).manifest == read_bundle(ZOO[0]).manifest


def test_bundles_that_are_adopted_together_are_made_durable_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(Path(f"/proc/self/fd/{file}").readlink().suffix))
    shelf = ModelShelf(tmp_path, CPU)
    adopted = shelf.adopt_all(ZOO)
    assert sorted(synced) == ["", *[".partial"] * len(ZOO)]
    assert synced[-1] == ""
    assert {path.stem for path in tmp_path.iterdir()} == {each.digest for each in adopted.values()}
    assert shelf.adopt_all(ZOO) == adopted
    assert len(synced) == len(ZOO) + 1


def test_models_that_nobody_needs_are_unloaded_and_stay_in_the_folder(tmp_path: Path) -> None:
    metrics = Metrics()
    shelf = ModelShelf(tmp_path, CPU, metrics=metrics)
    first, second = (shelf.adopt(path).digest for path in ZOO[:2])
    shelf.keep_only({second})
    assert [model.digest for model in shelf.models] == [second]
    gauges = [sample.labels["model"] for sample in next(iter(metrics.model_memory.collect())).samples]
    assert gauges == [shelf.find(second).manifest.name]
    assert shelf.find(first).digest == first


def test_a_digest_that_is_not_on_the_shelf_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="cannot be read"):
        ModelShelf(tmp_path, CPU).find("0" * 64)
