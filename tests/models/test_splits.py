"""Parts of data: no row in two of them, a gap between them, whole machines where asked."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.training.data.frames import Run
from models.training.splits import Parts, SplitSection, split_by_time, split_by_unit
from models.training.table import DataError


def _runs(lengths: list[tuple[str, int]]) -> list[Run]:
    """Runs whose values are numbers that occur once."""
    runs, begin = [], 0
    for unit, rows in lengths:
        at = np.arange(begin, begin + rows)
        runs.append(Run(unit, at * 10**9, at[:, None].astype(np.float64)))
        begin += rows
    return runs


def _rows(runs: tuple[Run, ...]) -> list[float]:
    return [value for run in runs for value in run.values[:, 0].tolist()]


LENGTHS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 60)), min_size=1, max_size=6)


@settings(max_examples=100, deadline=None)
@given(LENGTHS, st.floats(0, 0.45), st.floats(0, 0.45), st.integers(0, 12))
def test_parts_by_time_share_no_row_keep_their_order_and_a_gap(
    lengths: list[tuple[str, int]], calibrate: float, test: float, gap: int
) -> None:
    runs = _runs(sorted(lengths))
    try:
        parts = split_by_time(runs, SplitSection(calibrate=calibrate, test=test), gap=gap)
    except DataError:
        return
    fit, settle, judge = (set(_rows(part)) for part in parts[:3])
    assert not fit & settle
    assert not fit & judge
    assert not settle & judge
    for unit in "abc":
        mine = [[v for run in part if run.unit == unit for v in run.values[:, 0]] for part in parts[:3]]
        ends = [(min(rows), max(rows)) for rows in mine if rows]
        for (_, high), (low, _) in pairwise(ends):
            assert low - high > gap


def test_all_rows_after_the_first_ones_judge() -> None:
    parts = split_by_time(_runs([("a", 1000)]), SplitSection(calibrate=0.25), gap=10, rows=400)
    assert [len(_rows(part)) for part in parts[:3]] == [300, 90, 590]
    assert "300 rows to learn from, 90 to settle the limit, 590 to judge" in parts.says


def test_a_unit_is_never_in_two_parts_and_the_seed_says_where() -> None:
    runs = _runs([(f"u{at % 10}", 5) for at in range(20)])

    def drawn(seed: int) -> Parts:
        return split_by_unit(runs, SplitSection(calibrate=0.2, test=0.3), seed=seed)

    parts = drawn(1)
    units = [{run.unit for run in part} for part in parts[:3]]
    assert [len(each) for each in units] == [5, 2, 3]
    assert len(set.union(*units)) == 10
    assert [{run.unit for run in part} for part in drawn(1)[:3]] == units
    assert any([{run.unit for run in part} for part in drawn(seed)[:3]] != units for seed in range(2, 6))


def test_too_few_units_or_rows_are_refused_with_the_cure() -> None:
    with pytest.raises(DataError, match="2 machines are too few to learn from some"):
        split_by_unit(_runs([("a", 5), ("b", 5)]), SplitSection(), seed=0)
    with pytest.raises(DataError, match="leaves no row to learn from"):
        split_by_time(_runs([("a", 1)]), SplitSection(calibrate=0.6, test=0.2), gap=0)


def test_machines_that_are_named_judge_and_no_other() -> None:
    runs = _runs([(unit, 5) for unit in "abcdef"])
    parts = split_by_unit(runs, SplitSection(judges=("b", "e"), calibrate=0.0), seed=3)
    assert [run.unit for run in parts.test] == ["b", "e"]
    assert [run.unit for run in parts.fit] == ["a", "c", "d", "f"]
    assert "by unit, named; 2 judge (b, e)" in parts.says
    with pytest.raises(DataError, match="no machine 'x'; there are a, b"):
        split_by_unit(runs, SplitSection(judges=("x",)), seed=3)
    with pytest.raises(DataError, match=r"split\.judges names 6 of 6 machines"):
        split_by_unit(runs, SplitSection(judges=tuple("abcdef"), calibrate=0.0), seed=3)
    with pytest.raises(ValueError, match="by = 'unit' is allowed"):
        SplitSection(by="time", judges=("a",))
