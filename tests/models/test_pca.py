"""The principal-component model against scikit-learn, the bundle it goes into, and the zoo made of it."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.bundle import Channel, read_bundle
from models.training.anomaly import pca
from models.training.anomaly.base import raw_of, sliding
from models.training.anomaly.calibrate import Budget, calibrate
from models.training.anomaly.export import score, to_onnx, write_anomaly_bundle
from models.training.table import DataError
from models.training.zoo import HealthyRun, build_zoo

Floats = NDArray[np.float64]


def _plant(rows: int = 600, seed: int = 0, noise: float = 0.1) -> Floats:
    """Six channels of unlike units that follow two causes."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(rows, 2)) @ np.random.default_rng(99).normal(size=(2, 6))
    mixed += noise * rng.normal(size=(rows, 6))
    return mixed * [1, 10, 0.01, 5, 1, 300] + [0, 50, 1, -20, 90, 1000]


def _run(content: bytes, windows: Floats) -> list[NDArray[np.float32]]:
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    outputs: list[NDArray[np.float32]] = session.run(None, {"window": windows.astype(np.float32)})
    return outputs


@pytest.mark.parametrize("window", [1, 10])
def test_both_statistics_are_those_of_scikit_learn(window: int) -> None:
    decomposition = pytest.importorskip("sklearn.decomposition")
    model = pca.fit([_plant()], pca.Params(window=window))
    means = np.array([_plant()[at : at + window].mean(0) for at in range(600 - window + 1)])
    z = (means - means.mean(0)) / means.std(0, ddof=1)
    oracle = decomposition.PCA(n_components=len(model.variances)).fit(z)
    t = oracle.transform(z)
    t2, q = model.statistics(sliding(_plant(), window))
    np.testing.assert_allclose(t2, (t**2 / oracle.explained_variance_).sum(1), rtol=1e-8)
    np.testing.assert_allclose(q, ((z - oracle.inverse_transform(t)) ** 2).sum(1), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("shrinkage", [0.2, 0.5, 1.0])
def test_with_shrinkage_t2_is_the_distance_of_the_shrunk_covariance_of_scikit_learn(shrinkage: float) -> None:
    covariance = pytest.importorskip("sklearn.covariance")
    model = pca.fit([_plant()], pca.Params(window=1, explained=1.0, shrinkage=shrinkage))
    z = (_plant() - _plant().mean(0)) / _plant().std(0, ddof=1)
    shrunk = covariance.shrunk_covariance(np.cov(z.T), shrinkage)
    distance = np.einsum("ij,jk,ik->i", z, np.linalg.inv(shrunk), z)
    np.testing.assert_allclose(model.statistics(_plant()[:, None])[0], distance, rtol=1e-8)


@pytest.mark.parametrize(("channels", "window"), [(6, 1), (6, 10), (3, 5), (16, 8)])
def test_a_window_has_the_same_score_bit_for_bit_alone_and_anywhere_in_a_batch(channels: int, window: int) -> None:
    rng = np.random.default_rng(channels)
    frames = rng.normal(size=(300, channels)) @ rng.normal(size=(channels, channels))
    content = to_onnx(pca.fit([frames], pca.Params(window=window)), 4.0, channels)
    windows = sliding(frames, window)[:70]
    alone = [np.concatenate(column) for column in zip(*(_run(content, one[None]) for one in windows), strict=True)]
    for start, count in ((0, 70), (1, 64), (2, 33), (3, 17), (5, 6), (6, 2)):
        together = _run(content, windows[start : start + count])
        for single, column in zip(alone, together, strict=True):
            np.testing.assert_array_equal(column, single[start : start + count])


def test_few_healthy_rows_alarm_and_a_broken_sensor_does_and_is_named() -> None:
    model = pca.fit([_plant()], pca.Params(window=1))
    assert (model.raw(_plant(2000, seed=1)[:, None])[0] > 4).mean() < 0.01
    broken = _plant(50, seed=2)
    broken[:, 3] += 8 * _plant()[:, 3].std()
    scores = score(model, 4.0, broken[:, None])
    assert (scores.anomaly_score > 1).all()
    assert (scores.health < 50).all()
    assert scores.contribution.mean(0).argmax() == 3


def test_a_share_is_what_the_distance_loses_without_its_channel() -> None:
    frames, windows = _plant(noise=0.5), 2 * _plant(50, seed=1, noise=0.5)[:, None]
    model = pca.fit([frames], pca.Params(window=1))
    z = (windows[:, 0] - frames.mean(0)) / frames.std(0, ddof=1)
    whole = np.atleast_2d(np.corrcoef(frames.T))

    def distance(kept: list[int]) -> Floats:
        there = z[:, kept]
        found: Floats = np.einsum("ij,jk,ik->i", there, np.linalg.inv(whole[np.ix_(kept, kept)]), there)
        return found

    every = list(range(6))
    lost = np.column_stack([distance(every) - distance([c for c in every if c != channel]) for channel in every])
    np.testing.assert_allclose(model.raw(windows)[1], lost / lost.sum(1, keepdims=True), rtol=1e-6, atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 999),
    channels=st.integers(1, 8),
    causes=st.integers(1, 8),
    explained=st.sampled_from([0.5, 0.9, 1.0]),
    shrinkage=st.sampled_from([0.0, 0.5, 1.0]),
    off=st.floats(-1e3, 1e3).filter(lambda off: abs(off) > 0.1),
)
def test_a_channel_that_alone_is_off_has_the_largest_share_however_channels_go_together(
    seed: int, channels: int, causes: int, explained: float, shrinkage: float, off: float
) -> None:
    rng = np.random.default_rng(seed)
    frames = rng.normal(size=(60, causes)) @ rng.normal(size=(causes, channels))
    model = pca.fit([frames], pca.Params(window=3, explained=explained, shrinkage=shrinkage))
    windows = model.scaling.mean + off * np.eye(channels)[:, None] * model.scaling.scale * np.ones((1, 3, 1))
    shares = model.raw(windows)[1]
    assert (np.diag(shares) >= shares.max(1) - 1e-6).all()


