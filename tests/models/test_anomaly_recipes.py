"""What every anomaly recipe keeps to, one suite for all of them."""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from models.training.anomaly.base import AnomalyModel, Floats, raw_of, sliding
from models.training.anomaly.export import score, to_onnx
from models.training.table import DataError

runtime = pytest.importorskip("onnxruntime")

CHANNELS = 5
LIMIT = 3.0
RECIPES: Mapping[str, Mapping[str, Any]] = {
    "pca": {},
    "forecast": {"lags": 3, "window": 8},
    "isolation_forest": {"trees": 50},
    "ensemble": {},
    "streaming": {"learning": 100, "prototypes": 32},
    "dense_autoencoder": {"window": 8, "epochs": 8},
    "conv_autoencoder": {"window": 8, "epochs": 8},
}
DEEP = ("dense_autoencoder", "conv_autoencoder")
STATELESS = [name for name in RECIPES if name != "streaming"]


def marked(names: Any = RECIPES) -> list[Any]:
    return [pytest.param(name, marks=pytest.mark.deep) if name in DEEP else name for name in names]


def plant(rows: int, seed: int) -> Floats:
    """Five channels of unlike units that follow two slow causes, with noise of their own."""
    rng = np.random.default_rng(seed)
    causes = rng.normal(size=(rows + 20, 2))
    slow = np.array([causes[at : at + 20].mean(0) for at in range(rows)]) * 4
    mixed = slow @ np.random.default_rng(99).normal(size=(2, CHANNELS)) + 0.5 * rng.normal(size=(rows, CHANNELS))
    return mixed * [1, 10, 0.01, 5, 300] + [0, 50, 1, -20, 1000]


SPREAD = plant(2000, 0).std(0)


def recipe(name: str) -> tuple[ModuleType, Any]:
    module = import_module(f"models.training.anomaly.{name}")
    return module, module.Params(**RECIPES[name])


def fit(name: str, runs: list[Floats], seed: int = 0) -> AnomalyModel:
    module, params = recipe(name)
    model: AnomalyModel = module.fit(runs, params, seed=seed, advance=lambda _done, _of: None)
    return model


class Fitted(NamedTuple):
    model: AnomalyModel
    content: bytes
    session: Any

    def outputs(self, run: Floats) -> list[Floats]:
        """anomaly_score, health and contribution of each window of a run, as the agent would run the graph."""
        windows = sliding(run, self.model.window).astype(np.float32)
        names = ["anomaly_score", "health", "contribution"]
        if not self.model.state:
            return list(self.session.run(names, {"window": windows}))
        state, rows = np.zeros((1, self.model.state), np.float32), []
        for window in windows:
            *row, state = self.session.run([*names, "state_next"], {"window": window[None], "state": state})
            rows.append(row)
        return [np.concatenate(column) for column in zip(*rows, strict=True)]


