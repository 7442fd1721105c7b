"""`tocsin aggregator report` over two shifts of a plant with faults, from a real store of each kind."""

import json
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from aggregator.adapters.stores import open_store
from aggregator.cli import app
from aggregator.config import load
from tests import shift
from tests.batches import points_of
from tests.servers import Influx1

MAINTENANCE = """
[maintenance]
failure_prob_horizon_h = 48
timezone = "Europe/Berlin"
assets = [
  { match = "pump-3", failure_cost = 20000, early_cost = 1500, hours = 4, needs = "mechanics" },
  { match = "*", failure_cost = 9000, early_cost = 800, hours = 6 },
]
crews = [{ name = "day", skills = ["mechanics"] }, { name = "night" }]
windows = [{ begin = "daily 14:00", hours = 5 }, { begin = "Tue,Thu 22:00", hours = 8, crews = ["night"] }]
"""
UNTIL = datetime.fromtimestamp(shift.UNTIL / 1e9, UTC).isoformat()


def filled(folder: Path, store: str) -> Path:
    """A configuration whose store holds the plant."""
    path = folder / "aggregator.toml"
    path.write_text(store + MAINTENANCE)
    writer = open_store(load(path).store)
    try:
        for batch in shift.batches():
            assert writer.prepare(points_of(batch))() == []
    finally:
        writer.close()
    return path


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(tmp_path_factory.mktemp("sqlite"), '[store]\nkind = "sqlite"\npath = "tocsin.db"\n')


def report(config: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["report", "--config", str(config), "--until", UNTIL, *options])


def content(config: Path, *options: str) -> dict[str, Any]:
    result = report(config, "--format", "json", *options)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_the_report_tells_each_fault_of_the_plant(sqlite: Path) -> None:
    found = content(sqlite)
    worst, *others = found["assets"]
    assert (worst["name"], worst["state"], worst["reason"]) == ("pump-2", "alarm", "alarm wear is open")
    assert worst["health"] == pytest.approx(26, abs=0.5)
    assert [(one["channel"], one["sigmas"] > 20) for one in worst["moved"]] == [("vibration", True)]
    assert {one["state"] for one in others} == {"ok"}
    assert [(one["asset"], one["is_open"], one["times"], one["total_s"]) for one in found["alarms"]] == [
        ("pump-2", True, 1, 8 * 3600),
        ("pump-4", False, 2, 0.75 * 3600),
    ]
    assert found["alarms"][0]["begin_ns"] == shift.SINCE - shift.HOUR
    lives = {one["name"]: one["forecast"] for one in found["assets"] if one["forecast"]}
    assert {name: life["basis"] for name, life in lives.items()} == {
        "pump-3": "the model's interval",
        "pump-4": "spread of the forecasts",
    }
    assert lives["pump-3"]["rul_h"] == pytest.approx(52, abs=0.2)
    assert lives["pump-4"]["low_h"] < 392 < lives["pump-4"]["high_h"]
    [doubtful] = found["qualities"]
    assert (doubtful["asset"], doubtful["channel"], doubtful["reasons"]) == (
        "pump-3",
        "current",
        [["bad: range", 0.375]],
    )
    [gap] = found["gaps"]
    assert (gap["asset"], gap["channels"], gap["is_over"]) == ("pump-4", ["vibration"], True)
    assert (gap["end_ns"] - gap["begin_ns"]) / shift.HOUR == pytest.approx(3, abs=1 / 3)
    assert [(one["name"], one["is_silent"], one["counts"]) for one in found["gateways"]] == [
        ("gw2", True, [["rows lost on the gateway", 70.0]]),
        ("gw1", False, []),
    ]
    assert [(one["name"], one["version"], one["assets"]) for one in found["models"]] == [
        ("life", "2.1", 2),
        ("wear", "1.0", 5),
    ]


