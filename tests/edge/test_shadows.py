"""Rules that can never hold are told."""

import json
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from edge_agent.cli import app
from edge_agent.config import EdgeConfig
from edge_agent.config.shadows import shadowed

parts = st.text("ab*?", min_size=1, max_size=4)
patterns = st.builds("{}/{}".format, parts, parts)


def config(*channels: str, assets: tuple[str, ...] = ("*",)) -> EdgeConfig:
    return EdgeConfig.model_validate(
        {
            "site": "s",
            "gateway": "g",
            "state_dir": "state",
            "topics": [{"template": "{asset}/{channel}"}],
            "channels": [{"match": match} for match in channels],
            "assets": [{"match": match} for match in assets],
        }
    )


@pytest.mark.parametrize(
    ("rules", "hidden"),
    [
        (("*/*", "pump-*/t"), [1]),
        (("pump-*/t", "*/*"), []),
        (("*/t", "pump-1/t", "*/p", "*/t"), [1, 3]),
        (("?/t", "*/t"), []),
        (("pump-*/t", "*/t"), []),
    ],
)
def test_a_rule_behind_one_that_fits_all_that_it_fits_is_told(rules: tuple[str, ...], hidden: list[int]) -> None:
    assert [int(text.partition("[")[2].partition("]")[0]) for text in shadowed(config(*rules))] == hidden


def test_rules_of_assets_are_looked_at_too() -> None:
    (text,) = shadowed(config("*/*", assets=("*", "pump-*")))
    assert text.startswith("assets[1] (match = 'pump-*') never holds: assets[0] (match = '*')")


@given(patterns, st.lists(st.booleans(), min_size=9, max_size=9), parts, parts)
def test_what_is_told_never_holds(later: str, starred: list[bool], asset: str, channel: str) -> None:
    stars = zip(later, starred, strict=False)
    earlier = "".join("*" if star and char != "/" else char for char, star in stars).replace("?", "*")
    name = f"{asset}/{channel}".replace("*", "a").replace("?", "b")
    assert shadowed(config(earlier, later))
    assert not fnmatchcase(name, later) or fnmatchcase(name, earlier)


def test_check_warns_and_the_configuration_can_be_used_all_the_same(tmp_path: Path) -> None:
    file = tmp_path / "edge.toml"
    file.write_text(
        'site = "s"\ngateway = "g"\nstate_dir = "state"\ntopics = [{ template = "{asset}/{channel}" }]\n'
        'channels = [{ match = "*/*" }, { match = "*/t" }]\nassets = [{ match = "*" }]\n'
    )
    told = CliRunner().invoke(app, ["check", str(file)])
    assert told.exit_code == 0
    assert "warning: channels[1]" in told.output
    found = json.loads(CliRunner().invoke(app, ["check", str(file), "--json"]).stdout)
    assert found["ok"]
    assert len(found["warnings"]) == 1
