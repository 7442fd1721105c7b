"""`tocsin edge replay`: the agent's numbers for a recorded file."""

import json
import subprocess
import sys
from pathlib import Path

CONFIG = """
site = "lab"
gateway = "gw1"
state_dir = "state"
topics = [{ template = "factory/{line}/{asset}/{channel}" }, { template = "factory/{line}/{asset}" }]
channels = [{ match = "*/level", range = [0, 10] }]
assets = [{ match = "*" }]
"""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tocsin", "edge", "replay", str(folder / "edge.toml"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])


def test_each_row_of_a_file_is_in_the_results(tmp_path: Path) -> None:
    (tmp_path / "edge.toml").write_text(CONFIG)
    (tmp_path / "tank.csv").write_text("time,level\n2024-01-01T00:00:00,1.5\n2024-01-01T00:00:01,99\n")
    done = run(tmp_path, str(tmp_path / "tank.csv"), "--asset", "tank", "--out", str(tmp_path / "out.csv"), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"readings": 2, "inferences": 0, "alarms": 0, "deadletters": 0}
    rows = (tmp_path / "out.csv").read_text().splitlines()
    assert rows[1:3] == [
        "reading,1704067200000000000,tank,level,value,1.5",
        "reading,1704067201000000000,tank,level,value,99.0",
    ]
    assert "reading,1704067201000000000,tank,level,denoised,nan" in rows  # bad: kept, and not used


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "edge.toml").write_text(CONFIG)
    done = run(tmp_path, "nowhere.csv")
    assert done.returncode == 2
    assert "nowhere.csv: cannot be read" in done.stderr


def test_a_topic_that_the_rows_cannot_come_from_is_refused(tmp_path: Path) -> None:
    (tmp_path / "edge.toml").write_text(CONFIG)
    (tmp_path / "tank.csv").write_text("time,level\n2024-01-01T00:00:00,1.5\n")
    done = run(tmp_path, str(tmp_path / "tank.csv"), "--topic", "factory/x/{asset}/{channel}")
    assert done.returncode == 2
    assert "{asset}" in done.stderr
