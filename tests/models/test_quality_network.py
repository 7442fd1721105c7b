"""Quality from a network: what differs from trees; what all quality models share is tested there."""

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from models.training.quality import network
from models.training.quality.base import QualityModel
from models.training.quality.export import to_onnx

pytestmark = pytest.mark.deep

_BATCHES = (1, 2, 3, 7, 32, 33, 256)


def _process(rows: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Quality falls with the distance of two channels from 20 and 5; a third means nothing."""
    rng = np.random.default_rng(seed)
    frames = rng.normal([20.0, 5.0, 0.0], [4.0, 1.0, 1.0], size=(rows, 3))
    off = ((frames[:, 0] - 20) / 8) ** 2 + ((frames[:, 1] - 5) / 2) ** 2
    return frames, 100 / (1 + off + 0.02 * rng.normal(size=rows) ** 2)


@cache
def _model() -> QualityModel:
    return network.fit(*_process(800, 0), network.Params(hidden=32, epochs=60))


def test_products_never_seen_are_graded_far_better_than_by_the_mean() -> None:
    frames, quality = _process(500, 1)
    error = _model().score(frames[:, None]).quality_score - quality
    assert error.std() < 0.4 * quality.std()
    assert _model().held_out["held_out_explained"] > 0.8


def test_directions_lead_back_to_the_centre_from_both_sides() -> None:
    quality, contribution, direction = _model().score(np.array([[[29.0, 5, 0]], [[11.0, 5, 0]], [[20.0, 5, 0]]]))
    assert quality[2] > 90
    assert max(quality[:2]) < 65
    assert contribution[:2].argmax(1).tolist() == [0, 0]
    assert direction[0, 0] < -0.3
    assert direction[1, 0] > 0.3
    assert np.abs(direction[:2, 2]).max() < 0.2


def test_the_graph_agrees_with_pytorch_and_does_not_depend_on_the_batch() -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(to_onnx(_model()), options, providers=["CPUExecutionProvider"])
    windows = _process(256, 2)[0][:, None].astype(np.float32)
    quality, *rest = session.run(None, {"window": windows})
    for ours, theirs in zip(_model().score(windows.astype(np.float64)), (quality[:, 0], *rest), strict=True):
        assert (np.abs(ours - theirs) / np.maximum(1, np.abs(ours))).max() < 1e-5
    alone = [np.concatenate(c) for c in zip(*(session.run(None, {"window": w[None]}) for w in windows), strict=True)]
    for size in _BATCHES:
        for single, column in zip(alone, session.run(None, {"window": windows[:size]}), strict=True):
            np.testing.assert_array_equal(column, single[:size], err_msg=f"batch {size}")