@cache
def fitted(name: str) -> Fitted:
    model = fit(name, [plant(500, 1), plant(300, 2)])
    content = to_onnx(model, LIMIT, CHANNELS)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    return Fitted(model, content, runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"]))


def broken(channel: int, size: float, seed: int = 3, rows: int = 300) -> Floats:
    """A run whose last 60 rows have one channel off by `size` of its standard deviations; in float32."""
    run = plant(rows, seed)
    run[-60:, channel] += size * SPREAD[channel]
    return run.astype(np.float32).astype(np.float64)


@pytest.mark.parametrize("name", marked())
def test_the_graph_agrees_with_the_reference_to_a_part_in_a_hundred_thousand(name: str) -> None:
    this = fitted(name)
    run = broken(3, 8.0)
    raw, shares = raw_of(this.model, run)
    anomaly, health, contribution = this.outputs(run)
    assert np.abs(anomaly[:, 0] - raw / LIMIT).max() <= 1e-5 * max(1, (raw / LIMIT).max())
    np.testing.assert_allclose(anomaly[:, 0], raw / LIMIT, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(health[:, 0], 100 / (1 + (raw / LIMIT) ** 2), rtol=5e-5, atol=1e-4)
    np.testing.assert_allclose(contribution, shares, atol=1e-5)
    assert [node.name for node in this.session.get_outputs()][:3] == ["anomaly_score", "health", "contribution"]


@pytest.mark.parametrize("name", marked(STATELESS))
def test_a_window_has_the_same_score_bit_for_bit_alone_and_anywhere_in_a_batch(name: str) -> None:
    this = fitted(name)
    windows = sliding(broken(1, 5.0, rows=130), this.model.window)[:70].astype(np.float32)
    alone = [np.concatenate(part) for part in zip(*(this.session.run(None, {"window": w[None]}) for w in windows))]  # noqa: B905
    for start, count in ((0, 70), (1, 64), (2, 33), (3, 17), (5, 6), (6, 2)):
        together = this.session.run(None, {"window": windows[start : start + count]})
        for single, column in zip(alone, together, strict=True):
            np.testing.assert_array_equal(column, single[start : start + count])


@pytest.mark.parametrize("name", marked())
@settings(max_examples=20, deadline=None)
@given(channel=st.integers(0, CHANNELS - 1), size=st.floats(-30, 30), seed=st.integers(4, 50))
def test_shares_are_not_negative_and_add_to_one_whatever_happens(
    name: str, channel: int, size: float, seed: int
) -> None:
    this = fitted(name)
    run = broken(channel, size, seed, rows=120)
    raw, shares = raw_of(this.model, run)
    contribution = this.outputs(run)[2]
    for found in (shares, contribution):
        assert (found >= 0).all()
        np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)
    assert (raw >= 0).all()
    assert np.isfinite(raw).all()


@pytest.mark.parametrize("name", marked())
@settings(max_examples=20, deadline=None)
@given(channel=st.integers(0, CHANNELS - 1), size=st.floats(12, 40), sign=st.sampled_from((-1, 1)))
def test_a_shifted_channel_is_a_surprise_and_has_the_largest_share(
    name: str, channel: int, size: float, sign: int
) -> None:
    raw, shares = raw_of(fitted(name).model, broken(channel, sign * size, rows=160))
    calm, at_fault = slice(None, -61), slice(-45, -30)
    assert np.median(raw[at_fault]) > np.median(raw[calm])
    assert shares[at_fault].mean(0).argmax() == channel


@pytest.mark.parametrize("name", marked())
def test_the_same_runs_and_seed_give_the_same_bytes(name: str) -> None:
    runs = [plant(300, 5), plant(250, 6)]
    assert to_onnx(fit(name, runs), LIMIT, CHANNELS) == to_onnx(fit(name, runs), LIMIT, CHANNELS)


# A forest splits no channel that never moved, and so does not see it begin to.
@pytest.mark.parametrize("name", marked([name for name in RECIPES if name != "isolation_forest"]))
def test_a_constant_channel_is_no_fault_until_it_moves(name: str) -> None:
    runs = [plant(400, 7), plant(300, 8)]
    for run in runs:
        run[:, 2] = 7.0
    model = fit(name, runs)
    calm, moved = plant(300, 9), plant(300, 9)
    calm[:, 2] = moved[:, 2] = 7.0
    moved[-60:, 2] = 9.0
    raw, shares = raw_of(model, moved)
    assert np.isfinite(raw).all()
    assert raw[-40] >= raw_of(model, calm)[0][-40]
    assert shares[-40].argmax() == 2


@pytest.mark.parametrize("name", marked())
@pytest.mark.parametrize(
    ("runs", "fault"),
    [
        ([], "needed"),
        ([np.zeros(9)], "rows, channels"),
        ([plant(300, 1), plant(300, 2)[:, :3]], "same channels"),
        ([plant(4, 1)], "needed"),
    ],
    ids=["no run", "no table", "unlike widths", "few rows"],
)
def test_runs_that_cannot_be_learnt_from_are_refused(name: str, runs: list[Floats], fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        fit(name, runs)


@pytest.mark.parametrize("name", marked())
@pytest.mark.parametrize("row", [17, 290])
def test_a_value_that_is_not_finite_is_named_by_its_place(name: str, row: int) -> None:
    bad = plant(300, 2)
    bad[row, 3] = np.nan
    with pytest.raises(DataError, match=f"run 1: row {row}, channel 3 is nan"):
        fit(name, [plant(300, 1), bad])


@pytest.mark.parametrize("name", marked(STATELESS))
def test_runs_in_which_nothing_moves_are_refused(name: str) -> None:
    with pytest.raises(DataError, match="no channel moves"):
        fit(name, [np.ones((300, CHANNELS))])


@pytest.mark.parametrize("name", marked(STATELESS))
def test_windows_never_span_two_runs(name: str) -> None:
    window = fitted(name).model.window
    with pytest.raises(DataError):
        fit(name, [plant(window - 1, seed) for seed in range(60)])


@pytest.mark.parametrize("name", list(RECIPES))
def test_a_parameter_that_no_recipe_knows_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="colour"):
        recipe(name)[0].Params(colour="red")


def test_the_table_above_names_every_recipe_there_is() -> None:
    folder = Path(import_module("models.training.anomaly").__file__ or "").parent
    found = {path.stem for path in folder.glob("*.py") if "def fit(" in path.read_text()}
    assert found == set(RECIPES)


def test_health_is_whole_far_below_the_limit_and_half_at_it() -> None:
    model = fitted("pca").model
    windows = sliding(broken(0, 20.0), model.window)
    raw, _ = model.raw(windows)
    at_limit = score(model, float(raw[-1]), windows[-1:])
    assert at_limit.anomaly_score[0] == pytest.approx(1)
    assert at_limit.health[0] == pytest.approx(50)
    assert score(model, 1e6, windows).health.min() > 99.9
