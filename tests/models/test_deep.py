"""PyTorch comes only where it is asked for, and everything else works without it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from models.training.recipes import METHODS

ROOT = Path(__file__).parents[2]
_DEEP = sorted({name for methods in METHODS.values() for name, each in methods.items() if each.extra == "train-deep"})


def _extras(*arguments: str) -> str:
    """What `./run tocsin` would install for these words beside the extra train."""
    source = (ROOT / "run").read_text(encoding="utf-8")
    functions = re.findall(r"^(?:deep_extras|needs_torch)\(\) \{.*?^\}", source, re.MULTILINE | re.DOTALL)
    script = "set -eu\n" + "\n".join(functions) + '\ndeep_extras "$@"'
    return subprocess.run(
        ["bash", "-c", script, "run", *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.mark.parametrize("method", _DEEP)
def test_pytorch_is_installed_for_each_method_that_needs_it(method: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(f'kind = "anomaly"\n[model]\nmethod = "{method}" # a network\n')
    (tmp_path / "inline.toml").write_text(f"model = {{ method = '{method}' }}\n")
    for words in (
        ["--method", method],
        [f"--method={method}"],
        ["--recipe", str(tmp_path / "recipe.toml")],
        [f"--recipe={tmp_path / 'inline.toml'}", "-o", "x.bundle"],
    ):
        assert _extras("model", "train", "anomaly", *words) == "train-deep", words


def test_pytorch_is_not_installed_for_what_does_without_it(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text('# method = "network"\nname = "network"\n[model]\nmethod = "trees"\n')
    for words in (
        ["train", "failure", "--recipe", str(tmp_path / "recipe.toml")],
        ["train", "failure", "--recipe", str(tmp_path / "nowhere.toml")],
        ["train", "failure", "--method", "trees", "--name", "network"],
        ["train", "anomaly", "--data", "network"],
        ["evaluate", "skab"],
        ["evaluate", "nab"],
        ["zoo"],
    ):
        assert _extras("model", *words) == "", words
    assert _extras("model", "evaluate", "cmapss", "--data", "somewhere") == "train-deep"
    assert _extras("model", "recipe", "failure", "network") == ""


def test_deep_tests_are_left_out_and_counted_unless_asked_for() -> None:
    def collect(*options: str) -> str:
        words = [sys.executable, "-m", "pytest", "--collect-only", "-p", "no:xdist", *options]
        found = subprocess.run(
            [*words, "tests/models/test_deep_export.py"], cwd=ROOT, check=False, capture_output=True, text=True
        )
        return found.stdout

    without = collect()
    assert "left out; with --deep they run too" in without
    assert re.search(r"no tests collected \(\d+ deselected\)", without)
    assert "deselected" not in collect("--deep")


def test_all_but_the_deep_recipes_work_where_pytorch_is_not_installed() -> None:
    script = """
import pkgutil, sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(name=name)

sys.meta_path.insert(0, Hidden())
import models
from models.training.recipes import METHODS, example
for found in pkgutil.walk_packages(models.__path__, "models."):
    if not (found.name + ".").startswith("models.training.deep."):
        __import__(found.name)
for kind, methods in METHODS.items():
    for name in methods:
        assert name in example(kind, name)
"""
    found = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
