"""The command and the whole demo, as a user starts them."""

import json
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

from tocsin.demo.setup import InfluxTarget, prepare

TOCSIN = [sys.executable, "-m", "tocsin"]


def test_the_help_comes_quickly_because_no_part_is_imported() -> None:
    code = "import sys; from tocsin.cli import build; build(None); print('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"False\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["plant", "replay", "no-such-file.csv"], "no-such-file.csv: cannot be read"),
        (["plant", "replay", "x.csv", "--start", "noon"], "--start 'noon' (allowed: ISO 8601"),
        (["plant", "replay", "x.csv", "--speed", "fast"], "--speed 'fast' (allowed: max"),
        (["demo", "--bucket", "b"], "go with --influx URL"),
    ],
)
def test_what_the_user_can_put_right_is_one_line_and_exit_code_2(arguments: list[str], words: str) -> None:
    ended = subprocess.run([*TOCSIN, *arguments], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    "influx", [None, InfluxTarget("http://127.0.0.1:8086"), InfluxTarget("http://127.0.0.1:8086", "o", "b")]
)
def test_the_demos_configurations_pass_their_own_checks(tmp_path: Path, influx: InfluxTarget | None) -> None:
    from aggregator.config import load as load_aggregator
    from edge_agent.config import load as load_edge

    setup = prepare(tmp_path, influx)
    assert all(model.is_file() for rule in load_edge(setup.edge).assets for model in rule.models)
    assert load_aggregator(setup.aggregator).broker.port == setup.port_v5


def test_the_zoo_in_the_package_is_what_the_command_builds(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="needs the extra 'train'")
    subprocess.run([*TOCSIN, "model", "zoo", "--out", str(tmp_path)], check=True, capture_output=True)
    for path in tmp_path.iterdir():
        assert path.read_bytes() == resources.files("models").joinpath("zoo", path.name).read_bytes(), path.name


def test_the_demo_loses_nothing_and_hears_the_first_fault(tmp_path: Path) -> None:
    pytest.importorskip("iotcore", reason="needs the extra 'console'")
    pytest.importorskip("onnxruntime", reason="needs the extra 'cpu' or 'gpu'")
    call = [*TOCSIN, "demo", "--for", "12", "--json", "--keep", str(tmp_path)]
    ended = subprocess.run(call, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    summary = json.loads(ended.stdout)
    assert summary["published"] == summary["journaled"] == summary["stored"] > 1500
    assert (summary["missing"], summary["duplicated"]) == (0, 0)
    assert summary["alarms"] >= 1
    assert summary["first_alarm_s"] is not None
    assert summary["anomalies"] > 0
