"""docs/report.md says what is true: its commands are understood, its declarations can be used."""

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from aggregator.config import load
from aggregator.core.plan import CORE, NODES
from aggregator.core.report.assets import LOOK_FROM
from aggregator.core.report.doubts import TOLD_FROM
from aggregator.core.report.gaps import SILENT_S
from aggregator.core.report.make import EXPLAINED
from aggregator.core.report.pages import ROWS
from tocsin.cli import build

DOC = (Path(__file__).parents[2] / "docs" / "report.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", DOC, re.DOTALL) for line in block.splitlines()]


@pytest.mark.parametrize("line", COMMANDS)
def test_each_command_of_the_page_is_understood(line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    command = get_command(build(words[0]))
    context = command.make_context("tocsin", words, resilient_parsing=False)
    for name in words[:2]:
        command = command.commands[name]  # type: ignore[attr-defined]
    command.make_context("report", words[2:], parent=context)


def test_the_declarations_of_the_page_can_be_used(tmp_path: Path) -> None:
    [block] = re.findall(r"```toml\n(.*?)```", DOC, re.DOTALL)
    path = tmp_path / "aggregator.toml"
    path.write_text('[store]\nkind = "sqlite"\npath = "t.db"\n' + block)
    maintenance = load(path).maintenance
    assert (len(maintenance.assets), len(maintenance.crews), len(maintenance.windows)) == (2, 2, 3)


def test_the_limits_that_the_page_names_are_the_programs() -> None:
    assert f"risk of {LOOK_FROM} or more" in DOC
    assert f"nothing of itself for {SILENT_S / 60:.0f} minutes" in DOC
    assert f"more than {100 * TOLD_FROM:.0f} % of readings" in DOC
    assert f"the first {ROWS} of a table" in DOC
    assert f"or {NODES:,} nodes" in DOC
    assert f"more than {CORE:,} pairs" in DOC
    assert EXPLAINED == 10
    assert "of the ten worst assets" in DOC
