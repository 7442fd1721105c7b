"""`tocsin edge replay`: the agent's numbers for a recorded file."""

import json
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from rich.console import Console
from typer import Typer
from typer.testing import CliRunner, Result

from edge_agent.adapters.journal_sqlite import SqliteJournal
from edge_agent.config import load
from edge_agent.core.entries import Configured, Data
from edge_agent.core.intake import Intake, Message
from edge_agent.core.recent import Recent
from models import cli as models_cli
from tests.bundles import sign_files
from tocsin import edge_replay

CONFIG = """
site = "lab"
gateway = "gw1"
state_dir = "state"
topics = [{ template = "factory/{line}/{asset}/{channel}" }, { template = "factory/{line}/{asset}" }]
channels = [{ match = "*/level", range = [0, 10], unit = "m" }]
assets = [{ match = "*" }]
"""
TANK = "time,level\n2024-01-01T00:00:00,1.5\n2024-01-01T00:00:01,99\n"
T0 = 1_704_067_200_000_000_000


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "edge.toml").write_text(CONFIG)
    (tmp_path / "tank.csv").write_text(TANK)
    (tmp_path / "semi.csv").write_text(TANK.replace(",", ";"))
    (tmp_path / "decimal.csv").write_text(TANK.replace(",", ";").replace(".", ","))
    return tmp_path / "edge.toml"


def run(config: Path, *arguments: str) -> Result:
    """`tank.csv` and such mean files beside CONFIG."""
    app = Typer()
    app.command()(edge_replay.replay)
    words = [
        str(config.parent / word) if re.search(r"\.(csv|parquet|lp|png|html|txt)$", word) else word
        for word in arguments
    ]
    return CliRunner().invoke(app, [str(config), *words])


def test_each_row_of_a_file_is_in_the_results(config: Path) -> None:
    folder = config.parent
    command = [sys.executable, "-m", "tocsin", "edge", "replay", str(config), str(folder / "tank.csv"), "--json"]
    more = ["--asset", "tank", "--out", str(folder / "out.csv")]
    done = subprocess.run([*command, *more], capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "readings": 2,
        "inferences": 0,
        "alarms": 0,
        "quality": {"good": 1, "bad: range": 1},
        "deadletters": 0,
        "deadletters_by_reason": {},
    }
    assert done.stderr == ""  # no bar where nobody looks
    assert (folder / "out.csv").read_text().splitlines()[1:] == [
        f"reading,{T0},tank,level,value,1.5",
        f"reading,{T0 + 10**9},tank,level,value,99.0",
        f"reading,{T0},tank,level,denoised,1.5",
        f"reading,{T0 + 10**9},tank,level,denoised,nan",  # bad: kept, and not used
        f"reading,{T0},tank,level,quality,0.0",
        f"reading,{T0 + 10**9},tank,level,quality,129.0",
    ]


def test_parquet_in_gives_what_csv_gives_and_every_output_can_be_written(config: Path) -> None:
    pl.read_csv(config.parent / "tank.csv", try_parse_dates=True).write_parquet(config.parent / "tank.parquet")
    outputs = []
    for name in ("tank.csv", "tank.parquet"):
        for suffix in ("csv", "lp", "parquet"):
            done = run(config, name, "--asset", "tank", "--out", f"{name}.{suffix}")
            assert done.exit_code == 0, done.output
            assert done.stdout == "readings 2  inferences 0  alarms 0  deadletters 0\ngood 1  bad: range 1\n"
        outputs.append([(config.parent / f"{name}.{suffix}").read_bytes() for suffix in ("csv", "lp")])
        assert len(pl.read_parquet(config.parent / f"{name}.parquet")) == 6
    assert outputs[0] == outputs[1]
    assert (
        b"reading,site=lab,asset=tank,channel=level value=1.5,denoised=1.5,quality=0.0 1704067200000" in outputs[0][1]
    )


def test_a_picture_of_the_asset_is_written(config: Path) -> None:
    for name, head in (("out.png", b"\x89PNG"), ("out.html", b"<!doctype html>")):
        done = run(config, "tank.csv", "--asset", "tank", "--plot", name)
        assert done.exit_code == 0, done.output
        assert (config.parent / name).read_bytes().startswith(head)
    assert "<td>m</td>" in (config.parent / "out.html").read_text()  # the unit of the configuration


_RIG = "time;Volume Flow RateRMS;Température;温度;m/s;anomaly"


