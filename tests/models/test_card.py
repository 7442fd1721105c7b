"""The card in a bundle says what a person needs to know before trusting the model."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from models.bundle import read_bundle
from models.cli import app

pytest.importorskip("onnx")
pytest.importorskip("sklearn")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("card") / "pump.csv"
    begin = np.datetime64("2026-01-01T00:00:00")
    rows = [f"{begin + at},{load:.4f},{load + rng.normal():.4f}" for at, load in enumerate(rng.normal(size=900))]
    path.write_text("\n".join(["time,flow,current", *rows]))
    return path


def _card(data: Path, folder: Path, recipe: str) -> str:
    (folder / "recipe.toml").write_text(recipe)
    out = folder / "pump.bundle"
    options = ["--data", str(data), "--recipe", str(folder / "recipe.toml"), "-o", str(out)]
    done = CliRunner().invoke(app, ["train", "anomaly", *options])
    assert done.exit_code == 0, done.output
    return read_bundle(out).parts["card.md"].decode()


def test_it_tells_data_split_seed_figures_recipe_libraries_limits_and_what_not_to_do(
    data: Path, tmp_path: Path
) -> None:
    card = _card(data, tmp_path, 'seed = 5\n[data]\nunits = { flow = "l/min" }\n')
    assert hashlib.sha256(data.read_bytes()).hexdigest() in card
    assert "pump.csv: 900 rows" in card
    assert "2026-01-01 00:00:00 UTC to 2026-01-01 00:14:59 UTC" in card
    assert "- flow [l/min]\n- current [unit not told]" in card
    assert "10 rows left out between the parts: 495 rows to learn from" in card
    assert "**seed**: 5" in card
    assert "**false alarms per week asked for**: 1 (the wish, no measurement)" in card
    assert "**test false alarms per week**" in card
    assert 'method = "pca"' in card
    assert f"**numpy**: {np.__version__}" in card
    for title in ("What it must not be used for", "Limits", "Data", "Split", "Figures", "Recipe", "Made with"):
        assert f"## {title}\n" in card


def test_a_limit_that_the_data_cannot_support_is_told_first(data: Path, tmp_path: Path) -> None:
    card = _card(data, tmp_path, "[alarm]\nalarms_per_week = 0.1\n")
    assert card.index("> **Mind:**") < card.index("## Model")


def test_a_model_that_nothing_judged_says_so(data: Path, tmp_path: Path) -> None:
    card = _card(data, tmp_path, "[split]\ntest = 0\n")
    assert "No row was kept to judge the model" in card
    assert "test windows" not in card
