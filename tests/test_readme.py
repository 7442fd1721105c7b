"""What the README tells people to type and to write is understood by the program."""

import re
import shlex
import time
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from aggregator import cli
from aggregator.adapters import stores
from aggregator.config import Sqlite
from edge_agent.config import EdgeConfig
from models.contract import config_errors
from tests.plant_rows import END, plant, points
from tests.servers import Mosquitto
from tocsin.cli import build

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
_SHELL = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL)).replace("\\\n", " ")
_IN_TEXT = re.findall(r"`(\./run [^`]*[^`… ])`", README)
COMMANDS = sorted(
    {line.split(" #")[0].strip() for line in [*_SHELL.splitlines(), *_IN_TEXT] if "./run tocsin " in line}
)
ASKING = [command for command in COMMANDS if " aggregator " in command and " aggregator run " not in command]


@pytest.fixture(scope="module")
def plant_folder(tmp_path_factory: pytest.TempPathFactory, mosquitto: Mosquitto) -> Path:
    """Where `aggregator.toml` lies, with a store in which the last twenty minutes of a plant are, and a broker."""
    folder = tmp_path_factory.mktemp("plant")
    store = stores.open_store(Sqlite(kind="sqlite", path=folder / "rows.db"))
    ahead_ns = time.time_ns() - END
    store.prepare(points([row._replace(time_ns=row.time_ns + ahead_ns) for row in plant()]))()
    store.close()
    text = f'[broker]\nport = {mosquitto.port}\n[store]\nkind = "sqlite"\npath = "rows.db"\n'
    (folder / "aggregator.toml").write_text(text)
    return folder


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


@pytest.mark.parametrize("command", ASKING)
def test_each_command_about_the_store_does_what_it_says(
    command: str, plant_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(plant_folder)
    words = shlex.split(command)[3:]
    done = CliRunner().invoke(cli.app, words)
    assert done.exit_code == 0, done.output
    files = [Path(file) for option, file in pairwise(words) if option in {"--out", "--plot"}]
    assert all(file.stat().st_size > 0 for file in files)
    assert files or done.stdout, "nothing was found"


def test_the_readme_names_each_question_and_each_command_about_the_store() -> None:
    assert {shlex.split(command)[3] for command in ASKING} == {"init", "query", "report", "fleet", "downsample"}
    parser: Any = get_command(build("aggregator"))
    ask = README.partition("\n## Ask\n")[2].partition("\n## ")[0]
    questions = parser.commands["aggregator"].commands["query"].commands
    assert set(questions) <= set(re.findall(r"(?:`?query |`)([a-z-]+)", ask))


def test_the_configuration_in_the_readme_is_sound() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    rest = {"site": "plant", "gateway": "gw-1", "state_dir": "state"}
    config = config_errors.check(tomllib.loads(block) | rest, EdgeConfig, "README.md")
    assert config.channel_rule("pump-1", "temperature") == config.channels[0]


def test_the_files_that_the_readme_points_to_exist() -> None:
    for target in re.findall(r"\]\((?!https://)([^)]+)\)", README):
        assert (ROOT / target).exists(), target
