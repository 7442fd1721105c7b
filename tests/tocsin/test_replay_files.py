"""Files in and out: a Parquet file states what the same CSV states, results are the same in each format."""

import csv
import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.core.intake import Message
from models.contract.batch import Alarm, Batch, Inferences, Readings, pack
from tocsin.errors import UserError
from tocsin.plant.messages import Row
from tocsin.plant.table import Layout, read_table
from tocsin.replaying.outputs import check_place, open_output
from tocsin.replaying.parquet import read_parquet
from tocsin.replaying.rows import read_messages

SECOND = 1_000_000_000
T0 = 1_700_000_000 * SECOND
NOON = datetime(2024, 1, 31, 12, tzinfo=UTC)


def read(path: Path, layout: Layout = Layout()) -> list[Row]:  # noqa: B008 - a constant
    return [row for rows in read_parquet(path, layout, lambda _done, _total: None) for row in rows]


def written(folder: Path, columns: dict[str, object]) -> Path:
    path = folder / "in.parquet"
    pl.DataFrame(columns).write_parquet(path)
    return path


def test_types_tell_what_columns_mean(tmp_path: Path) -> None:
    columns: dict[str, object] = {
        "when": pl.Series([NOON, NOON]).cast(pl.Datetime("ms", "Europe/Oslo")),
        "unit": pl.Series([7, 8], dtype=pl.Int32),
        "Volume Flow": [1.5, None],
        "open": [True, False],
        "steps": pl.Series([3, 4], dtype=pl.UInt16),
        "note": ["a", "b"],
        "hole": [float("nan"), float("inf")],
    }
    layout = Layout(asset_column="unit", asset_prefix="pump-", exclude=("steps",))
    at = int(NOON.timestamp()) * SECOND
    assert read(written(tmp_path, columns), layout) == [
        Row("pump-7", "Volume Flow", at, 1.5),
        Row("pump-7", "open", at, 1.0),
        Row("pump-8", "open", at, 0.0),
    ]


