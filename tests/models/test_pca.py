"""The principal-component model against scikit-learn, and its graph against its reference."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.bundle import Channel, read_bundle
from models.training.pca import PcaModel, fit_pca, sliding
from models.training.pca_export import to_onnx, write_pca_bundle
from models.training.table import DataError
from models.training.zoo import HealthyRun, build_zoo

Floats = NDArray[np.float64]


def _plant(rows: int = 600, seed: int = 0) -> Floats:
    """Six channels of unlike units that follow two causes."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(rows, 2)) @ np.random.default_rng(99).normal(size=(2, 6)) + 0.1 * rng.normal(
        size=(rows, 6)
    )
    return mixed * [1, 10, 0.01, 5, 1, 300] + [0, 50, 1, -20, 90, 1000]


def _run(content: bytes, windows: Floats) -> list[NDArray[np.float32]]:
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    assert [node.name for node in session.get_outputs()] == ["anomaly_score", "health", "contribution"]
    outputs: list[NDArray[np.float32]] = session.run(None, {"window": windows.astype(np.float32)})
    return outputs


@pytest.mark.parametrize("window", [1, 10])
def test_both_statistics_are_those_of_scikit_learn(window: int) -> None:
    decomposition = pytest.importorskip("sklearn.decomposition")
    model = fit_pca(_plant(), window=window)
    means = np.array([_plant()[at : at + window].mean(0) for at in range(600 - window + 1)])
    z = (means - means.mean(0)) / means.std(0, ddof=1)
    oracle = decomposition.PCA(n_components=len(model.variances)).fit(z)
    t = oracle.transform(z)
    t2, q = model.statistics(sliding(_plant(), window))
    np.testing.assert_allclose(t2, (t**2 / oracle.explained_variance_).sum(1), rtol=1e-8)
    np.testing.assert_allclose(q, ((z - oracle.inverse_transform(t)) ** 2).sum(1), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("window", [1, 10])
@pytest.mark.parametrize("batch", [1, 32])
def test_the_graph_agrees_with_the_reference_on_calm_and_on_wild_frames(window: int, batch: int) -> None:
    model = fit_pca(_plant(), window=window)
    frames = _plant(batch + window - 1, seed=3)
    frames[len(frames) // 2 :] += frames.std(0) * [0, 0, 0, 8, 0, 0]
    windows = sliding(frames, window).astype(np.float32).astype(np.float64)
    for ours, theirs in zip(model.score(windows), _run(to_onnx(model), windows), strict=True):
        np.testing.assert_allclose(theirs.reshape(ours.shape), ours, rtol=2e-4, atol=1e-4)
        assert theirs.shape == (batch, ours.size // batch)


@pytest.mark.parametrize(("channels", "window"), [(6, 1), (6, 10), (3, 5), (16, 8)])
def test_a_window_has_the_same_score_bit_for_bit_alone_and_anywhere_in_a_batch(channels: int, window: int) -> None:
    rng = np.random.default_rng(channels)
    frames = rng.normal(size=(300, channels)) @ rng.normal(size=(channels, channels))
    content = to_onnx(fit_pca(frames, window=window))
    windows = sliding(frames, window)[:70]
    alone = [np.concatenate(column) for column in zip(*(_run(content, one[None]) for one in windows), strict=True)]
    for start, count in ((0, 70), (1, 64), (2, 33), (3, 17), (5, 6), (6, 2)):
        together = _run(content, windows[start : start + count])
        for single, column in zip(alone, together, strict=True):
            np.testing.assert_array_equal(column, single[start : start + count])


def test_at_unit_scale_the_graph_agrees_to_a_part_in_a_hundred_thousand() -> None:
    frames = np.random.default_rng(5).normal(size=(400, 6)) @ np.random.default_rng(6).normal(size=(6, 6))
    model = fit_pca(frames, window=5)
    windows = sliding(frames, 5).astype(np.float32).astype(np.float64)
    for ours, theirs in zip(model.score(windows), _run(to_onnx(model), windows), strict=True):
        np.testing.assert_allclose(theirs.reshape(ours.shape), ours, rtol=1e-5, atol=1e-5)


def test_few_training_rows_alarm_and_a_broken_sensor_does_and_is_named() -> None:
    model = fit_pca(_plant())
    assert (model.score(_plant(2000, seed=1)[:, None]).anomaly_score > 1).mean() < 0.01
    broken = _plant(50, seed=2)
    broken[:, 3] += 8 * _plant()[:, 3].std()
    scores = model.score(broken[:, None])
    assert (scores.anomaly_score > 1).all()
    assert (scores.health < 50).all()
    assert (scores.contribution.mean(0).argmax()) == 3


def test_without_margin_the_false_alarm_fraction_is_that_asked_for_on_each_statistic() -> None:
    model = fit_pca(_plant(), false_alarm_fraction=0.05, margin=1.0)
    t2, q = model.statistics(_plant()[:, None])
    assert (t2 > model.t2_limit).mean() == pytest.approx(0.05, abs=0.002)
    assert (q > model.q_limit).mean() == pytest.approx(0.05, abs=0.002)


def test_contributions_sum_to_one_even_on_the_mean_itself() -> None:
    model = fit_pca(_plant())
    windows = np.concatenate([_plant(20, seed=4), model.mean[None]])[:, None]
    np.testing.assert_allclose(model.score(windows).contribution.sum(1), 1)
    np.testing.assert_allclose(_run(to_onnx(model), windows)[2].sum(1), 1, rtol=1e-5)


def test_a_constant_channel_is_harmless_until_it_moves() -> None:
    frames = _plant()
    frames[:, 2] = 7.0
    model = fit_pca(frames)
    assert (model.score(frames[:, None]).anomaly_score <= 1).all()
    moved = frames[:5].copy()
    moved[:, 2] = 9.0
    scores = model.score(moved[:, None])
    assert (scores.anomaly_score > 1).all()
    assert (scores.contribution.argmax(1) == 2).all()


def test_channels_that_copy_each_other_do_not_alarm_on_rounding() -> None:
    one = _plant()[:, :1]
    frames = np.concatenate([one, 2 * one], axis=1)
    model = fit_pca(frames)
    scores = _run(to_onnx(model), frames[:, None])[0]
    assert (scores <= 1).all()


def test_one_channel_alone_can_be_watched() -> None:
    model = fit_pca(_plant()[:, :1])
    assert _run(to_onnx(model), np.full((1, 1, 1), 1e3))[0] > 1


@pytest.mark.parametrize(
    ("frames", "fault"),
    [
        (np.full((50, 2), np.nan), "row 0, channel 0 is nan"),
        (np.zeros((2, 2)), "at least 3 rows"),
        (np.zeros(9), "at least"),
        (np.ones((50, 2)), "no channel moves"),
    ],
)
def test_frames_that_cannot_be_learnt_from_are_refused(frames: Floats, fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        fit_pca(frames)


def test_arguments_out_of_range_are_refused() -> None:
    with pytest.raises(DataError, match="allowed"):
        fit_pca(_plant(), explained=0)


def _write(path: Path, model: PcaModel) -> None:
    channels = [Channel(name=f"c{at}") for at in range(6)]
    write_pca_bundle(
        path, model, _plant(), channels, name="plant", version="1", sample_period_s=1.0, trained_on="made here"
    )


def test_the_same_frames_give_the_same_bytes_and_the_bundle_reads_back(tmp_path: Path) -> None:
    for name in ("a", "b"):
        _write(tmp_path / name, fit_pca(_plant(), window=10))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    bundle = read_bundle(tmp_path / "a")
    assert bundle.manifest.window == 10
    assert bundle.manifest.threshold.open_at == 1
    assert bundle.model == to_onnx(fit_pca(_plant(), window=10))


def test_the_zoo_has_a_small_bundle_for_each_kind_and_is_reproducible(tmp_path: Path) -> None:
    channels = tuple(Channel(name=f"c{at}", unit="bar") for at in range(6))
    machines = {kind: HealthyRun(channels, _plant(seed=seed), 0.5) for seed, kind in enumerate(("pump", "fan"))}
    first = build_zoo(tmp_path / "a", machines)
    second = build_zoo(tmp_path / "b", dict(reversed(machines.items())))
    assert [path.name for path in first] == ["fan.bundle", "pump.bundle"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
        assert len(one.read_bytes()) < 1_000_000
        assert read_bundle(one).manifest.sample_period_s == 0.5


def test_the_zoo_names_the_kind_it_cannot_learn(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="pump: frames"):
        build_zoo(tmp_path, {"pump": HealthyRun((Channel(name="a"),), np.ones((50, 1)), 1.0)})
