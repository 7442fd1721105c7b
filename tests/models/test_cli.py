"""The commands, as a person or a script calls them."""

import json
import sys
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from models.bundle import read_bundle
from models.cli import app

pytest.importorskip("onnx")
pytest.importorskip("sklearn")
RUNNER = CliRunner()


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """An hour and a half of a rig at 1 Hz; the last minutes are wrong, and say so."""
    rng = np.random.default_rng(0)
    rows = 1200
    load = rng.normal(size=rows)
    flow = load + 0.3 * rng.normal(size=rows)
    flow[1000:] += 4
    lines = [
        f"2026-01-01T00:{at // 60:02}:{at % 60:02};{load[at]:.4f};{flow[at]:.4f};{int(at >= 1000)}"
        for at in range(rows)
    ]
    path = tmp_path / "rig.csv"
    path.write_text("\n".join(["time;load;flow;anomaly", *lines]))
    return path


def _train(table: Path, out: Path, *more: str) -> list[str]:
    options = ["--separator", ";", "--time-column", "time", "--exclude", "anomaly", "--window", "5"]
    return ["train", "anomaly", "--data", str(table), *options, "-o", str(out), *more]


def test_a_trained_bundle_can_be_inspected_by_a_script_and_by_a_person(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "rig.bundle"
    made = RUNNER.invoke(app, _train(table, out, "--rows", "800", "--json"))
    assert made.exit_code == 0, made.output
    facts = json.loads(RUNNER.invoke(app, ["inspect", str(out), "--json"]).stdout)
    assert facts["digest"] == json.loads(made.stdout)["digest"]
    assert [channel["name"] for channel in facts["channels"]] == ["load", "flow"]
    assert (facts["window"], facts["sample_period_s"]) == (5, 1.0)
    assert facts["bytes"] == out.stat().st_size
    assert "rig.csv" in RUNNER.invoke(app, ["inspect", str(out)]).stdout


def test_a_label_judges_and_the_report_shows_it(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "rig.bundle"
    options = ["--separator", ";", "--label-column", "anomaly", "--rows", "800", "--report", str(tmp_path / "report")]
    made = RUNNER.invoke(app, ["train", "anomaly", "--data", str(table), *options, "-o", str(out), "--json"])
    assert made.exit_code == 0, made.output
    found = json.loads(made.stdout)["evaluation"]
    assert (found["test_events"], found["test_events_found"]) == (1, 1)
    assert found["test_roc_auc"] > 0.95
    page = (tmp_path / "report" / "report.html").read_text()
    assert "Detection delay" in page
    assert "<script" not in page


def test_the_same_seed_and_data_give_the_same_bytes(table: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert RUNNER.invoke(app, _train(table, tmp_path / name, "--seed", "3")).exit_code == 0
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_the_recipe_in_a_bundle_trains_the_same_bundle_again(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "one.bundle"
    assert RUNNER.invoke(app, _train(table, out, "--rows", "700")).exit_code == 0
    recipe = tmp_path / "recipe.toml"
    with zipfile.ZipFile(out) as bundle:
        recipe.write_bytes(bundle.read("recipe.toml"))
    again = tmp_path / "two.bundle"
    done = RUNNER.invoke(app, ["train", "anomaly", "--data", str(table), "--recipe", str(recipe), "-o", str(again)])
    assert done.exit_code == 0, done.output
    assert again.read_bytes() == out.read_bytes()


@pytest.mark.parametrize("passphrase", [None, "a passphrase"])
def test_a_key_signs_the_bundle_at_once(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passphrase: str | None
) -> None:
    from models.signing import write_keys

    key_id = write_keys(tmp_path / "key.pem", tmp_path / "key.pub.pem", passphrase.encode() if passphrase else None)
    if passphrase:
        monkeypatch.setenv("TOCSIN_KEY_PASSPHRASE", passphrase)
    made = RUNNER.invoke(app, _train(table, tmp_path / "x.bundle", "--key", str(tmp_path / "key.pem"), "--json"))
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["key_id"] == key_id


def test_a_quality_model_is_trained_from_products_measured_now_and_then(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    heat, speed = rng.normal(size=(2, 400))
    quality = np.clip(80 - 15 * heat**2, 0, 100)
    text = [
        f"{h:.4f},{s:.4f},{q if at % 2 else ''}" for at, (h, s, q) in enumerate(zip(heat, speed, quality, strict=True))
    ]
    data, out, report = tmp_path / "line.csv", tmp_path / "line.bundle", tmp_path / "line.html"
    data.write_text("\n".join(["heat,speed,quality", *text]))
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("[model]\ntrees = 30\n")
    options = ["--recipe", str(recipe), "--target-column", "quality", "--report", str(report), "-o", str(out), "--json"]
    made = RUNNER.invoke(app, ["train", "quality", "--data", str(data), *options])
    assert made.exit_code == 0, made.output
    facts = json.loads(made.stdout)
    assert facts["outputs"] == ["quality_score", "contribution", "direction"]
    assert facts["evaluation"]["test_products"] == 40
    assert facts["evaluation"]["test_explained"] > 0.5
    assert "What pulls quality down" in report.read_text()


def test_a_failure_model_is_trained_from_machines_that_ran_until_they_failed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = [
        f"engine-{unit},{load:.3f},{np.exp((row - 80) / 15) + 0.05 * rng.normal():.4f},{rng.normal():.3f}"
        for unit in range(10)
        for row, load in enumerate(rng.normal(size=80 + 2 * unit))
    ]
    data, out, report = tmp_path / "fleet.csv", tmp_path / "fleet.bundle", tmp_path / "fleet.html"
    data.write_text("\n".join(["engine,load,wear,noise", *lines]))
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("[model]\nfolds = 2\nwindow = 10\ncap_h = 60\nhorizon_h = 20\n")
    options = [
        "--recipe",
        str(recipe),
        "--asset-column",
        "engine",
        "--sample-period-s",
        "3600",
        "--report",
        str(report),
    ]
    made = RUNNER.invoke(app, ["train", "failure", "--data", str(data), *options, "-o", str(out), "--json"])
    assert made.exit_code == 0, made.output
    facts = json.loads(made.stdout)
    assert facts["outputs"] == ["rul_h", "rul_low_h", "rul_high_h", "failure_prob", "health"]
    assert facts["evaluation"]["test_units"] == 2
    assert facts["evaluation"]["test_rmse_h"] < 15
    page = report.read_text()
    assert "Reliability of the probability" in page
    assert "Coverage of the interval" in page


def test_machines_that_tell_nothing_of_their_lives_give_a_model_that_says_so(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = (f"{row * 10},{'N' if row else 'Y'},{rng.normal():.3f},{int(row > 30)}" for row in range(60))
    text = "\n".join(["t_s,new,noise,worn", *rows])
    files = [tmp_path / f"bearing-{number}.csv" for number in range(4)]
    for file in files:
        file.write_text(text)
    out = tmp_path / "b.bundle"
    options = ["--time-column", "t_s", "--time-unit", "s", "--exclude", "worn", "--window", "10", "-o", str(out)]
    named = [option for file in files for option in ("--data", str(file))]
    made = RUNNER.invoke(app, ["train", "failure", *named, *options, "--judges", "bearing-2"])
    assert made.exit_code == 0, made.output
    assert "note: columns without numbers: new" in made.stderr
    assert "than by always saying the mean" in made.stderr
    card = read_bundle(out).parts["card.md"].decode()
    assert "By unit, named; 1 judge (bearing-2)" in card
    assert "cap_h = 0.1\nhorizon_h = 0.025\n" in card
    assert "**times**: 0 h to 0.1639 h" in card


def test_a_column_that_knows_the_answer_is_asked_about(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = [f"{heat:.3f},{int(heat > 1)},{int(heat > 1.5)}" for heat in rng.normal(size=300)]
    data = tmp_path / "line.csv"
    data.write_text("\n".join(["heat,scrap,burnt", *lines]))
    options = ["--target-column", "scrap", "--target", "bad", "-o", str(tmp_path / "q.bundle")]
    made = RUNNER.invoke(app, ["train", "quality", "--data", str(data), *options])
    assert made.exit_code == 0, made.output
    assert "mind: input burnt alone tells scrap (right " in made.stderr
    assert "mind: input heat alone tells scrap (area under ROC 1.000)" in made.stderr


def test_a_machine_that_drifts_is_in_alarm_and_the_command_the_card_and_the_table_say_so(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    level = 4 * np.maximum(np.arange(1200) - 800, 0) / 400
    rows = (
        f"{a + up:.3f},{b:.3f},{int(at >= 1150)}"
        for at, (up, (a, b)) in enumerate(zip(level, rng.normal(size=(1200, 2)), strict=True))
    )
    data, out = tmp_path / "pump.csv", tmp_path / "pump.bundle"
    data.write_text("\n".join(["a,b,fault", *rows]))
    options = ["--data", str(data), "--label-column", "fault", "--rows", "800", "-o", str(out)]
    made = RUNNER.invoke(app, ["train", "anomaly", *options])
    assert made.exit_code == 0, made.output
    assert "of the healthy test time, and before 1 of 1 event began" in made.stderr
    assert "with model.follow above 0," in made.stderr
    found = read_bundle(out).manifest.evaluation
    assert (found["test_events"], found["test_events_found"], found["test_events_already_in_alarm"]) == (1, 0, 1)
    assert found["test_healthy_share_in_alarm"] > 0.3
    assert "test healthy share in alarm" in made.stdout
    card = read_bundle(out).parts["card.md"].decode()
    assert "> **Mind:** an alarm is open in " in card


def test_a_limit_that_no_input_reaches_is_told(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = tmp_path / "pump.csv"
    data.write_text("\n".join(["a,b", *(f"{a:.3f},{b:.3f}" for a, b in rng.normal(size=(200, 2)))]))
    options = ["--data", str(data), "-o", str(tmp_path / "a.bundle")]
    deaf = RUNNER.invoke(app, ["train", "anomaly", *options, "--method", "isolation-forest"])
    assert deaf.exit_code == 0, deaf.output
    assert "mind: nothing reaches the alarm limit" in deaf.stderr
    heard = RUNNER.invoke(app, ["train", "anomaly", *options, "--method", "pca"])
    assert "nothing reaches" not in heard.stderr


def test_a_model_that_adapts_is_asked_after_usual_rows_whether_it_hears(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = tmp_path / "pump.csv"
    data.write_text("\n".join(["a", *(f"{a:.3f}" for a in rng.standard_t(3, size=500))]))
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('[model]\nmethod = "streaming"\nlearning = 20\nprototypes = 48\n')
    options = ["--data", str(data), "--alarms-per-week", "10000", "-o", str(tmp_path / "a.bundle")]
    made = RUNNER.invoke(app, ["train", "anomaly", *options, "--recipe", str(recipe)])
    assert made.exit_code == 0, made.output
    assert "nothing reaches" not in made.stderr


def test_lengths_come_from_lives_that_are_learnt_and_the_written_recipe_gives_the_same_bytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    files = [tmp_path / f"b{number}.csv" for number in range(6)]
    for file, rows in zip(files, (60, 60, 60, 300, 300, 300), strict=True):
        wear = (f"{row * 10},{row / rows + rng.normal():.3f}" for row in range(rows))
        file.write_text("\n".join(["t_s,wear", *wear]))
    named = [option for file in files for option in ("--data", str(file))]
    first, again, recipe = tmp_path / "first.bundle", tmp_path / "again.bundle", tmp_path / "recipe.toml"
    options = ["--time-column", "t_s", "--time-unit", "s", "--window", "10", "--judges", "b3,b4,b5"]
    assert RUNNER.invoke(app, ["train", "failure", *named, *options, "-o", str(first)]).exit_code == 0
    recipe.write_bytes(read_bundle(first).parts["recipe.toml"])
    assert "cap_h = 0.1\n" in recipe.read_text()  # judges live five times as long
    assert RUNNER.invoke(app, ["train", "failure", *named, "--recipe", str(recipe), "-o", str(again)]).exit_code == 0
    assert again.read_bytes() == first.read_bytes()


def test_a_bundle_that_cannot_be_written_is_told_before_anything_is_learnt(tmp_path: Path) -> None:
    made = RUNNER.invoke(app, ["train", "anomaly", "--data", "none.csv", "-o", str(tmp_path)])
    assert made.exit_code == 2
    assert made.stderr == f"{tmp_path}: is a folder; name a file in it\n"


def test_lives_without_times_are_refused_for_nobody_knows_how_long_a_row_is(tmp_path: Path) -> None:
    data = tmp_path / "fleet.csv"
    data.write_text("engine,wear\n" + "".join(f"{unit},{row}.5\n" for unit in "ab" for row in range(50)))
    arguments = ["train", "failure", "--data", str(data), "--unit-column", "engine", "-o", str(tmp_path / "x.bundle")]
    result = RUNNER.invoke(app, arguments)
    assert result.exit_code == 2, result.output
    assert "data.time_column, or data.sample_period_s" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["inspect", "none.bundle"], "none.bundle: cannot be read"),
        (["train", "anomaly", "--data", "none.csv", "-o", "x"], "none.csv: cannot be read"),
        (["train", "anomaly", "--data", "none.csv", "--recipe", "none.toml", "-o", "x"], "none.toml: cannot be read"),
        (["train", "anomaly", "--data", "none.csv", "--method", "magic", "-o", "x"], "allowed: pca, "),
        (["train", "failure", "--data", "none", "--layout", "other", "-o", "x"], "allowed: 'auto' or 'cmapss'"),
        (["train", "quality", "--data", "none.csv", "-o", "x"], "none.csv: cannot be read"),
        (["evaluate", "skab", "--data", "none", "--out", "x"], "no files"),
        (["evaluate", "cmapss", "--data", "none", "--out", "x"], "no train_FD00x.txt"),
    ],
)
def test_bad_input_is_one_line_on_stderr_and_status_two(arguments: list[str], fault: str) -> None:
    result = RUNNER.invoke(app, arguments)
    assert result.exit_code == 2, result.output
    assert fault in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        (["--name", "a/b"], "name: "),
        (["--exclude", "anomaly,nothing"], "no column 'nothing'; there are time, load, flow, anomaly"),
        (["--columns", "load,nothing"], "no column 'nothing'"),
        (["--columns", "load,anomaly"], "'anomaly' is named as an input and as something else"),
        (["--sample-period-s", "5"], "rows come every 1 s: sample_period_s = 1"),
        (["--unit-column", "nothing"], "no column 'nothing'"),
    ],
)
def test_what_the_file_contradicts_is_refused_with_the_cure(
    table: Path, tmp_path: Path, more: list[str], fault: str
) -> None:
    result = RUNNER.invoke(app, _train(table, tmp_path / "x.bundle", *more))
    assert result.exit_code == 2, result.output
    assert fault in result.stderr
    assert not (tmp_path / "x.bundle").exists()


def test_a_missing_extra_is_named(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "models.training.kit", None)
    result = RUNNER.invoke(app, _train(table, tmp_path / "x.bundle"))
    assert result.exit_code == 2
    assert "tocsin[train]" in result.stderr


def test_a_method_that_needs_pytorch_says_so(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    result = RUNNER.invoke(app, _train(table, tmp_path / "x.bundle", "--method", "dense-autoencoder"))
    assert result.exit_code == 2
    assert "pip install 'tocsin[train-deep]'" in result.stderr


def test_recipes_are_listed_and_each_is_printed_as_a_file_that_trains() -> None:
    listed = RUNNER.invoke(app, ["recipe"])
    assert listed.exit_code == 0
    assert "[train-deep]" in listed.stdout
    for line in listed.stdout.splitlines():
        kind, method = line.split()[:2]
        printed = RUNNER.invoke(app, ["recipe", kind, method])
        assert printed.exit_code == 0, printed.output
        assert tomllib.loads(printed.stdout)["model"]["method"] == method