@pytest.mark.parametrize(
    ("times", "layout", "expected"),
    [
        (pl.Series([NOON.replace(tzinfo=None)]).cast(pl.Datetime("us")), Layout(), int(NOON.timestamp()) * SECOND),
        (pl.Series([NOON.date()]), Layout(), int(NOON.timestamp()) * SECOND - 43_200 * SECOND),
        (pl.Series([T0 + 1]).cast(pl.Datetime("ns")), Layout(), T0 + 1),
        (pl.Series(["2024-01-31T13:00:00+01:00"]), Layout(), int(NOON.timestamp()) * SECOND),
        (pl.Series([T0 // SECOND]), Layout(time_unit="s"), T0),
        (pl.Series([2.5]), Layout(time_unit="h", start_ns=T0), T0 + 9000 * SECOND),
        (pl.Series(["2.5"]), Layout(time_unit="h", start_ns=T0), T0 + 9000 * SECOND),
    ],
)
def test_times_may_be_typed_text_or_numbers(tmp_path: Path, times: pl.Series, layout: Layout, expected: int) -> None:
    assert read(written(tmp_path, {"t": times, "a": [1.0]}), layout) == [Row("replay", "a", expected, 1.0)]


@given(st.lists(st.tuples(st.integers(0, 2**50), st.none() | st.floats(allow_nan=False)), max_size=20))
@settings(deadline=None, max_examples=25)
def test_a_parquet_file_gives_the_readings_of_the_same_csv(
    tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[int, float | None]]
) -> None:
    layout = Layout(time_unit="us", start_ns=T0)
    table = pl.DataFrame({"t": [0, *(t for t, _ in cells)], "a": [1.0, *(v for _, v in cells)]})
    path = tmp_path_factory.mktemp("same") / "in.parquet"
    table.write_parquet(path)
    lines = ["t,a\n", *(f"{t},{'' if v is None else repr(v)}\n" for t, v in table.rows())]
    assert read(path, layout) == [row for rows in read_table(lines, layout, "csv") for row in rows]


def test_rows_come_in_chunks_and_are_counted(tmp_path: Path) -> None:
    n, done = 40_000, []
    path = written(tmp_path, {"t": range(n), "a": np.arange(n) / 2})
    found = list(read_parquet(path, Layout(time_unit="s"), lambda *progress: done.append(progress)))
    assert [rows[0].value for rows in found] == (np.arange(n) / 2).tolist()
    assert len(done) > 2
    assert done[-1] == (n, n)


@pytest.mark.parametrize(
    ("columns", "layout", "words"),
    [
        ({"t": [1], "a": [1.0]}, Layout(), "column 't' is of type Int64, which is no time: give --time-unit"),
        ({"t": [[1]], "a": [1.0]}, Layout(), "which is no time: name another with --time-column"),
        ({"t": [1], "a": ["x"]}, Layout(time_unit="s"), "no channel is left"),
        ({"t": [1], "a": ["x"]}, Layout(time_unit="s", channels=("a",)), "column 'a' is of type String (allowed: num"),
        ({"t": [1], "a": [1.0]}, Layout(time_column="when"), "there is no column 'when' (allowed: t, a)"),
        ({"t": [1, None], "a": [1.0, 2.0]}, Layout(time_unit="s"), "row 2, column 't': nothing is no time"),
        ({"t": ["noon"], "a": [1.0]}, Layout(), "row 1, column 't': 'noon' is no time (allowed: ISO 8601"),
        ({"t": [2**62], "a": [1.0]}, Layout(time_unit="d"), "row 1, column 't': 4611686018427387904 is no time"),
        ({"t": [1], "a": [1.0], "b": [None]}, Layout(time_unit="s", asset_column="b"), "row 1, column 'b': '' is no"),
        ({}, Layout(), "holds no columns"),
    ],
)
def test_a_fault_names_file_column_and_cure(
    tmp_path: Path, columns: dict[str, object], layout: Layout, words: str
) -> None:
    path = written(tmp_path, columns)
    with pytest.raises(UserError, match=re.escape(str(path)) + ".*" + re.escape(words)):
        read(path, layout)


@given(st.floats(0, 0.999))
@settings(deadline=None, max_examples=25)
def test_a_parquet_file_that_was_cut_is_named(tmp_path_factory: pytest.TempPathFactory, share: float) -> None:
    path = written(tmp_path_factory.mktemp("cut"), {"t": range(50), "a": np.arange(50.0)})
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=re.escape(f"{path}: cannot be read as Parquet")):
        read(path, Layout(time_unit="s"))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("in.csv", b"", "the file is empty (allowed: a header"),
        ("in.csv", b"t,a\n", "holds no readings"),
        ("in.csv", b"t,a\n1,\n", "holds no readings"),
        ("in.csv", b"t,a\n1,2\n2,\xff\n", "allowed: UTF-8"),
        ("in.csv", b"PAR1\xff\xfe\x00", "a Parquet file's name ends in .parquet"),
        ("in.parquet", b"t,a\n1,2\n", "cannot be read as Parquet"),
        ("in.parquet", b"", "cannot be read as Parquet"),
    ],
)
def test_a_file_that_says_nothing_is_named(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=re.escape(str(path)) + ".*" + re.escape(words)):
        messages(path)


def messages(path: Path, topic: str = "f/{asset}") -> list[Message]:
    return list(read_messages(path, Layout(time_unit="s"), topic, lambda _done, _total: None))


def test_progress_of_a_csv_is_in_bytes_and_ends_at_its_size(tmp_path: Path) -> None:
    path, done = tmp_path / "in.csv", []
    path.write_text("t,a\n" + "".join(f"{i},{i}\n" for i in range(20_000)))
    found = list(read_messages(path, Layout(time_unit="s"), "f/{asset}", lambda *progress: done.append(progress)))
    assert len(found) == 20_000
    assert done == sorted(done)
    assert len(done) > 10
    assert done[-1] == (path.stat().st_size, path.stat().st_size)


