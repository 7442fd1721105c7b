"""The Numenta benchmark: its scores against cases worked out by hand, and the command on a small set of series."""

import csv
import json
import math
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from models.cli import app
from models.evaluation import nab
from models.evaluation.nab_score import PROFILES, Floats, best, label
from models.training.table import DataError

DATA = Path(__file__).parents[3] / "shared" / "data" / "nab"
START = datetime(2014, 4, 1)  # noqa: DTZ001 - as the files have it
STANDARD, LOW_FP, LOW_FN = PROFILES.values()


def sigmoid(away: float) -> float:
    return 2 / (1 + math.exp(5 * away)) - 1


def scores(rows: int, **alarms: float) -> Floats:
    """0 but at `at<row>=score`."""
    found = np.zeros(rows)
    for name, value in alarms.items():
        found[int(name.removeprefix("at"))] = value
    return found


def write(folder: Path, name: str, values: Floats, windows: list[tuple[int, int]] | None = None) -> None:
    """A series of a value every 5 minutes, and its windows beside those of the others."""
    times = [str(START + timedelta(minutes=5 * row)) for row in range(len(values))]
    path = folder / "data" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("timestamp", "value"), *zip(times, values, strict=True)])
    if windows is not None:
        labels = folder / "labels" / "combined_windows.json"
        labels.parent.mkdir(exist_ok=True)
        known = json.loads(labels.read_text()) if labels.exists() else {}
        known[name] = [[f"{times[first]}.000000", f"{times[last]}.000000"] for first, last in windows]
        labels.write_text(json.dumps(known))


def spiked(seed: int, at: int, rows: int = 600) -> Floats:
    values = np.random.default_rng(seed).normal(10, 1, rows)
    values[at : at + 5] += 20
    return values


def test_never_to_alarm_is_0_and_an_alarm_at_the_start_of_each_window_100() -> None:
    labels = label(1000, [(400, 449), (700, 749)])
    for profile in PROFILES.values():
        assert best([(labels, np.zeros(1000))], profile).score == 0
        found = best([(labels, scores(1000, at400=0.9, at700=0.8))], profile)
        assert found.score == pytest.approx(100)
        assert found.threshold == 0.8


def test_an_alarm_is_worth_the_less_the_later_it_is_in_its_window() -> None:
    labels = label(1000, [(400, 499)])
    # The last but 49 of 100 rows: half a window, or 51 of 100 rows, before its end.
    late = best([(labels, scores(1000, at449=1.0))], STANDARD)
    assert late.score == pytest.approx(100 * (sigmoid(-0.51) / sigmoid(-1) + 1) / 2)


def test_only_the_best_placed_alarm_in_a_window_counts() -> None:
    labels = label(1000, [(400, 499)])
    assert best([(labels, scores(1000, at400=1.0, at420=1.0, at490=1.0))], STANDARD).score == pytest.approx(100)


def test_each_false_alarm_costs_its_weight_and_less_just_behind_a_window() -> None:
    labels = label(1000, [(400, 499)])
    for profile, weight in ((STANDARD, 0.11), (LOW_FP, 0.22), (LOW_FN, 0.11)):
        full = 1 + profile.missed
        before = best([(labels, scores(1000, at400=1.0, at200=1.0, at300=1.0))], profile)
        assert before.score == pytest.approx(100 * (full - 2 * weight) / full)
        behind = best([(labels, scores(1000, at400=1.0, at519=1.0))], profile)
        assert behind.score == pytest.approx(100 * (full + weight * sigmoid(20 / 99)) / full)
        far = best([(labels, scores(1000, at400=1.0, at900=1.0))], profile)
        assert far.score == pytest.approx(100 * (full - weight) / full)


def test_alarms_in_the_learning_rows_neither_cost_nor_count() -> None:
    labels = label(1000, [(140, 180)])  # 150 rows are for learning
    quiet = best([(labels, scores(1000, at150=1.0))], STANDARD)
    assert best([(labels, scores(1000, at10=1.0, at145=1.0, at150=1.0))], STANDARD) == quiet
    assert label(100_000, []).counts.argmax() == 750


