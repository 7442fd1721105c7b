"""The benchmark of turbofans, on a small fleet in its layout and, where it is at hand, on the real one."""

import csv
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.evaluation import cmapss
from models.training.table import DataError
from tests.models.worn_fleet import Floats, worn_fleet

REAL = Path(__file__).parents[3] / "shared" / "data" / "cmapss"
SMALL = {"window": 30, "folds": 2, "steps": 100, "hidden": 16}


def _write(path: Path, units: list[Floats]) -> None:
    """In the layout: unit, cycle, three settings, 21 sensors."""
    with path.open("w") as file:
        for number, unit in enumerate(units, 1):
            for cycle, row in enumerate(unit, 1):
                values = [row[0], 0, 100, *row[1:], *[5.0] * 17]
                file.write(" ".join([str(number), str(cycle), *(f"{value:.4f}" for value in values)]) + " \n")


def _folder(path: Path) -> NDArray[np.int64]:
    """Two subsets, the second with three regimes and without answers; the answers of the first."""
    path.mkdir()
    rng = np.random.default_rng(0)
    truth = rng.integers(10, 90, size=8)
    for subset, regimes in (("FD001", 1), ("FD002", 3)):
        _write(path / f"train_{subset}.txt", list(worn_fleet(12, 0, regimes)))
        cut = [unit[:-left] for unit, left in zip(worn_fleet(8, 1, regimes), truth, strict=True)]
        _write(path / f"test_{subset}.txt", cut)
    (path / "RUL_FD001.txt").write_text("".join(f"{left} \n" for left in truth))
    return truth


@pytest.mark.deep
def test_each_subset_gets_a_life_and_an_interval_for_each_test_unit(tmp_path: Path) -> None:
    truth = _folder(tmp_path / "data")
    told: list[tuple[int, int]] = []
    first, second = cmapss.evaluate(
        tmp_path / "data", tmp_path / "out", lambda done, of: told.append((done, of)), setting=SMALL
    )
    assert (first.subset, first.units, second.subset) == ("FD001", 8, "FD002")
    assert told[-1] == (4, 4)
    for subset in ("FD001", "FD002"):
        with (tmp_path / "out" / f"{subset}.csv").open() as file:
            rows = [[float(value) for value in row.values()] for row in csv.DictReader(file)]
        assert len(rows) == 8
        assert all(low <= rul <= high for rul, low, high in rows)
        if subset == "FD001":
            assert first.raw == pytest.approx(np.sqrt(((np.array(rows)[:, 0] - truth) ** 2).mean()), abs=1e-3)
            assert first.raw < truth.std() + 5
    assert second.raw is second.clipped is second.coverage is None


@pytest.mark.deep
def test_answers_of_another_test_file_are_refused_before_anything_is_learnt(tmp_path: Path) -> None:
    _folder(tmp_path / "data")
    (tmp_path / "data" / "RUL_FD001.txt").write_text("5\n")
    with pytest.raises(DataError, match="1 answers for 8 test units"):
        cmapss.evaluate(tmp_path / "data", tmp_path / "out", setting=SMALL)


@pytest.mark.deep
def test_a_test_unit_is_predicted_without_a_look_at_answers_or_other_test_units(tmp_path: Path) -> None:
    fleet = list(worn_fleet(8, 1))
    for name, units, answers in (
        ("whole", [unit[:60] for unit in fleet], range(8)),
        ("other", [fleet[5][:60], fleet[0], fleet[2][:60]], (99, 0, 99)),
    ):
        (tmp_path / name).mkdir()
        _write(tmp_path / name / "train_FD001.txt", list(worn_fleet(12, 0)))
        _write(tmp_path / name / "test_FD001.txt", units)
        (tmp_path / name / "RUL_FD001.txt").write_text("".join(f"{left}\n" for left in answers))
        cmapss.evaluate(tmp_path / name, tmp_path / name, setting=SMALL)
    whole, other = ((tmp_path / name / "FD001.csv").read_text().split() for name in ("whole", "other"))
    assert [other[1], other[3]] == [whole[6], whole[3]]
    assert other[2] != whole[1]  # of the same unit, at another age


@pytest.mark.deep
def test_a_fault_in_the_last_subset_is_told_before_the_first_is_learnt(tmp_path: Path) -> None:
    _folder(tmp_path / "data")
    (tmp_path / "data" / "test_FD002.txt").write_text("1 1 0\n")
    told: list[int] = []
    with pytest.raises(DataError, match=r"test_FD002\.txt: line 1: 3 values for 26 columns"):
        cmapss.evaluate(tmp_path / "data", tmp_path / "out", lambda done, _of: told.append(done), setting=SMALL)
    assert told == []


def test_a_folder_without_a_subset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no train_FD00x\.txt"):
        cmapss.evaluate(tmp_path, tmp_path / "out")


@pytest.mark.deep
@pytest.mark.realdata
def test_real_lives_are_predicted_better_than_published_figures_that_do_without_the_age(tmp_path: Path) -> None:
    if not REAL.is_dir():
        pytest.skip("the data set cmapss is not at hand")
    for kind in ("train", "test", "RUL"):
        (tmp_path / f"{kind}_FD001.txt").write_bytes((REAL / f"{kind}_FD001.txt").read_bytes())
    (errors,) = cmapss.evaluate(tmp_path, tmp_path / "out", setting={**cmapss.SETTING, "folds": 2})
    assert errors.raw is not None
    assert errors.coverage is not None
    assert 8 < errors.raw <= 12, "far below smells of a leak"
    assert 0.7 <= errors.coverage <= 0.9
