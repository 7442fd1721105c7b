"""Tables: what is read, and how faults are named."""

from pathlib import Path

import numpy as np
import pytest

from models.training.table import DataError, read_table

TEXT = "time;flow;note;load;anomaly\nt0;1.5;a;2;0\nt1;1e1;b;-3;1\n"


def _file(folder: Path, text: str) -> Path:
    path = folder / "data.csv"
    path.write_text(text)
    return path


def test_every_numeric_column_but_the_excluded_is_read(tmp_path: Path) -> None:
    table = read_table(_file(tmp_path, TEXT), separator=";", time_column="time", exclude=["anomaly"])
    assert table.columns == ("flow", "load")
    assert table.times == ("t0", "t1")
    np.testing.assert_array_equal(table.values, [[1.5, 2], [10, -3]])


def test_named_columns_come_in_the_order_asked_for(tmp_path: Path) -> None:
    table = read_table(_file(tmp_path, TEXT), separator=";", columns=["load", "flow"])
    np.testing.assert_array_equal(table.values, [[2, 1.5], [-3, 10]])


def test_a_blank_separates_by_any_run_of_blanks(tmp_path: Path) -> None:
    table = read_table(_file(tmp_path, "1  2 \n\n3 4\n"), separator=" ", header=["a", "b"])
    np.testing.assert_array_equal(table.values, [[1, 2], [3, 4]])


@pytest.mark.parametrize("bad", ["nan", "", "inf", "x"])
def test_a_value_that_is_no_finite_number_is_refused_with_its_place(tmp_path: Path, bad: str) -> None:
    with pytest.raises(DataError, match=r"line 3, column b: .* finite number"):
        read_table(_file(tmp_path, f"a,b\n1,2\n3,{bad}\n"), columns=["a", "b"])


@pytest.mark.parametrize(
    ("text", "options", "fault"),
    [
        ("", {}, "empty"),
        ("a,b\n", {}, "no rows"),
        ("a,b\n1\n", {}, "line 2: 1 values for 2 columns"),
        ("a,a\n1,2\n", {}, "stands twice"),
        ("a,b\n1,2\n", {"columns": ["c"]}, "no column 'c'; there are a, b"),
        ("a,b\n1,2\n", {"time_column": "t"}, "no column 't'"),
        ("a,b\nx,y\n", {}, "no numeric column"),
        ("a,b\n1,2\n", {"separator": "::"}, "one character"),
    ],
)
def test_each_fault_of_a_file_is_named(tmp_path: Path, text: str, options: dict[str, str], fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        read_table(_file(tmp_path, text), **options)


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_table(tmp_path / "none.csv")
    path = tmp_path / "binary"
    path.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(DataError, match="no text table"):
        read_table(path)


def test_a_word_in_a_column_of_numbers_is_a_fault_and_does_not_hide_the_column(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 2, column b: 'N/A'; a finite number is needed: .*exclude"):
        read_table(_file(tmp_path, "a,b\n1,N/A\n2,3\n3,4\n4,5\n"))


@pytest.mark.parametrize(("name", "separator"), [("semicolon", ";"), ("tab", "\t"), ("space", " "), ("comma", ",")])
def test_a_separator_has_a_name_too(tmp_path: Path, name: str, separator: str) -> None:
    assert read_table(_file(tmp_path, f"a{separator}b\n1{separator}2\n"), separator=name).columns == ("a", "b")