def test_one_threshold_serves_all_series_and_is_the_best_one() -> None:
    first, second = label(1000, [(400, 499)]), label(1000, [(600, 699)])
    noisy = scores(1000, at600=0.3, **{f"at{row}": 0.4 for row in range(200, 240)})
    found = best([(first, scores(1000, at400=0.5)), (second, noisy)], STANDARD)
    # To find the second window too would cost 40 false alarms, 4.4 of a possible 4.
    assert found.score == pytest.approx(50)
    assert found.threshold == 0.5


def test_without_any_window_there_is_no_score() -> None:
    assert best([(label(500, []), scores(500, at300=1.0))], STANDARD) == (None, None)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_the_best_score_is_that_of_trying_every_threshold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    series = [(label(200, [(60, 79), (120, 149)]), np.round(rng.random(200) ** 20, 1)) for _ in range(3)]

    def at(threshold: float) -> float:
        total = 0.0
        for labels, found in series:
            alarm = (found >= threshold) & labels.counts
            total += 0.11 * labels.worth[alarm & (labels.window < 0)].sum()
            inside = [labels.worth[alarm & (labels.window == number)] for number in (0, 1)]
            total += sum(max(worth, default=-1.0) for worth in inside)
        return 100 * (total + 6) / 12

    expected = max(at(threshold) for threshold in [*np.unique([found for _, found in series]), 2.0])
    assert best(series, STANDARD).score == pytest.approx(expected)


