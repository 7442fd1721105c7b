"""The commands, as a person or a script calls them."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from models.cli import app

RUNNER = CliRunner()


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    lines = [f"t{at};{load};{load + rng.normal()};0" for at, load in enumerate(rng.normal(size=100))]
    path = tmp_path / "rig.csv"
    path.write_text("\n".join(["time;load;flow;anomaly", *lines]))
    return path


def _train(table: Path, out: Path, *more: str) -> list[str]:
    options = ["--separator", ";", "--time-column", "time", "--exclude", "anomaly", "--window", "5"]
    return ["train", "anomaly", "--data", str(table), *options, "-o", str(out), *more]


def test_a_trained_bundle_can_be_inspected_by_a_script_and_by_a_person(table: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    out = tmp_path / "rig.bundle"
    made = RUNNER.invoke(app, _train(table, out, "--json"))
    assert made.exit_code == 0, made.output
    facts = json.loads(RUNNER.invoke(app, ["inspect", str(out), "--json"]).stdout)
    assert facts["digest"] == json.loads(made.stdout)["digest"]
    assert [channel["name"] for channel in facts["channels"]] == ["load", "flow"]
    assert facts["graph"]["inputs"] == {"window": ["batch", 5, 2]}
    assert facts["bytes"] == out.stat().st_size
    assert "rig.csv" in RUNNER.invoke(app, ["inspect", str(out)]).stdout


def test_a_failure_model_is_trained_from_the_turbofan_layout(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(0)
    data = tmp_path / "train.txt"
    rows = [[unit, cycle + 1, *[1] * 23, cycle + rng.normal()] for unit in range(1, 7) for cycle in range(90)]
    data.write_text("\n".join(" ".join(map(str, row)) for row in rows))
    made = RUNNER.invoke(app, ["train", "failure", "--data", str(data), "-o", str(tmp_path / "f.bundle"), "--json"])
    assert made.exit_code == 0, made.output
    assert [channel["name"] for channel in json.loads(made.stdout)["channels"]] == ["s21"]


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["inspect", "none.bundle"], "none.bundle: cannot be read"),
        (["train", "anomaly", "--data", "none.csv", "-o", "x"], "none.csv: cannot be read"),
        (["train", "failure", "--data", "none", "--layout", "other", "-o", "x"], "allowed is cmapss"),
        (["evaluate", "skab", "--data", "none", "--out", "x"], "no files"),
        (["evaluate", "cmapss", "--data", "none", "--out", "x"], "no train_FD00x.txt"),
    ],
)
def test_bad_input_is_one_line_on_stderr_and_status_two(arguments: list[str], fault: str) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("onnx")
    result = RUNNER.invoke(app, arguments)
    assert result.exit_code == 2
    assert fault in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_name_no_bundle_may_have_is_refused(table: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    result = RUNNER.invoke(app, _train(table, tmp_path / "x.bundle", "--name", "a/b"))
    assert result.exit_code == 2
    assert result.stderr.startswith("name: ")
    assert not (tmp_path / "x.bundle").exists()


def test_a_missing_extra_is_named(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "models.training.pca_export", None)
    result = RUNNER.invoke(app, _train(table, tmp_path / "x.bundle"))
    assert result.exit_code == 2
    assert "tocsin[train]" in result.stderr
