"""The benchmarks: file by file on made-up data, and the figures reached where the real data is at hand."""

import csv
from pathlib import Path

import numpy as np
import pytest

from models.evaluation import skab

DATA = Path(__file__).parents[3] / "shared" / "data"


def _real(name: str) -> Path:
    if not (DATA / name).is_dir():
        pytest.skip(f"the data set {name} is not at hand")
    return DATA / name


def _write_rig(path: Path) -> None:
    """500 rows of two sensors that move together, until the second leaves at row 450."""
    rng = np.random.default_rng(0)
    load = rng.normal(size=500)
    flow = load + 0.1 * rng.normal(size=500)
    flow[450:] += 5
    path.parent.mkdir(parents=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(["datetime", "Load", "Flow", "anomaly", "changepoint"])
        writer.writerows([f"t{at}", load[at], flow[at], int(at >= 450), int(at == 450)] for at in range(500))


def test_a_fault_is_found_and_a_verdict_stands_for_every_row(tmp_path: Path) -> None:
    _write_rig(tmp_path / "data" / "valve" / "0.csv")
    _write_rig(tmp_path / "data" / "anomaly-free" / "0.csv")
    verdicts = skab.evaluate(tmp_path / "data", tmp_path / "out")
    assert verdicts.files == 1
    assert verdicts.f1 > 0.9
    lines = (tmp_path / "out" / "valve" / "0.csv").read_text().split()
    assert lines[0] == "anomaly"
    assert lines[1:451].count("1") == 0
    assert len(lines) == 501


def test_a_verdict_does_not_change_with_what_comes_later() -> None:
    frames = np.random.default_rng(1).normal(size=(600, 4)).cumsum(0)
    np.testing.assert_array_equal(skab.detect(frames)[:500], skab.detect(frames[:500]))


@pytest.mark.realdata
def test_the_pump_rig_is_judged_better_than_the_published_t2_and_q(tmp_path: Path) -> None:
    verdicts = skab.evaluate(_real("skab"), tmp_path)
    assert verdicts.f1 >= 0.754
    assert verdicts.false_alarm_percent <= 25
    assert verdicts.missed_percent <= 28.7


@pytest.mark.realdata
def test_turbofan_lives_are_predicted_about_as_well_as_measured_before(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    from models.evaluation import cmapss

    source = _real("cmapss")
    for kind in ("train", "test", "RUL"):
        (tmp_path / f"{kind}_FD001.txt").write_bytes((source / f"{kind}_FD001.txt").read_bytes())
    (errors,) = cmapss.evaluate(tmp_path, tmp_path / "out")
    assert errors.raw is not None
    assert 10 < errors.raw <= 16, "below 10 smells of a leak"
    assert len((tmp_path / "out" / "FD001.csv").read_text().split()) == 101