def _trained(config: Path, header: str) -> None:
    rng = np.random.default_rng(0)
    lines = [f"2024-01-01 00:{i // 60:02}:{i % 60:02};" + ";".join(map(str, rng.normal(size=5))) for i in range(600)]
    (config.parent / "rig.csv").write_text("\n".join([header, *lines]))
    (config.parent / "edge.toml").write_text(
        CONFIG.replace("*/level", "*/*")
        .replace("range = [0, 10], ", "")
        .replace('*" }]', "*\", models = ['rig.bundle'] }]")
    )
    layout = ["--separator", ";", "--time-column", "time", "--exclude", "anomaly"]
    data, out = str(config.parent / "rig.csv"), str(config.parent / "rig.bundle")
    made = CliRunner().invoke(models_cli.app, ["train", "anomaly", "--data", data, *layout, "--name", "rig", "-o", out])
    assert made.exit_code == 0, made.output
    with (config.parent / "edge.toml").open("a") as file:
        file.write(f"[inference]\n{sign_files(config.parent, Path(out))}\n")


def test_a_model_fits_the_file_that_it_was_trained_on_whatever_its_columns_are_called(config: Path) -> None:
    _trained(config, _RIG)
    done = run(config, "rig.csv", "--separator", ";", "--exclude", "anomaly", "--asset", "Pumpe Süd", "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert (found["readings"], found["deadletters"]) == (3000 - 600, 0)
    assert found["inferences"] > 500


def test_a_model_with_the_names_of_an_earlier_version_is_told_with_the_cure(config: Path) -> None:
    _trained(config, "time;Volume_Flow_RateRMS;a;b;c;anomaly")
    text = (config.parent / "rig.csv").read_text().replace("Volume_Flow_RateRMS", "Volume Flow RateRMS")
    (config.parent / "rig.csv").write_text(text)
    done = run(config, "rig.csv", "--separator", ";", "--exclude", "anomaly", "--asset", "p")
    assert done.exit_code == 0
    assert (
        "model 'rig' takes 'Volume_Flow_RateRMS', 'p' has 'Volume Flow RateRMS': train rig.bundle again" in done.stderr
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.csv"], "nowhere.csv: No such file or directory"),
        (["nowhere.parquet"], "nowhere.parquet: No such file or directory"),
        (["tank.csv", "--topic", "factory/x/{asset}/{channel}"], "(allowed: a topic with {asset} in it"),
        (["tank.csv", "--out", "out.txt"], "out.txt: the suffix names the format (allowed: .csv, .parquet, .lp)"),
        (["tank.csv", "--plot", "out.txt"], "out.txt: the suffix names the format (allowed: .png, .html)"),
        (["tank.csv", "--out", "no/out.csv"], "no/out.csv: there is no folder"),
        (["tank.csv", "--plot", "no/out.png"], "no/out.png: there is no folder"),
        (["tank.csv", "--plot", "out.png", "--plot-asset", "x"], "no reading of asset 'x' (there are: replay)"),
        (["tank.csv", "--plot", "out.png", "--plot-channels", "x"], "no such channel of replay (there are: level)"),
        (
            ["tank.csv", "--separator", "tab"],
            "is left (allowed: numeric columns besides the time; found: 'time,level'); is the separator 'tab'?",
        ),
        (["semi.csv"], "found: 'time;level'); is the separator ','?"),
        (["semi.csv", "--exclude", "level"], "no column 'level' (allowed: time;level); is the separator ','?"),
        (["decimal.csv"], "line 2: 2 cells (allowed: 1, as many as there are columns); is the separator ','?"),
        (["tank.csv", "--time-column", "when"], "tank.csv: there is no column 'when' (allowed: time, level)"),
    ],
)
def test_a_fault_is_named_with_what_is_allowed(config: Path, arguments: list[str], words: str) -> None:
    done = run(config, *arguments)
    assert done.exit_code == 2
    assert words in done.stderr
    assert bool(done.stdout) == any(word.startswith("--plot-") for word in arguments)  # the numbers are there by then


def test_without_a_template_for_rows_of_many_channels_the_file_and_its_key_are_named(config: Path) -> None:
    config.write_text(CONFIG.replace(', { template = "factory/{line}/{asset}" }', ""))
    done = run(config, "tank.csv")
    assert (done.exit_code, f"{config}: topics: no JSON template is without {{channel}}" in done.stderr) == (2, True)


