"""Auto-encoders on a small made-up machine: two channels follow a load, one is apart, one never moves.

What all anomaly recipes keep to is tested in `test_anomaly_recipes.py`.
"""

from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.training.anomaly.base import AnomalyModel, raw_of
from models.training.table import DataError

pytestmark = pytest.mark.deep

Floats = NDArray[np.float64]
_BATCHES = (1, 2, 3, 7, 32, 33, 256)
_METHODS = ("dense_autoencoder", "conv_autoencoder")
_PARAMS = {
    "dense_autoencoder": {"window": 12, "hidden": 32, "code": 4},
    "conv_autoencoder": {"window": 12, "hidden": 16, "code": 4},
}


def _run(rows: int, seed: int) -> Floats:
    rng = np.random.default_rng(seed)
    load = np.sin(np.arange(rows) / 9 + rng.uniform(0, 6)) + 0.3 * np.sin(np.arange(rows) / 3.1)
    noise = rng.normal(size=(rows, 3))
    moving = [1000 + 50 * load + 2 * noise[:, 0], -3 + 0.2 * load + 0.01 * noise[:, 1], 5 + noise[:, 2]]
    return np.column_stack([*moving, np.full(rows, 7.0)])


def _fit(method: str, *, epochs: int = 40, seed: int = 0) -> AnomalyModel:
    recipe = import_module(f"models.training.anomaly.{method}")
    params = recipe.Params(**_PARAMS[method], epochs=epochs)
    model: AnomalyModel = recipe.fit([_run(500, 0), _run(300, 1)], params, seed=seed)
    return model


@cache
def _model(method: str) -> AnomalyModel:
    return _fit(method)


def _session(model: AnomalyModel) -> Any:
    import onnxruntime

    from models.training.anomaly.export import to_onnx

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(to_onnx(model, 3.0, 4), options, providers=["CPUExecutionProvider"])


def _windows(model: AnomalyModel, count: int = 256) -> NDArray[np.float32]:
    """Normal ones, and more and more wrong ones."""
    rows = _run(count + model.window - 1, 2).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(rows, model.window, axis=0).transpose(0, 2, 1)
    wrong: NDArray[np.float32] = windows + np.linspace(0, 17, count, dtype=np.float32)[:, None, None] ** 2
    return wrong


@pytest.mark.parametrize("method", _METHODS)
def test_a_normal_window_is_no_surprise_and_a_broken_relation_is_one(method: str) -> None:
    model, normal = _model(method), _run(400, 3)
    broken = normal.copy()
    broken[:, 1] = -3 + 0.2 * np.roll((normal[:, 0] - 1000) / 50, 9)
    usual, surprise = raw_of(model, normal)[0], raw_of(model, broken)[0]
    assert np.median(usual) < 4
    assert np.median(surprise) > 5 * np.quantile(usual, 0.99)


@pytest.mark.parametrize("method", _METHODS)
@pytest.mark.parametrize("channel", [2, 3])
def test_the_channel_that_leaves_its_level_has_the_largest_share(method: str, channel: int) -> None:
    shifted = _run(200, 3)
    shifted[:, channel] += 10
    raw, shares = raw_of(_model(method), shifted)
    assert np.median(raw) > 10
    assert (shares.argmax(1) == channel).mean() > 0.95
    np.testing.assert_allclose(shares.sum(1), 1)


@pytest.mark.parametrize("method", _METHODS)
def test_the_graph_agrees_with_pytorch(method: str) -> None:
    model = _model(method)
    windows = _windows(model)
    raw, shares = model.raw(windows.astype(np.float64))
    score, health, contribution = _session(model).run(None, {"window": windows})
    for ours, theirs in ((raw / 3, score[:, 0]), (100 / (1 + (raw / 3) ** 2), health[:, 0]), (shares, contribution)):
        assert (np.abs(ours - theirs) / np.maximum(1, np.abs(ours))).max() < 1e-5


@pytest.mark.parametrize("method", _METHODS)
def test_a_window_has_the_same_bits_alone_and_in_any_batch(method: str) -> None:
    model = _model(method)
    session, windows = _session(model), _windows(model)
    alone = [np.concatenate(c) for c in zip(*(session.run(None, {"window": w[None]}) for w in windows), strict=True)]
    for size in _BATCHES:
        for single, column in zip(alone, session.run(None, {"window": windows[:size]}), strict=True):
            np.testing.assert_array_equal(column, single[:size], err_msg=f"batch {size}")


@pytest.mark.parametrize("method", _METHODS)
def test_the_same_seed_gives_the_same_bytes_and_leaves_the_random_state_alone(method: str) -> None:
    import torch

    from models.training.anomaly.export import to_onnx

    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    first, again, other = (to_onnx(_fit(method, epochs=2, seed=seed), 3.0, 4) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert torch.equal(before, torch.random.get_rng_state())


def test_training_ends_early_where_nothing_gets_better_and_tells_its_progress_to_the_end() -> None:
    from models.training.anomaly import dense_autoencoder

    told: list[tuple[int, int]] = []
    noise = [np.random.default_rng(0).normal(size=(120, 2))]
    params = dense_autoencoder.Params(window=4, hidden=64, code=8, hide=0, epochs=1000)
    dense_autoencoder.fit(noise, params, advance=lambda done, of: told.append((done, of)))
    assert len(told) < 500
    assert told == sorted(told)
    assert told[-1] == (1000, 1000)


@pytest.mark.parametrize("method", _METHODS)
def test_runs_that_leave_nothing_to_hold_out_are_refused(method: str) -> None:
    recipe = import_module(f"models.training.anomaly.{method}")
    with pytest.raises(DataError, match="windows of 12 frames; at least 3"):
        recipe.fit([_run(40, 0)], recipe.Params(**_PARAMS[method]))


def test_windows_that_cannot_be_halved_twice_are_refused() -> None:
    from pydantic import ValidationError

    from models.training.anomaly import conv_autoencoder

    with pytest.raises(ValidationError, match="multiple of 4"):
        conv_autoencoder.Params(window=10)


def test_windows_are_cut_from_each_run_alone_and_thinned_evenly() -> None:
    from models.training.deep.windows import gather

    runs = [np.arange(10.0)[:, None], np.full((2, 1), -1.0), np.arange(100.0, 106.0)[:, None]]
    windows = gather(runs, 4)
    cut = windows.take(np.arange(len(windows.starts)))[..., 0]
    np.testing.assert_array_equal(cut[:, 0], [*range(7), 100, 101, 102])
    np.testing.assert_array_equal(np.diff(cut, axis=1), 1)
    assert windows.thin(5).starts.tolist() == windows.starts[::2].tolist()
    assert windows.thin(100).starts.tolist() == windows.starts.tolist()
    assert sum(len(part) for part in windows.parts()) == 10