def test_the_plan_is_the_cheapest_and_lists_what_nobody_can_plan(sqlite: Path) -> None:
    plan = content(sqlite)["plan"]
    done, left = plan["work"]
    assert (done["asset"], done["crew"]) == ("pump-3", "day")
    assert done["begin_ns"] == round(datetime.fromisoformat("2025-10-09T14:00+02:00").timestamp()) * 10**9
    assert (left["asset"], left["begin_ns"]) == ("pump-4", 0)
    assert plan["cost"] == pytest.approx(done["cost"] + left["undone"])
    assert plan["gap"] == 0
    assert [one[1] for one in plan["unplanned"]] == ["pump-2", "pump-1", shift.SCRIPT]


def test_stores_of_different_kinds_give_the_same_report(sqlite: Path, influx1: Influx1, tmp_path: Path) -> None:
    store = f'[store]\nkind = "influx1"\nurl = "{influx1.url}"\ndatabase = "report_{uuid.uuid4().hex}"\n'
    config = filled(tmp_path, store)
    assert rounded(content(config)) == rounded(content(sqlite))


def rounded(value: Any) -> Any:
    """Sums in another order differ in the last digits."""
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


def test_scipy_is_not_loaded_unless_a_report_is_made() -> None:
    """A second of start and 40 MB that `tocsin aggregator run` does not need."""
    code = "import sys, aggregator.cli; print([name for name in sys.modules if name.startswith('scipy')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"[]\n"


def test_the_suffix_of_the_file_says_the_format(sqlite: Path, tmp_path: Path) -> None:
    for suffix, begin in ((".html", "<!doctype html>"), (".md", "# Shift report"), (".json", "{")):
        out = tmp_path / f"shift{suffix}"
        result = report(sqlite, "--out", str(out))
        assert (result.exit_code, result.stdout, result.stderr) == (0, "", f"written: {out}\n")
        assert out.read_text(encoding="utf-8").startswith(begin)
    assert "<script" not in (tmp_path / "shift.html").read_text(encoding="utf-8")


def test_to_the_terminal_it_is_markdown_in_the_zone_asked_for(sqlite: Path) -> None:
    text = report(sqlite, "--timezone", "Asia/Tokyo").stdout
    assert "times in Asia/Tokyo" in text
    assert "1 of 5 assets needs a look. Worst: pump-2, alarm wear is open (risk 0.80)." in text
    assert "\x1b" not in text
    assert r"\<script\>" in text
    assert "times in Europe/Berlin" in report(sqlite).stdout


def test_a_span_in_which_nothing_was_stored_gives_a_report_that_says_so(sqlite: Path) -> None:
    result = report(sqlite, "--since", "2020-01-01", "--until", "2020-01-02")
    assert result.exit_code == 0
    assert "Nothing was heard of any asset in this span." in result.stdout


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--since", "2030-01-01"], "the span ends before it begins"),
        (["--since", "yesterday"], "neither a span such as"),
        (["--until", "9999-01-01"], "lies behind 2262"),
        (["--until", "0001-01-01"], "the span ends before it begins"),
        (["--out", "shift.pdf"], "'shift.pdf' does not say the format"),
        (["--timezone", "Mars"], "'Mars' is no time zone"),
        (["--format", "pdf"], "pdf"),
        (["--out", "/nowhere/shift.md"], "/nowhere/shift.md cannot be written: No such file"),
    ],
)
def test_a_fault_is_said_in_a_line_that_helps(sqlite: Path, options: list[str], fault: str) -> None:
    result = report(sqlite, *options)
    assert result.exit_code in {1, 2}
    assert fault in " ".join(result.output.replace("│", " ").split())
    assert "Traceback" not in result.output


def test_a_store_that_is_not_there_is_named(tmp_path: Path) -> None:
    config = tmp_path / "aggregator.toml"
    config.write_text('[store]\nkind = "sqlite"\npath = "none.db"\n')
    result = report(config)
    assert result.exit_code == 1
    assert "none.db" in result.output
