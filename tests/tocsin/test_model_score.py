"""`model score`: the outputs of a bundle for recorded data are those that the agent gives."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from models.bundle import Channel, write_bundle
from tests.bundles import manifest
from tocsin import edge_replay
from tocsin.errors import UserError
from tocsin.model import app

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from models.training.graph import Graph, to_bytes

RUNNER = CliRunner()
OUTPUTS = ("anomaly_score", "contribution", "direction")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """The score is the mean of a over the window plus the state, which counts windows; each share is a constant."""
    graph = Graph()
    a = graph.add("Gather", "window", graph.constant([0], np.int64), axis=2)
    mean = graph.add("ReduceMean", a, axes=[1, 2], keepdims=0)
    flat = graph.add("Reshape", mean, graph.constant([-1, 1], np.int64))
    graph.add("Add", flat, "state", to="anomaly_score")
    graph.add("Add", "state", graph.constant([[1.0]]), to="state_next")
    none = graph.add("Mul", flat, graph.constant([[0.0, 0.0]]))
    graph.add("Add", none, graph.constant([[0.25, 0.75]]), to="contribution")
    graph.add("Add", none, graph.constant([[-1.0, 1.0]]), to="direction")
    given, state = ("window", ("batch", 3, 2)), {"state": ("batch", 1)}
    results = {"anomaly_score": ("batch", 1), "contribution": ("batch", 2), "direction": ("batch", 2)}
    model = graph.model("m", given, results | {"state_next": ("batch", 1)}, state)
    of = manifest(channels=(Channel(name="a"), Channel(name="b")), window=3, outputs=OUTPUTS, state=1)
    write_bundle(tmp_path / "m.bundle", of, to_bytes(model))
    return tmp_path / "m.bundle"


def table(path: Path, rows: list[tuple[float | str, ...]], header: str = "time,a,b") -> Path:
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]))
    return path


ROWS: list[tuple[float | str, ...]] = [(i, i % 7 + 0.5, i % 5) for i in range(1, 40)]


def score(*arguments: str | Path) -> dict[str, Any]:
    done = RUNNER.invoke(app, ["score", *map(str, arguments), "--time-unit", "s", "--json"])
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_each_window_has_its_outputs_and_the_share_of_each_channel(bundle: Path, tmp_path: Path) -> None:
    data = table(tmp_path / "d.csv", ROWS)
    summary = score(bundle, "--data", data, "--out", tmp_path / "s.csv")
    with (tmp_path / "s.csv").open() as file:
        found = list(csv.DictReader(file))
    assert list(found[0]) == [
        *("asset", "time_ns", "anomaly_score"),
        *(f"{output}.{channel}" for output in ("contribution", "direction") for channel in "ab"),
    ]
    assert (summary["windows"], summary["scored"], summary["unscored"]) == (39, 37, 2)
    a = np.array([row[1] for row in ROWS], float)
    expected = np.convolve(a, np.full(3, 1 / 3), "valid") + np.arange(37)
    scores = np.array([float(row["anomaly_score"]) for row in found])
    np.testing.assert_allclose(scores, expected, rtol=1e-6)
    assert [int(row["time_ns"]) for row in found] == [i * 10**9 for i in range(3, 40)]
    assert {(row["contribution.a"], row["direction.b"]) for row in found} == {("0.25", "1.0")}
    assert summary["range"]["anomaly_score"] == [scores.min(), scores.max()]
    assert summary["beyond_the_limit"] == (scores > 1).sum()


def test_a_parquet_file_says_the_same_as_a_csv_file(bundle: Path, tmp_path: Path) -> None:
    pl = pytest.importorskip("polars")
    data = table(tmp_path / "d.csv", ROWS)
    pl.DataFrame(
        {"time": [row[0] for row in ROWS], "a": [row[1] for row in ROWS], "b": [row[2] for row in ROWS]}
    ).write_parquet(tmp_path / "d.parquet")
    score(bundle, "--data", data, "--out", tmp_path / "s.csv")
    score(bundle, "--data", tmp_path / "d.parquet", "--out", tmp_path / "s.parquet")
    assert pl.read_parquet(tmp_path / "s.parquet").equals(pl.read_csv(tmp_path / "s.csv"))


def test_scores_are_those_of_the_agent_for_the_same_file(bundle: Path, tmp_path: Path) -> None:
    gappy = [row for row in ROWS if row[0] not in {11, 20, 21, 22, 23, 24, 25, 26, 27}]
    data = table(tmp_path / "d.csv", [(time, a, "" if time == 15 else b) for time, a, b in gappy])
    (tmp_path / "edge.toml").write_text(
        'site = "s"\ngateway = "g"\nstate_dir = "state"\ntopics = [{ template = "f/{asset}" }]\n'
        'channels = [{ match = "*/*" }]\nassets = [{ match = "*", models = ["m.bundle"] }]\n'
        '[inference]\nproviders = ["cpu"]\nallow_unsigned = true\n'
    )
    options = ["--time-unit", "s", "--start", "2024-01-01T00:00:00Z"]
    done = RUNNER.invoke(app, ["score", str(bundle), "--data", str(data), "--out", str(tmp_path / "s.csv"), *options])
    assert done.exit_code == 0, done.output
    edge_replay_app = typer.Typer()
    edge_replay_app.command()(edge_replay.replay)
    out = ["--out", str(tmp_path / "r.csv"), *options]
    done = RUNNER.invoke(edge_replay_app, [str(tmp_path / "edge.toml"), str(data), *out])
    assert done.exit_code == 0, done.output
    with (tmp_path / "s.csv").open() as ours, (tmp_path / "r.csv").open() as agents:
        mine = {(row["time_ns"], row["anomaly_score"]) for row in csv.DictReader(ours)}
        theirs = {(row["time_ns"], row["value"]) for row in csv.DictReader(agents) if row["field"] == "anomaly_score"}
    assert mine == theirs
    assert len(mine) > 20


def test_several_assets_are_scored_apart(bundle: Path, tmp_path: Path) -> None:
    rows: list[tuple[float | str, ...]] = [(*row, name) for row in ROWS for name in ("p1", "p2")]
    data = table(tmp_path / "d.csv", rows, "time,a,b,machine")
    summary = score(bundle, "--data", data, "--asset-column", "machine", "--out", tmp_path / "s.csv")
    assert summary["scored"] == 2 * 37
    with (tmp_path / "s.csv").open() as file:
        found = [(row.pop("asset"), tuple(row.values())) for row in csv.DictReader(file)]
    assert sorted(row for name, row in found if name == "p1") == sorted(row for name, row in found if name == "p2")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--channels", "a"], "takes 'b', which no column gives"),
        (["--out", "s.txt"], r"--out s.txt: the suffix names the format"),
        (["--separator", "xx"], "separator 'xx'"),
    ],
)
def test_what_cannot_be_scored_is_told(bundle: Path, tmp_path: Path, options: list[str], words: str) -> None:
    data = table(tmp_path / "d.csv", ROWS)
    done = RUNNER.invoke(app, ["score", str(bundle), "--data", str(data), "--time-unit", "s", *options])
    assert isinstance(done.exception, UserError)
    assert words in str(done.exception)


@pytest.mark.parametrize("hold_s", ["inf", "1e30", "-1"])
def test_a_value_is_held_for_a_week_at_most(bundle: Path, tmp_path: Path, hold_s: str) -> None:
    data = table(tmp_path / "d.csv", ROWS)
    done = RUNNER.invoke(app, ["score", str(bundle), "--data", str(data), "--hold-s", hold_s])
    assert (done.exit_code, "than or equal to" in done.stderr) == (2, True)


def test_nothing_is_left_of_a_result_that_was_broken_off(bundle: Path, tmp_path: Path) -> None:
    data = table(tmp_path / "d.csv", [*ROWS, ("x", 1, 1)])
    arguments = ["score", str(bundle), "--data", str(data), "--time-unit", "s", "--out", str(tmp_path / "s.csv")]
    assert RUNNER.invoke(app, arguments).exit_code == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.csv", "m.bundle"]


def test_a_file_that_is_no_bundle_is_told(tmp_path: Path) -> None:
    data = table(tmp_path / "d.csv", ROWS)
    done = RUNNER.invoke(app, ["score", str(data), "--data", str(data)])
    assert (done.exit_code, "no bundle" in done.stderr) == (2, True)
