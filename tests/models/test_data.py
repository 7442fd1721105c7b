"""Recorded data become the frames that the edge agent would have made of them."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.core.align import Align, Grid
from models.training.data import Data, DataSection, read_data
from models.training.data.grid import Readings, align
from models.training.table import DataError

SECOND = 10**9


def _read(path: Path, text: str, **section: object) -> Data:
    path.write_text(text)
    return read_data([path], DataSection.model_validate(section))


def _times(count: int, step_s: float = 1.0, start: str = "2026-01-01T00:00:00") -> list[str]:
    begin = np.datetime64(start, "ms")
    return [f"{begin + np.timedelta64(round(at * step_s * 1000), 'ms')}" for at in range(count)]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40_000), st.floats(-5, 5)), min_size=1, max_size=40),
    st.sampled_from([0.0, 1.0, 3.0]),
)
def test_frames_are_those_of_the_edge_agents_alignment(readings: list[tuple[int, int, float]], hold_s: float) -> None:
    readings = sorted(readings, key=lambda each: each[1])
    channel = np.array([each[0] for each in readings], np.intp)
    time_ns = np.array([each[1] for each in readings], np.int64) * 10**6
    value = np.array([each[2] for each in readings])
    found: dict[int, list[float]] = {}
    for stretch in align(Readings(channel, time_ns, value), [hold_s] * 3, 1.0):
        there = np.isfinite(stretch.values).any(1)
        found |= dict(zip(stretch.time_ns[there].tolist(), stretch.values[there].tolist(), strict=True))

    one = np.array([1])
    grid = Grid(one * SECOND, one * 0, one * SECOND, one * int(hold_s))
    stage = Align()
    stage.grow(3, 1)
    expected: dict[int, list[float]] = {}
    _, frames = stage.step(grid, channel, np.zeros(len(channel), np.intp), time_ns, value)
    for _ in range(2):
        rows = frames.lookup(np.tile(np.arange(3), (len(frames.asset), 1)))
        expected |= dict(zip(frames.time_ns.tolist(), rows.tolist(), strict=True))
        frames = stage.tick(grid, stage.listened_ns + 1000 * SECOND)
    last = -(-int(time_ns[-1]) // SECOND) * SECOND  # what holds behind the last reading is no data to learn from
    expected = {at: row for at, row in expected.items() if at <= last}
    assert found.keys() == expected.keys()
    for at, row in expected.items():
        np.testing.assert_array_equal(found[at], row)


def test_csv_and_parquet_give_the_same_runs(tmp_path: Path) -> None:
    pl = pytest.importorskip("polars")
    values = np.round(np.random.default_rng(0).normal(size=(50, 2)), 4)
    lines = [f"{time},{a},{b}" for time, (a, b) in zip(_times(50), values, strict=True)]
    from_csv = _read(tmp_path / "x.csv", "\n".join(["time,a,b", *lines]))
    frame = pl.DataFrame({"time": _times(50), "a": values[:, 0], "b": values[:, 1]})
    frame.with_columns(pl.col("time").str.to_datetime(time_unit="ns")).write_parquet(tmp_path / "x.parquet")
    from_parquet = read_data([tmp_path / "x.parquet"], DataSection())
    assert from_csv.channels == from_parquet.channels
    for one, other in zip(from_csv.runs, from_parquet.runs, strict=True):
        np.testing.assert_array_equal(one.values, other.values)
        np.testing.assert_array_equal(one.time_ns, other.time_ns)
    np.testing.assert_array_equal(from_csv.runs[0].values, values)
    assert from_csv.sample_period_s == 1.0


def test_rows_that_are_readings_are_put_beside_each_other(tmp_path: Path) -> None:
    lines = [f"{time}Z,north,pump-1,{channel},{at + offset},{at + offset + 0.5},0" for at, time in enumerate(_times(30))
             for channel, offset in (("flow", 0), ("heat", 100))]  # fmt: skip
    header = "time,site,asset,channel,value,denoised,quality"
    data = _read(tmp_path / "x.csv", "\n".join([header, *lines]))
    assert [channel.name for channel in data.channels] == ["flow", "heat"]
    assert data.units == ("pump-1",)
    np.testing.assert_array_equal(data.runs[0].values[:, 0], np.arange(30) + 0.5)
    raw = read_data([tmp_path / "x.csv"], DataSection(field="value", columns=("heat",)))
    np.testing.assert_array_equal(raw.runs[0].values[:, 0], np.arange(30) + 100)


def test_readings_that_no_live_model_sees_are_left_out_and_counted(tmp_path: Path) -> None:
    quality = {3: 0x81, 5: 0x42}  # bad: range; uncertain: late
    lines = [f"{time}Z,pump-1,flow,{at},{quality.get(at, 0)}" for at, time in enumerate(_times(30))]
    data = _read(tmp_path / "x.csv", "\n".join(["time,asset,channel,value,quality", *lines]))
    assert data.runs[0].values[3, 0] == 2
    assert data.runs[0].values[5, 0] == 4
    assert any("2 readings of bad quality" in note for note in data.notes)


def test_runs_are_cut_where_values_are_missing_for_longer_than_they_hold(tmp_path: Path) -> None:
    lines = [f"{time},{at},{'' if 20 <= at < 40 else at}" for at, time in enumerate(_times(60))]
    data = _read(tmp_path / "x.csv", "\n".join(["time,a,b", *lines]), hold_s=5)
    assert [len(run) for run in data.runs] == [25, 20]
    assert any("1 gaps" in note and "15 frames" in note for note in data.notes)


def test_without_times_rows_are_frames_and_missing_values_cut_runs(tmp_path: Path) -> None:
    text = "a,b\n1,1\n2,2\n3,\n4,4\n"
    data = _read(tmp_path / "x.csv", text, sample_period_s=2)
    assert [run.values.tolist() for run in data.runs] == [[[1, 1], [2, 2]], [[4, 4]]]
    assert data.runs[1].time_ns.tolist() == [6 * SECOND]
    assert "no times: each row counts as 2 s" in data.notes


def test_units_settings_labels_and_targets_are_told_apart(tmp_path: Path) -> None:
    text = "unit,load,wrong,s1,quality\n" + "".join(f"{u},{at},0,{at * 2},{50 + at}\n" for u in "ba" for at in range(3))
    section = {"unit_column": "unit", "settings": ["load"], "label_column": "wrong", "target_column": "quality"}
    data = _read(tmp_path / "x.csv", text, **section)
    assert (data.units, data.settings) == (("b", "a"), 1)
    assert [channel.name for channel in data.channels] == ["load", "s1"]
    for run in data.runs:
        assert run.label is not None
        assert run.target is not None
        assert run.label.tolist() == [0, 0, 0]
        assert run.target.tolist() == [50, 51, 52]


def test_the_turbofan_layout_needs_no_header_and_a_cycle_is_an_hour(tmp_path: Path) -> None:
    rest = " ".join(["7"] * 24)
    data = _read(tmp_path / "train.txt", f"1 1 {rest}\n1 2 {rest}\n2 1 {rest}\n", layout="cmapss")
    assert [len(run) for run in data.runs] == [2, 1]
    assert (data.sample_period_s, data.settings) == (3600.0, 3)


@pytest.mark.parametrize(
    ("section", "names"),
    [
        ({}, ["setting1", "setting2", "setting3", "cycle", *(f"s{n}" for n in range(1, 22))]),
        ({"exclude": ["cycle", *(f"s{n}" for n in range(2, 22))]}, ["setting1", "setting2", "setting3", "s1"]),
        ({"columns": ["s1", "cycle"]}, ["setting1", "setting2", "setting3", "s1", "cycle"]),
        ({"columns": ["s1"]}, ["setting1", "setting2", "setting3", "s1"]),
    ],
)
def test_the_cycle_is_the_age_of_a_turbofan_unless_left_out(
    tmp_path: Path, section: dict[str, object], names: list[str]
) -> None:
    rest = " ".join(["7"] * 24)
    data = _read(tmp_path / "train.txt", f"1 5 {rest}\n1 6 {rest}\n", layout="cmapss", **section)
    assert [channel.name for channel in data.channels] == names
    if "cycle" in names:
        assert data.runs[0].values[:, names.index("cycle")].tolist() == [5, 6]


def test_a_time_that_counts_is_an_input_where_it_is_named_as_one(tmp_path: Path) -> None:
    text = "age,a\n3,1\n4,2\n"
    section: dict[str, object] = {"time_column": "age", "time_unit": "h"}
    assert [channel.name for channel in _read(tmp_path / "x.csv", text, **section).channels] == ["a"]
    data = _read(tmp_path / "x.csv", text, columns=["age", "a"], **section)
    assert data.runs[0].values.tolist() == [[3, 1], [4, 2]]
    assert _read(tmp_path / "x.csv", "time,a\n1,1\n2,2\n", columns=["time"]).runs[0].values.tolist() == [[1], [2]]
    assert _read(tmp_path / "x.csv", "time,a\n1,1\n2,2\n", exclude=["time"]).runs[0].values.tolist() == [[1], [2]]
    with pytest.raises(DataError, match=r"column time: '2026-01-01'; a finite number is needed"):
        _read(tmp_path / "x.csv", "time,a\n2026-01-01,1\n", columns=["time", "a"])


def _wide(step_s: float = 1.0, rows: int = 30) -> str:
    return "\n".join(["time,a,b", *(f"{time},{at},{at}" for at, time in enumerate(_times(rows, step_s)))])


SLOW = "\n".join(["time,a,b", *(f"{time},{at},{at if at % 20 == 0 else ''}" for at, time in enumerate(_times(100)))])


@pytest.mark.parametrize(
    ("text", "section", "fault"),
    [
        (_wide(), {"exclude": ["c"]}, "no column 'c'; there are time, a, b"),
        (_wide(), {"columns": ["c"]}, "no column 'c'"),
        (_wide(), {"units": {"c": "bar"}}, "'c' is no input; there are a, b"),
        (_wide(), {"unit_column": "c"}, "no column 'c'"),
        (_wide(), {"label_column": "b"}, r"line 4, column b: 2; a label is 0 or 1"),
        ("time,a\n1,1\n2,2\n", {}, "column 'time' holds numbers, and would be an input of the model: say time_column"),
        (_wide(5), {"sample_period_s": 1}, "rows come every 5 s: sample_period_s = 5"),
        (_wide(0.1), {"sample_period_s": 1}, "sample_period_s = 0.1, or thin = true"),
        (SLOW, {}, "channel b comes every 20 s, but hold_s lets a value stand for 5 s: hold_s = 20"),
        ("time,a\n2026-01-01,1\n2025-01-01,2\n", {}, "line 3, column time: earlier than the row before"),
        ("time,a\n2026-01-01,1\nx,2\n", {}, "line 3, column time: 'x' is no time; ISO 8601 is needed"),
        ("t,a\n1,1\n2,2\n", {"time_column": "t"}, "give time_unit if it counts"),
        ("time,a\n2026-01-01,1\n2026-01-02,inf\n", {}, "line 3, column a: infinite"),
        ("time,a\n2026-01-01,1\n2026-01-02,1e300\n", {}, "line 3, column a: 1e\\+300 is more than float32 holds"),
        ("a,b\n1,\n,2\n", {}, "no frame in which every channel has a value"),
        ("time,asset,channel,value\n2026-01-01,p,flow,1\n", {"columns": ["heat"]}, "no channel 'heat'; there are flow"),
        ("time,asset,channel,value\n2026-01-01,p,flow,1\n", {"time_column": "time"}, "time_column cannot be given"),
        ('a,b\n1,"2,5"\n', {}, "line 2, column b: '2,5' has a comma where a number has a point"),
        ("day,a\n31.01.2026 08:00:00,1\n", {}, "line 2, column day: .* is not ISO 8601, such as .*exclude"),
        ("a,day\n1,2026-01-31\n", {}, "line 2, column day: .* is a time: time_column = 'day' says so"),
        ("a,day\n1,\n2,2026-01-31\n", {}, "line 3, column day: .* is a time: time_column = 'day' says so"),
    ],
)
def test_what_the_data_contradict_is_named_with_its_place_and_cure(
    tmp_path: Path, text: str, section: dict[str, object], fault: str
) -> None:
    with pytest.raises(DataError, match=fault):
        _read(tmp_path / "x.csv", text, **section)


def test_faster_rows_may_be_thinned_to_the_last_of_each_period(tmp_path: Path) -> None:
    data = _read(tmp_path / "x.csv", _wide(0.1, 31), sample_period_s=1, thin=True)
    assert data.runs[0].values[:, 0].tolist() == [0, 10, 20, 30]


def test_files_of_unlike_channels_are_refused(tmp_path: Path) -> None:
    for name, header in (("x.csv", "a,b"), ("y.csv", "a,c")):
        (tmp_path / name).write_text(f"{header}\n1,2\n")
    with pytest.raises(DataError, match=r"y.csv: channels a, c, but .*x.csv has a, b"):
        read_data([tmp_path / "x.csv", tmp_path / "y.csv"], DataSection())


def test_no_parquet_is_said_in_one_line(tmp_path: Path) -> None:
    pytest.importorskip("polars")
    (tmp_path / "x.parquet").write_text("a,b\n")
    with pytest.raises(DataError, match=r"x.parquet: no Parquet"):
        read_data([tmp_path / "x.parquet"], DataSection())


def test_columns_of_words_are_no_inputs_and_it_is_said(tmp_path: Path) -> None:
    data = _read(tmp_path / "x.csv", "time,operator,a\n2026-01-01T00:00:00,Eve,1\n2026-01-01T00:00:01,Ann,2\n")
    assert [channel.name for channel in data.channels] == ["a"]
    assert data.notes == ("columns without numbers: operator",)


def test_versions_addresses_and_lots_are_words_and_no_dates(tmp_path: Path) -> None:
    data = _read(tmp_path / "x.csv", "firmware,host,lot,a\n1.2.3,10.0.0.10,12-7-345,1\n1.2.3,10.0.0.11,12-7-346,2\n")
    assert data.notes[1:] == ("columns without numbers: firmware, host, lot",)