def test_the_share_of_training_windows_beyond_each_unit_is_that_asked_for() -> None:
    model = pca.fit([_plant()], pca.Params(window=1, explained=0.9, beyond=0.05))
    t2, q = model.statistics(_plant()[:, None])
    assert (t2 > model.t2_unit).mean() == pytest.approx(0.05, abs=0.002)
    assert (q > model.q_unit).mean() == pytest.approx(0.05, abs=0.002)


def test_by_default_a_drift_along_what_the_plant_does_least_is_seen() -> None:
    """Most of the variance is the plant's own movement: a few components explain it, and take faults for more of it."""
    normal, model = _plant(), pca.fit([_plant()], pca.Params())
    worst = np.linalg.svd(normal - normal.mean(0), full_matrices=False)[2][-1]
    drift = np.linspace(0, 10, 100)[:, None] * worst * normal.std(0)
    windows = np.lib.stride_tricks.sliding_window_view(_plant(100, seed=5) + drift, 10, axis=0).transpose(0, 2, 1)
    assert model.raw(windows)[0][-1] > 10


def test_shares_add_to_one_even_on_the_mean_itself() -> None:
    model = pca.fit([_plant()], pca.Params(window=1))
    windows = np.concatenate([_plant(20, seed=4), model.scaling.mean[None]])[:, None]
    np.testing.assert_allclose(model.raw(windows)[1].sum(1), 1)
    np.testing.assert_allclose(_run(to_onnx(model, 4.0, 6), windows)[2].sum(1), 1, rtol=1e-5)


def test_channels_that_copy_each_other_do_not_alarm_on_rounding() -> None:
    one = _plant()[:, :1]
    frames = np.concatenate([one, 2 * one], axis=1)
    model = pca.fit([frames], pca.Params(window=1))
    assert (_run(to_onnx(model, 4.0, 2), frames[:, None])[0] <= 1).all()


def test_one_channel_alone_can_be_watched() -> None:
    model = pca.fit([_plant()[:, :1]], pca.Params(window=1))
    assert _run(to_onnx(model, 4.0, 1), np.full((1, 1, 1), 1e3))[0] > 1


def _consecutive(content: bytes, windows: Floats, state: NDArray[np.float32]) -> tuple[Floats, NDArray[np.float32]]:
    """Scores [n] and the last state [1, state], window after window as the agent runs them."""
    runtime = pytest.importorskip("onnxruntime")
    session, scores = runtime.InferenceSession(content, providers=["CPUExecutionProvider"]), []
    for window in windows.astype(np.float32):
        score, state = session.run(["anomaly_score", "state_next"], {"window": window[None], "state": state})
        scores.append(score[0, 0])
    return np.array(scores), state


def _warm_up(slope: float, rows: int = 3000, seed: int = 3) -> Floats:
    """The plant with one channel that drifts by `slope` of its standard deviations a row, throughout."""
    values = _plant(rows, seed)
    values[:, 2] += slope * np.arange(rows) * _plant()[:, 2].std()
    return values


def test_the_graph_follows_a_drift_as_the_reference_does() -> None:
    model = pca.fit([_warm_up(0.01)[:600]], pca.Params(window=5, follow=0.5))
    windows = sliding(_warm_up(0.01)[:1500], 5)
    scores, state = _consecutive(to_onnx(model, 4.0, 6), windows, np.zeros((1, model.state), np.float32))
    np.testing.assert_allclose(scores, model.raw(windows)[0] / 4, rtol=1e-4)
    assert 3 < state[0, 2] < 10


