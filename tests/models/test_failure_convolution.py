"""The convolutional networks that predict remaining life, against PyTorch itself."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

pytest.importorskip("sklearn")
from models.training.failure import convolution
from models.training.failure.base import FailureModel, windows_at
from models.training.failure.export import OUTPUTS, to_onnx
from tests.models.worn_fleet import Floats, worn_fleet


def _fit(units: Sequence[Floats], *, steps: int, window: int = 40, pool: int = 5, **settings: Any) -> FailureModel:
    params = convolution.Params(window=window, pool=pool, cap_h=125, folds=2, steps=steps, hidden=32)
    return convolution.fit(units, params, settings=1, **settings)


@cache
def _model(regimes: int) -> FailureModel:
    return _fit(worn_fleet(20, 0, regimes), steps=100)


def _windows(model: FailureModel, regimes: int) -> Floats:
    """Of float32 numbers, as the graph is given them."""
    unit = worn_fleet(1, 1, regimes)[0][:, list(model.kept)].astype(np.float32)
    return windows_at(unit.astype(np.float64), model.window, np.arange(60))


@pytest.mark.deep
@pytest.mark.parametrize("regimes", [1, 3])
def test_units_never_seen_are_predicted_far_better_than_by_the_mean(regimes: int) -> None:
    model = _model(regimes)
    units = worn_fleet(20, 1, regimes)
    cuts = np.random.default_rng(0).integers(40, 100, size=len(units))
    truth = np.array([min(len(unit) - cut, 125) for unit, cut in zip(units, cuts, strict=True)])
    found = [model.predict_last(unit[:cut]).rul[0] for unit, cut in zip(units, cuts, strict=True)]
    assert (found - truth).std() < 0.7 * truth.std()


@pytest.mark.deep
@pytest.mark.parametrize("regimes", [1, 3])
def test_the_graph_says_what_pytorch_says_alone_and_in_any_batch(regimes: int) -> None:
    runtime = pytest.importorskip("onnxruntime")
    model = _model(regimes)
    windows = _windows(model, regimes)
    session = runtime.InferenceSession(to_onnx(model), providers=["CPUExecutionProvider"])
    found = session.run(None, {"window": windows.astype(np.float32)})
    ours = model.predict(windows)
    for name, column, value in zip(OUTPUTS, found, (*ours, ours.rul * 100 / 125), strict=True):
        error = np.abs(column[:, 0] - value) / np.maximum(1, np.abs(value))
        assert error.max() <= 1e-5, name
    for start, count in ((0, 1), (7, 1), (1, 33), (2, 17), (3, 6), (4, 2)):
        together = session.run(None, {"window": windows[start : start + count].astype(np.float32)})
        for column, part in zip(found, together, strict=True):
            np.testing.assert_array_equal(part, column[start : start + count])


@pytest.mark.deep
def test_the_rows_count_beside_their_sums_and_slopes() -> None:
    model = _model(1)
    windows = _windows(model, 1)[-1:]
    swapped = windows.copy()
    # Rows 0, 5 and 10 by 1, -2 and 1 spreads: no sum up to the last row moves, nor a slope.
    swapped[0, [0, 5, 10], 0] += np.array([1, -2, 1]) * 64 * model.front.scale[0, 0]
    sums = len(model.front.filters) - model.window
    before, after = (
        model.front.features(each)[0].reshape(-1, model.front.near.shape[1]) for each in (windows, swapped)
    )
    np.testing.assert_array_equal(before[-sums:], after[-sums:])
    assert model.predict(windows).rul != model.predict(swapped).rul


@pytest.mark.deep
def test_the_same_seed_gives_the_same_bytes_and_leaves_random_numbers_alone() -> None:
    import torch

    units = worn_fleet(6, 0)
    torch.manual_seed(5)
    first = torch.rand(1)
    torch.manual_seed(5)
    made = [to_onnx(_fit(units, steps=5, seed=seed)) for seed in (1, 1, 2)]
    assert torch.rand(1) == first
    assert made[0] == made[1] != made[2]


@pytest.mark.deep
@pytest.mark.parametrize(("window", "pool"), [(30, 6), (31, 1), (180, 4)])
def test_windows_and_pools_of_every_allowed_length_fit_together(window: int, pool: int) -> None:
    model = _fit(worn_fleet(4, 0), steps=5, window=window, pool=pool)
    assert np.isfinite(model.predict_last(worn_fleet(1, 1)[0]).rul).all()


@pytest.mark.deep
def test_progress_counts_the_members() -> None:
    told: list[tuple[int, int]] = []
    _fit(worn_fleet(6, 0), steps=5, advance=lambda done, of: told.append((done, of)))
    assert told == [(0, 2), (1, 2), (2, 2)]


@pytest.mark.parametrize("wrong", [{"window": 29}, {"pool": 7}, {"channels": 0}, {"steps": 4}, {"colour": "red"}])
def test_what_cannot_be_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        convolution.Params(**wrong)
