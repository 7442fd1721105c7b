"""What the README tells people to type and to write is understood by the program."""

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from edge_agent.config import EdgeConfig
from models.contract import config_errors
from tocsin.cli import build

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
_SHELL = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL)).replace("\\\n", " ")
_IN_TEXT = re.findall(r"`(\./run [^`]*[^`… ])`", README)
COMMANDS = sorted(
    {line.split(" #")[0].strip() for line in [*_SHELL.splitlines(), *_IN_TEXT] if "./run tocsin " in line}
)


def test_the_readme_shows_the_commands_of_every_part() -> None:
    assert {shlex.split(command)[2] for command in COMMANDS} == {"edge", "aggregator", "plant", "model"}


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_of_the_readme_is_understood(command: str) -> None:
    _, name, *words = shlex.split(command)
    parser: Any = get_command(build(words[0]))
    while hasattr(parser, "commands"):
        name, *words = words
        parser = parser.commands[name]
    assert parser.make_context(name, words).command.callback is not None


def test_the_configuration_in_the_readme_is_sound() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    rest = {"site": "plant", "gateway": "gw-1", "state_dir": "state"}
    config = config_errors.check(tomllib.loads(block) | rest, EdgeConfig, "README.md")
    assert config.channel_rule("pump-1", "temperature") == config.channels[0]


def test_the_files_that_the_readme_points_to_exist() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / target).exists(), target