def test_a_drift_that_training_began_is_normal_later_and_a_step_is_not() -> None:
    drift = _warm_up(0.01)
    still, follows = (pca.fit([drift[:600]], pca.Params(follow=share)) for share in (0.0, 1.0))
    later = slice(1500, None)
    assert (raw_of(still, drift)[0][later] > 4).mean() > 0.9
    assert (raw_of(follows, drift)[0][later] > 4).mean() < 0.05
    drift[2000:, 4] += 8 * _plant()[:, 4].std()
    assert (raw_of(follows, drift)[0][2010:2300] > 4).all()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), follow=st.floats(0.01, 1), size=st.floats(-1e6, 1e6))
def test_a_level_never_moves_faster_than_the_drift_that_training_can_hold(
    seed: int, follow: float, size: float
) -> None:
    line = np.arange(200.0)[:, None]
    of_a_line = (line[1] - line[0])[0] / line.std(ddof=1)
    model = pca.fit([_plant(200, seed)], pca.Params(window=1, follow=follow))
    z = size * np.random.default_rng(seed).normal(size=(100, 6))
    steps = np.diff(model.levels(z), axis=0)
    assert np.abs(steps).max() <= follow * of_a_line * 1.01


def test_levels_of_another_training_are_not_gone_on_with() -> None:
    first, again = (pca.fit([_plant(seed=seed)], pca.Params(follow=1.0)) for seed in (0, 1))
    windows = sliding(_plant(300, seed=5) + 3 * _plant().std(0), 10)
    fresh = np.zeros((1, 7), np.float32)
    scores, state = _consecutive(to_onnx(first, 4.0, 6), windows, fresh)
    gone_on, _ = _consecutive(to_onnx(first, 4.0, 6), windows[-50:], state)
    anew, _ = _consecutive(to_onnx(again, 4.0, 6), windows[-50:], state)
    assert gone_on.max() < scores.max()
    np.testing.assert_array_equal(anew, _consecutive(to_onnx(again, 4.0, 6), windows[-50:], fresh)[0])


def test_a_machine_that_follows_has_the_same_bits_whatever_else_is_in_its_batch() -> None:
    runtime = pytest.importorskip("onnxruntime")
    model = pca.fit([_plant()], pca.Params(follow=1.0))
    session = runtime.InferenceSession(to_onnx(model, 4.0, 6), providers=["CPUExecutionProvider"])
    windows = sliding(_plant(60, seed=8), 10)[:40].astype(np.float32)
    state = np.full((40, 7), model.mark, np.float32)
    state[:, :6] = np.random.default_rng(0).normal(size=(40, 6))
    together = session.run(None, {"window": windows, "state": state})
    for at in range(40):
        alone = session.run(None, {"window": windows[at : at + 1], "state": state[at : at + 1]})
        for one, many in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one[0], many[at])


def _write(path: Path) -> None:
    model = pca.fit([_plant()], pca.Params())
    calibration = calibrate([raw_of(model, _plant(400, 5))[0]], Budget(), sample_period_s=60.0)
    channels = [Channel(name=f"c{at}") for at in range(6)]
    write_anomaly_bundle(
        path,
        model,
        calibration,
        channels,
        name="plant",
        version="1",
        sample_period_s=60.0,
        trained_on="made here",
    )


def test_the_same_frames_give_the_same_bytes_and_the_bundle_tells_what_its_limit_rests_on(tmp_path: Path) -> None:
    for name in ("a", "b"):
        _write(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    bundle = read_bundle(tmp_path / "a")
    assert bundle.manifest.window == 10
    assert bundle.manifest.threshold.open_at == 1
    assert bundle.manifest.threshold.close_at < 1
    assert bundle.manifest.threshold.open_after == 3
    assert bundle.manifest.evaluation["false_alarms_per_week_asked_for"] == pytest.approx(1)


def _machines() -> dict[str, HealthyRun]:
    channels = tuple(Channel(name=f"c{at}", unit="bar") for at in range(6))
    runs = {kind: (_plant(seed=seed), _plant(500, seed=9 + seed)) for seed, kind in enumerate(("pump", "fan"))}
    return {kind: HealthyRun(channels, each, 0.5) for kind, each in runs.items()}


def test_the_zoo_has_a_small_bundle_for_each_kind_and_is_reproducible(tmp_path: Path) -> None:
    first = build_zoo(tmp_path / "a", _machines())
    second = build_zoo(tmp_path / "b", dict(reversed(_machines().items())))
    assert [path.name for path in first] == ["fan.bundle", "pump.bundle"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
        assert len(one.read_bytes()) < 1_000_000
        assert read_bundle(one).manifest.sample_period_s == 0.5


def test_the_zoo_names_the_kind_it_cannot_learn(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="pump: runs"):
        build_zoo(tmp_path, {"pump": HealthyRun((Channel(name="a"),), (np.ones((50, 1)),), 1.0)})