def test_the_end_of_a_file_reports_what_was_kept_back_and_is_no_silence(config: Path) -> None:
    """Two channels: `level` looks for silence, `slow` is reported where its line ends."""
    rules = """[
        { match = "*/level", no_data_factor = 3.0 },
        { match = "*/slow", report = { filter = "swinging-door", band = 0.1 } },
    ]"""
    text = re.sub(r"channels = .*", f"channels = {rules}", CONFIG).replace(
        'match = "*" }', 'match = "*", idle_s = 60.0 }'
    )
    config.write_text(text)
    lines = "".join(f"2024-01-01T00:00:{second:02},{second},5\n" for second in range(40))
    (config.parent / "two.csv").write_text("time,level,slow\n" + lines)
    done = run(config, "two.csv", "--out", "out.csv", "--json")
    assert json.loads(done.stdout)["quality"] == {"good": 42}
    written = (config.parent / "out.csv").read_text()
    assert f"reading,{T0 + 39 * 10**9},replay,slow,value,5.0" in written  # the last of a file, and the first


def _journal(config: Path) -> None:
    """As the agent writes it: the configuration, and a reading out of its range."""
    settings = load(config)
    settings.state_dir.mkdir()
    recent = Recent()
    rows = [{"ts": (T0 + second * 10**9) // 10**6, "values": {"level": 99}} for second in range(3)]
    messages = [Message("factory/l/tank", json.dumps(row).encode(), T0) for row in rows]
    readings = Intake(settings, recent).take(messages).readings
    with closing(SqliteJournal(settings.state_dir / "journal.db", 1 << 26, 1e9, 10)) as journal:
        configured = Configured(arrival_ns=T0, config=settings.model_dump_json(), digests={})
        journal.append([configured, Data.of(T0, readings, [])])


def test_a_journal_replayed_under_rules_that_config_no_longer_has_says_so(config: Path) -> None:
    _journal(config)
    assert run(config).stdout.endswith("bad: range 3\n")
    assert run(config).stderr == ""
    config.write_text(CONFIG.replace("[0, 10]", "[0, 100]"))
    done = run(config)
    assert done.stdout.endswith("bad: range 3\n")
    assert done.stderr == (
        "replayed as journalled, whose last configuration has other `channels` than CONFIG: "
        "give --use-config for CONFIG's rules and models\n"
    )
    done = run(config, "--use-config")
    assert (done.exit_code, done.stdout) == (0, "readings 3  inferences 0  alarms 0  deadletters 0\n")
    assert done.stderr == ""


def test_that_there_is_no_score_is_told_only_where_a_model_is_named(config: Path) -> None:
    assert run(config, "tank.csv").stderr == ""
    _trained(config, _RIG)
    assert "no score: no rule of `assets`" in run(config, "tank.csv").stderr


@pytest.mark.parametrize(
    ("module", "extra", "arguments"),
    [
        ("polars", "files", ["tank.csv", "--out", "out.parquet"]),
        ("polars", "files", ["tank.parquet"]),
        ("matplotlib", "plot", ["tank.csv", "--plot", "out.png"]),
    ],
)
def test_a_missing_library_is_named_with_its_extra_before_the_work(
    config: Path, monkeypatch: pytest.MonkeyPatch, module: str, extra: str, arguments: list[str]
) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(edge_replay, "import_module", missing)
    done = run(config, *arguments)
    assert done.exit_code == 2
    assert done.stderr == f"{module} is not installed: pip install 'tocsin[{extra}]'\n"


def test_a_gateway_does_without_the_libraries_for_files_and_pictures() -> None:
    script = (
        "import sys, tocsin.edge, tocsin.plant.cli; sys.exit(any(n in sys.modules for n in ('polars', 'matplotlib')))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False, cwd=Path(__file__).parents[2]).returncode == 0


def test_what_was_set_aside_is_counted_by_reason_with_examples(config: Path) -> None:
    lines = "".join(f"2024-01-01T00:00:{second:02},{second},1\n" for second in range(20))
    (config.parent / "two.csv").write_text("time,level,pump\n" + lines)
    done = run(config, "two.csv", "--json")
    found = json.loads(done.stdout)
    assert (found["deadletters"], found["deadletters_by_reason"]) == (20, {"unknown_channel": 20})
    assert found["readings"] == 0
    shown = run(config, "two.csv")
    assert shown.stderr.count("set aside: ") == 1
    assert "unknown_channel: channel 'replay/pump' fits no [[channels]] rule" in shown.stderr


def test_a_terminal_sees_how_far_it_is(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_replay, "Console", lambda **_: Console(stderr=True, force_terminal=True, width=80))
    done = run(config, "tank.csv")
    assert "100%" in done.stderr
    assert "readings 2" in done.stdout


def test_help_teaches_by_an_example() -> None:
    app = Typer()
    app.command()(edge_replay.replay)
    shown = " ".join(CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200", "NO_COLOR": "1"}).stdout.split())
    assert "tocsin edge replay edge.toml pump.csv --asset pump-1 --out scores.parquet --plot pump.html" in shown
    assert "--time-unit" in shown