def test_the_command_writes_a_score_for_each_row_and_tells_the_three_profiles(tmp_path: Path) -> None:
    write(tmp_path, "pumps/one.csv", spiked(1, 450), [(430, 480)])
    write(tmp_path, "pumps/two.csv", spiked(2, 300, rows=400), [(280, 320)])
    write(tmp_path, "calm.csv", spiked(3, 5000), [])
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["evaluate", "nab", "--data", str(tmp_path), "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["series"], told["windows"]) == (3, 2)
    assert told["low_fp"] <= told["standard"] <= told["low_fn"] <= 100
    assert told["standard"] > 70
    assert set(told["thresholds"]) == set(PROFILES)
    for name, rows in (("pumps/one.csv", 600), ("pumps/two.csv", 400), ("calm.csv", 600)):
        with (out / name).open() as file:
            found = [float(row["anomaly_score"]) for row in csv.DictReader(file)]
        assert len(found) == rows
        assert all(0 <= score < 1 for score in found)


def test_series_without_labels_are_scored_row_by_row_all_the_same(tmp_path: Path) -> None:
    write(tmp_path, "one.csv", spiked(1, 450))
    result = nab.evaluate(tmp_path, tmp_path / "out")
    assert result == (1, None, None, None, None, None)
    assert (tmp_path / "out" / "one.csv").exists()


def test_an_alarm_is_where_something_begins_and_not_the_rows_after_it() -> None:
    (found,) = nab.detect([spiked(1, 450)])
    at = np.flatnonzero(found > 0.4)
    assert at[0] == 450
    assert len(at) <= 3


def test_a_series_has_the_same_scores_whichever_others_run_beside_it() -> None:
    series = [spiked(seed, 100 + seed * 50, rows=250 + seed * 37) for seed in range(4)]
    together = nab.detect(series)
    for values, found in zip(series, together, strict=True):
        np.testing.assert_array_equal(nab.detect([values])[0], found)


@settings(max_examples=8, deadline=None)
@given(cut=st.integers(1, 399), seed=st.integers(0, 99))
def test_scores_do_not_change_with_what_comes_later(cut: int, seed: int) -> None:
    whole, other = spiked(seed, 250, rows=400), spiked(seed + 1, 200, rows=300)
    np.testing.assert_array_equal(nab.detect([whole[:cut], other])[0], nab.detect([whole])[0][:cut])


def test_scores_are_of_the_values_alone_not_of_names_times_or_labels(tmp_path: Path) -> None:
    values = spiked(1, 450)
    write(tmp_path / "a", "pumps/one.csv", values, [(430, 480)])
    write(tmp_path / "b", "other.csv", values)
    path = tmp_path / "b" / "data" / "other.csv"
    path.write_text(path.read_text().replace("2014-04-0", "2031-11-0"))
    for folder in "ab":
        nab.evaluate(tmp_path / folder, tmp_path / "out")
    assert (tmp_path / "out" / "pumps" / "one.csv").read_bytes() == (tmp_path / "out" / "other.csv").read_bytes()


@pytest.mark.parametrize(("scale", "shift"), [(1000.0, 0.0), (1e-9, 0.0), (1e12, 0.0), (-1.0, 0.0), (1.0, 1000.0)])
def test_alarms_are_at_the_same_rows_whatever_the_unit_and_the_zero_of_a_series(scale: float, shift: float) -> None:
    values = spiked(1, 450)
    (one,), (other,) = nab.detect([values]), nab.detect([values * scale + shift])
    np.testing.assert_array_equal(np.flatnonzero(one > 0.4), np.flatnonzero(other > 0.4))


@pytest.mark.parametrize(
    "values",
    [
        np.array([5.0]),
        np.arange(10.0),
        np.full(600, 3.3),
        np.random.default_rng(0).poisson(2, 600).astype(float),
        np.repeat([1.0, -2.0, 1.0], 200),
        np.random.default_rng(0).normal(size=600) * 1e300,
        np.random.default_rng(0).normal(size=600) * 1e-40,
    ],
    ids=["one row", "ten rows", "constant", "counts", "steps", "too large for float32", "too small for float32"],
)
def test_any_finite_series_gets_a_score_from_0_to_1_for_each_row(values: Floats) -> None:
    (found,) = nab.detect([values])
    assert found.shape == values.shape
    assert ((found >= 0) & (found < 1)).all()


@pytest.mark.parametrize(
    ("labels", "fault"),
    [
        ("[]", "no windows of NAB"),
        ("{", "no windows of NAB"),
        ('{"one.csv": [["2014-04-01 00:00:00"]]}', "no windows of NAB"),
        ('{"one.csv": [["2013-01-01 00:00:00", "2014-04-01 00:05:00"]]}', "one.csv: .*2013-01-01.* no row"),
        ('{"one.csv": [["2014-04-01 00:10:00", "2014-04-01 00:05:00"]]}', "one.csv: .*ends before it begins"),
    ],
    ids=["no table", "cut off", "half a window", "a time that no row has", "backwards"],
)
def test_labels_that_do_not_fit_are_named(tmp_path: Path, labels: str, fault: str) -> None:
    write(tmp_path, "one.csv", spiked(1, 100, rows=200), [])
    (tmp_path / "labels" / "combined_windows.json").write_text(labels)
    with pytest.raises(DataError, match=fault):
        nab.evaluate(tmp_path, tmp_path / "out")


def test_a_folder_without_series_is_told_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the folder that holds data/ and labels/"):
        nab.evaluate(tmp_path, tmp_path / "out")


@pytest.mark.parametrize(("line", "fault"), [("2014-04-01 00:00:00,", "line 3"), ("soon,3.5", "soon")])
def test_a_row_that_is_none_is_named(tmp_path: Path, line: str, fault: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "one.csv").write_text(f"timestamp,value\n2014-04-01 00:00:00,1\n{line}\n")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "combined_windows.json").write_text('{"one.csv": []}')
    with pytest.raises(DataError, match=fault):
        nab.evaluate(tmp_path, tmp_path / "out")


@pytest.mark.realdata
def test_the_figures_on_the_real_series_are_those_reached_before(tmp_path: Path) -> None:
    if not DATA.is_dir():
        pytest.skip("the data set nab is not at hand")
    result = nab.evaluate(DATA, tmp_path)
    assert result.standard is not None
    assert result.low_fp is not None
    assert result.standard >= 74
    assert result.low_fp >= 65.5
