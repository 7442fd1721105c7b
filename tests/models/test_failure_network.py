"""The networks that predict remaining life, against PyTorch itself."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
from models.training.failure import network
from models.training.failure.base import FailureModel, windows_at
from models.training.failure.export import OUTPUTS, to_onnx
from tests.models.worn_fleet import Floats, worn_fleet

pytestmark = pytest.mark.deep


def _fit(units: Sequence[Floats], *, steps: int, **settings: Any) -> FailureModel:
    params = network.Params(window=40, cap_h=125, folds=2, steps=steps, hidden=32)
    return network.fit(units, params, settings=1, **settings)


@cache
def _model(regimes: int) -> FailureModel:
    return _fit(worn_fleet(20, 0, regimes), steps=100)


@pytest.mark.parametrize("regimes", [1, 3])
def test_units_never_seen_are_predicted_far_better_than_by_the_mean(regimes: int) -> None:
    model = _model(regimes)
    units = worn_fleet(20, 1, regimes)
    cuts = np.random.default_rng(0).integers(40, 100, size=len(units))
    truth = np.array([min(len(unit) - cut, 125) for unit, cut in zip(units, cuts, strict=True)])
    found = [model.predict_last(unit[:cut]).rul[0] for unit, cut in zip(units, cuts, strict=True)]
    assert (found - truth).std() < 0.7 * truth.std()


@pytest.mark.parametrize("regimes", [1, 3])
def test_the_graph_says_what_pytorch_says_alone_and_in_a_batch(regimes: int) -> None:
    runtime = pytest.importorskip("onnxruntime")
    model = _model(regimes)
    frames = worn_fleet(1, 1, regimes)[0][:, list(model.kept)].astype(np.float32)
    windows = windows_at(frames.astype(np.float64), model.window, np.arange(60)).astype(np.float32)
    session = runtime.InferenceSession(to_onnx(model), providers=["CPUExecutionProvider"])
    found = session.run(None, {"window": windows})
    ours = model.predict(windows.astype(np.float64))
    for name, column, value in zip(OUTPUTS, found, (*ours, ours.rul * 100 / 125), strict=True):
        error = np.abs(column[:, 0] - value) / np.maximum(1, np.abs(value))
        assert error.max() <= 1e-5, name
    for start, count in ((0, 1), (7, 1), (1, 33), (2, 17), (3, 6), (4, 2)):
        together = session.run(None, {"window": windows[start : start + count]})
        for column, part in zip(found, together, strict=True):
            np.testing.assert_array_equal(part, column[start : start + count])


def test_the_same_seed_gives_the_same_bytes_and_leaves_random_numbers_alone() -> None:
    import torch

    units = worn_fleet(6, 0)
    torch.manual_seed(5)
    first = torch.rand(1)
    torch.manual_seed(5)
    made = [to_onnx(_fit(units, steps=5, seed=seed)) for seed in (1, 1, 2)]
    assert torch.rand(1) == first
    assert made[0] == made[1] != made[2]


def test_progress_counts_the_members() -> None:
    told: list[tuple[int, int]] = []
    _fit(worn_fleet(6, 0), steps=5, advance=lambda done, of: told.append((done, of)))
    assert told == [(0, 2), (1, 2), (2, 2)]
