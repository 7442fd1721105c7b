"""Quality from process data, on a small made-up process whose physics is known."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from models.bundle import Channel, read_bundle
from models.training.table import DataError

pytest.importorskip("sklearn")
from models.training.quality import trees
from models.training.quality.base import QualityModel, quality_of
from models.training.quality.export import to_onnx, write_quality_bundle

Floats = NDArray[np.float64]
_SPECIFIED = {"target": "specification", "centre": 1.0, "tolerance": 1.0}
_BATCHES = (1, 2, 3, 7, 32, 33, 256)


def _process(rows: int, seed: int) -> tuple[Floats, Floats]:
    """Frames of speed, torque, heat, and a channel without meaning; how far a product is from its centre of 10."""
    rng = np.random.default_rng(seed)
    frames = rng.normal([1500.0, 40.0, 300.0, 0.0], [200.0, 10.0, 2.0, 1.0], size=(rows, 4))
    power = frames[:, 0] * frames[:, 1] / 60000
    return frames, 10 + 4 * (power - 1) + np.maximum(0, frames[:, 2] - 302) + 0.1 * rng.normal(size=rows)


def _is_bad(target: Floats) -> Floats:
    return (np.abs(target - 10) > 1.5).astype(float)


@cache
def _graded(window: int = 1) -> QualityModel:
    return trees.fit(
        *_process(2000, 0), trees.Params(target="specification", centre=10.0, tolerance=1.5, trees=150, window=window)
    )


@cache
def _sorted() -> QualityModel:
    frames, target = _process(2000, 0)
    return trees.fit(frames, _is_bad(target), trees.Params(target="bad", trees=150))


def _session(model: QualityModel) -> Any:
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    return runtime.InferenceSession(to_onnx(model), options, providers=["CPUExecutionProvider"])


def _windows(rows: int = 400, window: int = 1) -> NDArray[np.float32]:
    frames = _process(rows * window, 1)[0].astype(np.float32)
    return frames.reshape(rows, window, 4)


def test_products_never_seen_are_graded_far_better_than_by_the_mean() -> None:
    frames, target = _process(1000, 2)
    quality = 100 / (1 + ((target - 10) / 1.5) ** 2)
    error = _graded().score(frames[:, None]).quality_score - quality
    assert error.std() < 0.4 * quality.std()
    assert _graded().held_out["held_out_rmse"] == pytest.approx(float(np.sqrt((error**2).mean())), rel=0.25)


def test_bad_products_rank_below_good_ones_and_better_than_by_a_logistic_regression() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import average_precision_score

    frames, target = _process(2000, 0)
    later, judged = _process(1000, 2)
    line = LogisticRegression(max_iter=1000).fit(frames / frames.std(0), _is_bad(target))
    by_line = average_precision_score(_is_bad(judged), line.predict_proba(later / frames.std(0))[:, 1])
    ours = average_precision_score(_is_bad(judged), -_sorted().score(later[:, None]).quality_score)
    assert ours > by_line + 0.2
    assert _sorted().held_out["held_out_pr_auc"] == pytest.approx(ours, abs=0.1)
    assert _sorted().held_out["held_out_roc_auc"] > 0.9


@pytest.mark.parametrize("model", [_graded, _sorted])
def test_the_channel_that_is_wrong_pulls_down_and_its_direction_brings_the_product_back(model: Any) -> None:
    hot, weak, fine = [1500.0, 40.0, 305.5, 0.0], [1500.0, 18.0, 300.0, 0.0], [1500.0, 40.0, 300.0, 0.0]
    quality, contribution, direction = model().score(np.array([hot, weak, fine])[:, None])
    assert quality[0] < 40
    assert quality[1] < 40
    assert quality[2] > 80
    assert contribution[0].argmax() == 2
    assert direction[0, 2] < -0.2
    assert contribution[1].argmax() == 1
    assert direction[1, 1] > 0.2
    assert np.abs(direction[:, 3]).max() < 0.1, "a channel without meaning is left alone"


def test_two_faults_that_each_spoil_the_product_are_both_seen() -> None:
    contribution = _sorted().score(np.array([[[1500.0, 62.0, 305.5, 0.0]]])).contribution[0]
    assert contribution[1] > 0.25
    assert contribution[2] > 0.25


@pytest.mark.parametrize("model", [_graded, _sorted, lambda: _graded(5)], ids=["graded", "sorted", "mean of 5"])
def test_outputs_stay_in_their_ranges_whatever_the_frames(model: Any) -> None:
    wild = np.random.default_rng(3).normal(size=(200, model().window, 4)) * 10.0 ** np.arange(-3, 5)[
        :, None, None
    ].repeat(25, 0)
    quality, contribution, direction = model().score(wild)
    assert ((quality >= 0) & (quality <= 100)).all()
    np.testing.assert_allclose(contribution.sum(1), 1)
    assert (contribution >= 0).all()
    assert (np.abs(direction) <= 1).all()


@pytest.mark.parametrize("model", [_graded, _sorted])
def test_the_graph_agrees_with_scikit_learn(model: Any) -> None:
    windows = _windows()
    expected = model().score(windows.astype(np.float64))
    session = _session(model())
    assert [node.name for node in session.get_outputs()] == ["quality_score", "contribution", "direction"]
    quality, *rest = session.run(None, {"window": windows})
    for ours, theirs in zip(expected, (quality[:, 0], *rest), strict=True):
        assert (np.abs(ours - theirs) / np.maximum(1, np.abs(ours))).max() < 1e-5


def test_the_graph_of_longer_windows_agrees_but_where_a_mean_lies_on_a_split() -> None:
    windows = _windows(window=5)
    expected = _graded(5).score(windows.astype(np.float64)).quality_score
    found = _session(_graded(5)).run(None, {"window": windows})[0][:, 0]
    assert (np.abs(found - expected) > 1e-3).mean() < 0.03


@pytest.mark.parametrize("model", [_graded, _sorted, lambda: _graded(5)], ids=["graded", "sorted", "mean of 5"])
def test_a_product_has_the_same_bits_alone_and_in_any_batch(model: Any) -> None:
    session, windows = _session(model()), _windows(256, model().window)
    alone = [np.concatenate(c) for c in zip(*(session.run(None, {"window": w[None]}) for w in windows), strict=True)]
    for size in _BATCHES:
        for single, column in zip(alone, session.run(None, {"window": windows[:size]}), strict=True):
            np.testing.assert_array_equal(column, single[:size], err_msg=f"batch {size}")


def test_the_same_seed_gives_the_same_bytes_and_the_bundle_reads_back(tmp_path: Path) -> None:
    frames, target = _process(300, 0)
    for name in "ab":
        model = trees.fit(
            frames, target, trees.Params(target="specification", centre=10.0, tolerance=1.5, trees=20), seed=1
        )
        channels = [Channel(name=each) for each in ("speed", "torque", "heat", "noise")]
        write_quality_bundle(
            tmp_path / name, model, channels, name="gear", version="1", sample_period_s=60, trained_on="made here"
        )
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    manifest = read_bundle(tmp_path / "a").manifest
    assert manifest.kind == "quality"
    assert manifest.threshold.open_at == 50
    assert not manifest.threshold.above
    assert json.loads(manifest.model_dump_json())["evaluation"].keys() >= {"held_out_rmse", "held_out_explained"}


def test_quality_is_100_at_the_centre_and_50_at_the_limits() -> None:
    params = trees.Params(target="specification", centre=10.0, tolerance=2.0)
    np.testing.assert_allclose(quality_of(np.array([10.0, 8.0, 12.0, 30.0]), params), [100, 50, 50, 0], atol=1)
    np.testing.assert_array_equal(quality_of(np.array([0.0, 1.0]), trees.Params(target="bad")), [100, 0])
    np.testing.assert_array_equal(quality_of(np.array([0.0, 1.0]), trees.Params(target="good")), [0, 100])
    np.testing.assert_array_equal(quality_of(np.array([30.0, 80.0]), trees.Params()), [30, 80])


def test_products_that_were_not_measured_are_not_learnt_from() -> None:
    frames, target = _process(600, 0)
    target[::3] = np.nan
    params = trees.Params(target="specification", centre=10.0, tolerance=1.5, trees=20)
    seen = trees.fit(frames[~np.isnan(target)], target[~np.isnan(target)], params)
    assert trees.fit(frames, target, params).held_out == seen.held_out


def test_windows_never_span_two_runs() -> None:
    frames, target = _process(600, 0)
    params = trees.Params(target="specification", centre=10.0, tolerance=1.5, trees=20, window=10)
    # A run shorter than the window adds nothing, whatever it holds.
    odd = np.concatenate([frames, np.full((9, 4), 1e6)])
    with_odd = trees.fit(odd, np.concatenate([target, np.full(9, 10.0)]), params, lengths=[600, 9])
    assert with_odd.held_out == trees.fit(frames, target, params).held_out


def test_a_block_of_time_that_holds_all_bad_products_is_judged_without_having_seen_one() -> None:
    frames, bad = _process(500, 0)[0], np.zeros(500)
    bad[:90] = np.arange(90) % 2
    model = trees.fit(frames, bad, trees.Params(target="bad", trees=20))
    assert model.held_out["held_out_roc_auc"] <= 0.6


@pytest.mark.parametrize("window", [1, 40])
def test_where_frames_say_nothing_of_a_slow_target_held_out_products_are_graded_no_better_than_by_the_mean(
    window: int,
) -> None:
    rng = np.random.default_rng(0)
    frames = rng.normal(size=(900, 3)).cumsum(0)  # each place in time looks like no other: neighbours give it away
    target = 50 + 8 * np.convolve(rng.normal(size=900), np.ones(40) / 6, "same").clip(-6, 6)
    found = trees.fit(frames, target, trees.Params(window=window, trees=40)).held_out
    assert found["held_out_explained"] < 0.1


def test_progress_is_told_to_the_end() -> None:
    told: list[tuple[int, int]] = []
    frames, target = _process(200, 0)
    trees.fit(
        frames,
        target,
        trees.Params(target="specification", centre=10.0, tolerance=1.5, trees=5),
        advance=lambda done, of: told.append((done, of)),
    )
    shares = [done / of for done, of in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1


@pytest.mark.parametrize(
    ("frames", "target", "settings", "fault"),
    [
        (np.ones((100, 2)), np.ones(99), {}, r"frames \(100, 2\), target \(99,\)"),
        (np.ones(100), np.ones(100), {}, "are needed"),
        (np.full((100, 2), np.nan), np.ones(100), {}, "row 0, channel 0 is nan"),
        (_process(40, 0)[0], np.arange(40) % 2.0, {}, "at least 50"),
        (_process(90, 0)[0], np.where(np.arange(90) % 2, np.nan, 1.0), {}, "45 products with a target"),
        (
            _process(90, 0)[0],
            np.arange(90) / 7,
            {"target": "good"},
            "0.142857; with model.target = 'good' 0 and 1 is allowed",
        ),
        (_process(90, 0)[0], np.full(90, 50.0), {}, "nothing to learn"),
        (_process(90, 0)[0], np.arange(90) % 2.0, {}, "model.target = 'good' or 'bad'"),
        (_process(90, 0)[0], np.full(90, np.inf), _SPECIFIED, "nothing to learn"),
        (_process(90, 0)[0], np.arange(90) + 20.0, {}, "101; with model.target = 'score' 0 to 100, or"),
    ],
)
def test_data_that_cannot_be_learnt_from_are_refused(
    frames: Floats, target: Floats, settings: dict[str, Any], fault: str
) -> None:
    with pytest.raises(DataError, match=fault):
        trees.fit(frames, target, trees.Params.model_validate(settings))


@pytest.mark.parametrize(
    "settings",
    [{"centre": 1.0}, {"target": "specification", "tolerance": 1.0}, _SPECIFIED | {"tolerance": 0}, {"target": "both"}],
)
def test_half_a_specification_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"tolerance|specification"):
        trees.Params.model_validate(settings)
