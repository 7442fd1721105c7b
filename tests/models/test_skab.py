"""The pump rig: made-up files for the rules, and the figures reached where the real data is at hand."""

import csv
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.evaluation import skab
from models.training.anomaly.base import Floats
from models.training.table import DataError, read_table

DATA = Path(__file__).parents[3] / "shared" / "data" / "skab"
START = datetime(2020, 3, 9, 10, 14, 33)  # noqa: DTZ001 - as the files have it


def rig(rows: int = 700, fault: int = 550, seed: int = 0) -> Floats:
    """Three sensors, two of which move together until the second leaves at row `fault`, for 80 rows."""
    rng = np.random.default_rng(seed)
    load = rng.normal(size=rows)
    values = np.column_stack([load, load + 0.1 * rng.normal(size=rows), rng.normal(size=rows)])
    values[fault : fault + 80, 1] += 5
    return values


def write(path: Path, values: Floats, fault: int = 550) -> None:
    path.parent.mkdir(parents=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(["datetime", "Load", "Flow", "Noise", "anomaly", "changepoint"])
        for at, row in enumerate(values):
            is_fault = fault <= at < fault + 80
            writer.writerow([START + timedelta(seconds=at), *row, int(is_fault), int(at == fault)])


def test_a_fault_is_found_and_a_verdict_stands_for_every_row(tmp_path: Path) -> None:
    for folder in ("valve", "anomaly-free"):
        write(tmp_path / "data" / folder / "0.csv", rig())
    verdicts = skab.evaluate(tmp_path / "data", tmp_path / "out")
    assert verdicts.files == 1
    assert verdicts.f1 is not None
    assert verdicts.f1 > 0.75
    assert verdicts.missed_percent is not None
    assert verdicts.missed_percent < 10
    lines = (tmp_path / "out" / "valve" / "0.csv").read_text().split()
    assert lines[0] == "anomaly"
    assert lines[1:551].count("1") == 0
    assert len(lines) == 701
    assert not (tmp_path / "out" / "anomaly-free").exists()


@settings(max_examples=20, deadline=None)
@given(cut=st.integers(401, 699), seed=st.integers(0, 99), slower=st.sampled_from([1.0, 0.1, 10.0]))
def test_a_verdict_does_not_change_with_what_comes_later(cut: int, seed: int, slower: float) -> None:
    values = rig(seed=seed)
    rng = np.random.default_rng(seed)
    steps = rng.choice([0.0, 1.0, 1.0, 1.0, 2.0], 700) + 60 * (rng.random(700) < 0.005)
    steps[401:] *= slower  # no more than the verdicts before may the length of a step depend on later rows
    times = steps.cumsum()
    np.testing.assert_array_equal(skab.detect(values, times)[:cut], skab.detect(values[:cut], times[:cut]))


def test_what_is_a_gap_is_told_by_the_training_rows_alone() -> None:
    values, times = rig(rows=1000), np.arange(1000.0)
    times[401:] += 6 * np.arange(599)  # from here on a row each 7 s: most of the file, but not of what was learnt from
    assert skab.detect(values[:600], times[:600]).sum() == skab.detect(values, times)[:600].sum() == 0


@pytest.mark.parametrize("factor", [1000.0, 1e-9, 1e12, -1.0])
def test_the_unit_of_the_sensors_changes_no_verdict(factor: float) -> None:
    np.testing.assert_array_equal(skab.detect(rig() * factor), skab.detect(rig()))


def test_other_columns_a_constant_one_among_them_are_judged_as_well() -> None:
    values = rig()
    for more in (np.full((700, 1), 3.0), np.zeros((700, 1)), np.random.default_rng(1).normal(size=(700, 30))):
        assert skab.detect(np.hstack([values, more]))[570:630].all()
    assert skab.detect(values[:401]).shape == (401,)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_value_too_far_out_to_be_squared_opens_the_alarm() -> None:
    values = rig()
    values[500:520, 0] = 1e200
    assert skab.detect(values)[520]


def test_files_without_labels_get_verdicts_and_no_figures(tmp_path: Path) -> None:
    write(tmp_path / "data" / "valve" / "0.csv", rig())
    path = tmp_path / "data" / "valve" / "0.csv"
    path.write_text("\n".join(line.rsplit(";", 2)[0] for line in path.read_text().split("\n") if line))
    assert skab.evaluate(tmp_path / "data", tmp_path / "out") == (1, None, None, None)
    assert len((tmp_path / "out" / "valve" / "0.csv").read_text().split()) == 701


def test_the_alarm_closes_after_the_fault_is_over() -> None:
    alarms = skab.detect(rig())
    assert alarms[570:630].all()
    assert not alarms[690:].any()


def test_rows_after_a_gap_keep_the_verdict_until_a_window_is_whole() -> None:
    values = rig()
    times = np.arange(len(values), dtype=np.float64)
    times[600:] += 60  # within the fault
    values[600:630] = rig(fault=10_000)[600:630]  # when the rig is seen again, all is well
    alarms = skab.detect(values, times)
    assert alarms[580 : 600 + skab.PARAMS.window - 1].all()


def test_a_file_that_cannot_be_judged_is_named(tmp_path: Path) -> None:
    write(tmp_path / "data" / "valve" / "7.csv", rig()[:300])
    with pytest.raises(DataError, match=r"valve/7.csv: 300 rows; more than the 400"):
        skab.evaluate(tmp_path / "data", tmp_path / "out")
    with pytest.raises(DataError, match="no files"):
        skab.evaluate(tmp_path, tmp_path / "out")
    text = (tmp_path / "data" / "valve" / "7.csv").read_text()
    for time, fault in (("noon", r"valve/7.csv: column datetime: .*noon"), ("", "datetime: row 8 has no time")):
        (tmp_path / "data" / "valve" / "7.csv").write_text(text.replace("2020-03-09 10:14:40", time))
        with pytest.raises(DataError, match=fault):
            skab.evaluate(tmp_path / "data", tmp_path / "out")


@pytest.mark.realdata
def test_the_pump_rig_is_judged_better_than_any_published_detector(tmp_path: Path) -> None:
    if not DATA.is_dir():
        pytest.skip("the data set skab is not at hand")
    verdicts = skab.evaluate(DATA, tmp_path)
    assert verdicts.f1 is not None
    assert verdicts.f1 >= 0.85
    assert verdicts.false_alarm_percent is not None
    assert verdicts.false_alarm_percent <= 5
    assert verdicts.missed_percent is not None
    assert verdicts.missed_percent <= 23


@pytest.mark.realdata
def test_a_healthy_rig_is_in_alarm_for_a_fifth_of_the_time_at_most_though_it_drifts() -> None:
    path = DATA / "anomaly-free" / "anomaly-free.csv"
    if not path.is_file():
        pytest.skip("the data set skab is not at hand")
    values = read_table(path, separator=";", time_column="datetime").values
    pieces = [values[at : at + 1150] for at in range(0, len(values) - 1150, 230)]
    assert np.mean([skab.detect(piece)[skab.TRAINING_ROWS :].mean() for piece in pieces]) < 0.2