def test_times_that_do_not_ascend_are_taken_as_they_come(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("\ufefft,a\n3,1\n1,2\n2,3\n", encoding="utf-8")
    assert [message.arrival_ns for message in messages(path)] == [3 * SECOND, SECOND, 2 * SECOND]


def results(seconds: int) -> Batch:
    """Of one second."""
    at = T0 + seconds * SECOND
    return Batch(
        site="lab",
        gateway="gw1",
        epoch="replay",
        seq=1,
        readings=Readings(
            series=[("pump 1", "t")],
            index=pack([0, 0], "<i4"),
            time_ns=pack([at, at + 1], "<i8"),
            value=pack([0.1, 99.0]),
            denoised=pack([0.25, np.nan]),
            quality=pack([0, 0x81], "u1"),
        ),
        inferences=Inferences(
            series=[("pump 1", "m", "2")],
            index=pack([0], "<i4"),
            time_ns=pack([at], "<i8"),
            fields={"anomaly_score": pack([1.5])},
        ),
        alarms=[Alarm(asset="pump 1", code="m", time_ns=at, is_open=True, severity=0.5, id="i", message='a "b"')],
    )


LONG = [
    ("reading", 0, "t", "value", 0.1),
    ("reading", 1, "t", "value", 99.0),
    ("reading", 0, "t", "denoised", 0.25),
    ("reading", 1, "t", "denoised", None),
    ("reading", 0, "t", "quality", 0.0),
    ("reading", 1, "t", "quality", 129.0),
    ("inference", 0, "m", "anomaly_score", 1.5),
    ("alarm", 0, "m", "is_open", 1.0),
]


def write(path: Path, *batches: Batch) -> None:
    with open_output(path) as add:
        for batch in batches:
            add(batch)


def test_csv_and_parquet_hold_a_row_a_value(tmp_path: Path) -> None:
    for name in ("out.csv", "out.parquet"):
        write(tmp_path / name, results(0), results(7))
    expected = [
        (measurement, T0 + s * SECOND + ns, "pump 1", name, field, value)
        for s in (0, 7)
        for measurement, ns, name, field, value in LONG
    ]
    table = pl.read_parquet(tmp_path / "out.parquet")
    assert table.schema["time"] == pl.Datetime("ns", "UTC")
    assert table.with_columns(pl.col("time").dt.epoch("ns")).rows() == expected
    with (tmp_path / "out.csv").open(newline="") as file:
        lines = list(csv.reader(file))
    assert lines[0] == ["measurement", "time_ns", "asset", "name", "field", "value"]
    assert lines[1:] == [[m, str(t), a, n, f, "nan" if v is None else repr(v)] for m, t, a, n, f, v in expected]


def test_line_protocol_is_that_of_the_aggregator(tmp_path: Path) -> None:
    write(tmp_path / "out.lp", results(0))
    assert (tmp_path / "out.lp").read_text().splitlines() == [
        rf"reading,site=lab,asset=pump\ 1,channel=t value=0.1,denoised=0.25,quality=0.0 {T0}",
        rf"reading,site=lab,asset=pump\ 1,channel=t value=99.0,quality=129.0 {T0 + 1}",
        rf"inference,site=lab,asset=pump\ 1,model=m,version=2 anomaly_score=1.5 {T0}",
        rf'alarm,site=lab,asset=pump\ 1,code=m is_open=1.0,severity=0.5,id="i",message="a \"b\"" {T0}',
    ]


def test_rows_that_the_aggregator_would_refuse_are_named(tmp_path: Path) -> None:
    batch = results(0)
    batch.readings.series = [("pump\n1", "t")]
    with pytest.raises(
        UserError, match=r"(?s)refuse 2 of these rows, such as reading,.* a character that line protocol"
    ):
        write(tmp_path / "out.lp", batch)


@pytest.mark.parametrize("name", ["out.csv", "out.parquet", "out.lp"])
def test_no_results_are_a_file_without_rows_and_a_broken_run_leaves_nothing(tmp_path: Path, name: str) -> None:
    def broken() -> None:
        with open_output(tmp_path / name) as add:
            add(results(0))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        broken()
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    if name == "out.parquet":
        assert pl.read_parquet(tmp_path / name).shape == (0, 6)


def test_another_suffix_and_a_missing_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--out x\.txt: the suffix names the format \(allowed: \.csv, \.lp\)"):
        check_place("--out", Path("x.txt"), (".csv", ".lp"))
    with pytest.raises(UserError, match=r"--out .*: there is no folder .*no"):
        check_place("--out", tmp_path / "no" / "out.csv", (".csv",))
