"""Runs to failure read from tables."""

from pathlib import Path

import numpy as np
import pytest

from models.training.failure.fleet import Layout, read_fleet
from models.training.table import DataError


def _file(folder: Path, text: str) -> Path:
    path = folder / "data.txt"
    path.write_text(text)
    return path


def test_a_turbofan_file_is_split_by_unit_and_the_cycle_stands_after_the_settings(tmp_path: Path) -> None:
    rest = " ".join(map(str, range(10, 34)))
    fleet = read_fleet(_file(tmp_path, f"2 1 {rest}\n1 1 {rest}\n1 2 {rest}\n"))
    assert fleet.numbers == (1, 2)
    assert fleet.settings == 3
    assert fleet.channels[:5] == ("setting1", "setting2", "setting3", "cycle", "s1")
    np.testing.assert_array_equal(fleet.units[0][:, :5], [[10, 11, 12, 1, 13], [10, 11, 12, 2, 13]])
    assert fleet.units[1].shape == (1, 25)


def test_any_table_with_a_unit_and_a_time_is_a_fleet(tmp_path: Path) -> None:
    layout = Layout(unit="bearing", time="hours", settings=("load",), separator=";")
    fleet = read_fleet(_file(tmp_path, "hours;rms;bearing;load\n0;.1;7;5\n8;.2;7;5\n"), layout)
    assert fleet.channels == ("load", "hours", "rms")
    np.testing.assert_array_equal(fleet.units[0], [[5, 0, 0.1], [5, 8, 0.2]])


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("unit,t,s\n1,1,0\n1,3,0\n1,4,0\n", "unit 1: t must rise by the same step"),
        ("unit,t,s\n1,1,0\n1,1,0\n", "unit 1: t must rise by the same step"),
        ("unit,t,s\n4,2,0\n4,1,0\n", "unit 4: t must rise by the same step"),
        ("unit,time,s\n4,2,0\n", "no column 't'; there are unit, time, s"),
    ],
)
def test_a_fleet_without_order_is_refused(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        read_fleet(_file(tmp_path, text), Layout("unit", "t"))
