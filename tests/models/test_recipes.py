"""Recipe files: every key is known, every default printed, every fault named with its place."""

import importlib.util
from pathlib import Path

import pytest

from models.contract.config_errors import ConfigError

pytest.importorskip("onnx")
pytest.importorskip("sklearn")

from models.training.recipes import KINDS, METHODS, as_toml, default_method, example, load_recipe

ALL = [(kind, method) for kind in KINDS for method in METHODS[kind]]


def _file(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(("kind", "method"), ALL)
def test_a_printed_recipe_is_the_defaults(kind: str, method: str, tmp_path: Path) -> None:
    printed = load_recipe(kind, _file(tmp_path, example(kind, method)), {})  # type: ignore[arg-type]
    assert printed == load_recipe(kind, None, {"model.method": method})  # type: ignore[arg-type]
    assert callable(printed.module.fit)


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_of_a_printed_recipe_is_explained(kind: str) -> None:
    method = default_method(kind)  # type: ignore[arg-type]
    lines = example(kind, method).splitlines()  # type: ignore[arg-type]
    for before, line in zip(["", *lines], lines, strict=False):
        if "=" in line and not line.startswith("# ") and not line.startswith("kind"):
            assert before.startswith("# "), line


def test_the_recipe_as_used_is_read_back_as_the_same(tmp_path: Path) -> None:
    given = {
        "name": "pump",
        "data.columns": ['odd "name"', "back\\slash", "drück"],
        "data.units": {"drück": "bar"},
        "data.rows": 50,
        "alarm.alarms_per_week": 0.25,
        "model.method": "forecast",
    }
    recipe = load_recipe("anomaly", None, given)
    assert load_recipe("anomaly", _file(tmp_path, as_toml(recipe)), {}) == recipe


def test_options_win_over_the_file(tmp_path: Path) -> None:
    path = _file(tmp_path, 'seed = 3\n[model]\nmethod = "pca"\nwindow = 4\n')
    recipe = load_recipe("anomaly", path, {"model.window": 6, "seed": None})
    assert (recipe.seed, recipe.model.window) == (3, 6)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[data]\nrowz = 3\n", "data.rowz: unknown key; did you mean 'rows'?"),
        ("[model]\ncomponents = 3\n", "model.components: unknown key (allowed: "),
        ("[alarm]\nalarms_per_week = 0\n", "alarm.alarms_per_week: "),
        ("[split]\ntest = 0.8\ncalibrate = 0.5\n", "split: calibrate 0.5 and test 0.8 leave nothing to learn from"),
        ('[data]\nlabel_column = "a"\ncolumns = ["a"]\n', "'a' is named as an input and as something else"),
        ('kind = "failure"\n', "kind: 'failure', but the command trains anomaly"),
        ('[model]\nmethod = "magic"\n', "model.method: 'magic' is not possible (allowed: pca, "),
        ("model = 3\n", "model: "),
        ("[model\n", "is no TOML"),
        ('name = "a b"\n', "name: "),
    ],
)
def test_each_fault_names_file_key_and_cure(tmp_path: Path, text: str, fault: str) -> None:
    path = _file(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_recipe("anomaly", path, {})
    assert str(caught.value).startswith(str(path))
    assert fault in str(caught.value)


def test_an_alarm_budget_belongs_to_anomaly_recipes_alone(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="alarm"):
        load_recipe("quality", _file(tmp_path, "[alarm]\nalarms_per_week = 1\n"), {})


def test_the_table_of_methods_names_each_recipe_file_once() -> None:
    named = [entry.module for methods in METHODS.values() for entry in methods.values()]
    assert len(set(named)) == len(named)
    for module in named:
        assert importlib.util.find_spec(module) is not None
