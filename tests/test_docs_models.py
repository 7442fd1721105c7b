"""docs/models.md says what the model kit does: its commands exist with their options, its recipe is one."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
from typer.main import get_command

from tocsin.cli import build

pytest.importorskip("onnx")
pytest.importorskip("sklearn")

ROOT = Path(__file__).parents[1]
DOC = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
COMMANDS = [
    line.removeprefix("./run ").partition(" #")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", DOC, re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
    if line and not re.match(r"\w+=", line)
]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_exists_with_its_options(command: str) -> None:
    words = shlex.split(command.partition(" > ")[0])
    assert words[0] == "tocsin"
    found = get_command(build(words[1]))
    context = found.make_context("tocsin", [], resilient_parsing=True)
    rest = words[1:]
    while hasattr(found, "commands"):
        name = rest.pop(0)
        found = found.get_command(context, name)  # type: ignore[attr-defined]
        assert found is not None, f"{command}: there is no {name}"
    # Files that are named need not be there.
    given = found.make_context(words[-1], rest, resilient_parsing=True)
    assert given is not None
    known = {option for parameter in found.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word.partition("=")[0] for word in rest if word.startswith("-")} <= known


def test_the_recipe_on_the_page_is_one(tmp_path: Path) -> None:
    from models.training.recipes import load_recipe

    snippets = [text for text in re.findall(r"```toml\n(.*?)```", DOC, re.DOTALL) if "kind =" in text]
    assert snippets
    for text in snippets:
        path = tmp_path / "recipe.toml"
        path.write_text(text, encoding="utf-8")
        recipe = load_recipe(tomllib.loads(text)["kind"], path, {})
        assert recipe.name == tomllib.loads(text)["name"]


def test_the_page_names_each_kind_and_what_its_recipes_give() -> None:
    from models.training.recipes import METHODS

    for kind in METHODS:
        assert f"| `{kind}` |" in DOC
