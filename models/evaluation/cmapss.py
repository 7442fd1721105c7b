"""C-MAPSS: train on the units that ran to failure, predict the cycles left at the last row of each test unit."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from models.evaluation.skab import write_column
from models.training.fleet import SETTINGS, read_fleet
from models.training.pca import Floats
from models.training.rul import CAP_CYCLES, RulModel, fit_rul, windows_of
from models.training.table import DataError, read_table


class Errors(NamedTuple):
    """Root mean square errors in cycles. `raw` and `clipped` (answers at 125) are None without an answer file."""

    subset: str
    units: int
    held_out: float
    raw: float | None
    clipped: float | None


def predict_last(model: RulModel, units: tuple[Floats, ...]) -> Floats:
    """Cycles left, [units], from the last window of each; nothing after it is seen."""
    last = np.array([windows_of(unit[:, model.kept], model.window)[-1] for unit in units])
    return model.rul(last)


def evaluate(data: Path, out: Path, advance: Callable[[int, int], None] = lambda _done, _total: None) -> list[Errors]:
    """Write `out/FD00x.csv` with a column `rul` for each subset with train and test files; one setting for all.

    Raises:
        DataError: no subset, or a file that cannot be used.
    """
    subsets = [
        path.stem.removeprefix("train_")
        for path in sorted(data.glob("train_FD*.txt"))
        if path.with_name(path.name.replace("train_", "test_")).exists()
    ]
    if not subsets:
        msg = f"{data}: no train_FD00x.txt with test_FD00x.txt"
        raise DataError(msg)
    out.mkdir(parents=True, exist_ok=True)
    results = []
    for number, subset in enumerate(subsets, 1):
        model = fit_rul(read_fleet(data / f"train_{subset}.txt").units, settings=SETTINGS)
        rul = predict_last(model, read_fleet(data / f"test_{subset}.txt").units)
        write_column(out / f"{subset}.csv", "rul", [round(float(value), 3) for value in rul])
        results.append(Errors(subset, len(rul), model.held_out_rmse, *_against(data / f"RUL_{subset}.txt", rul)))
        advance(number, len(subsets))
    return results


def _against(answers: Path, rul: Floats) -> tuple[float | None, float | None]:
    if not answers.exists():
        return None, None
    truth = read_table(answers, separator=" ", header=["rul"]).values[:, 0]
    if len(truth) != len(rul):
        msg = f"{answers}: {len(truth)} answers for {len(rul)} test units"
        raise DataError(msg)
    return _rmse(rul - truth), _rmse(rul - np.minimum(truth, CAP_CYCLES))


def _rmse(difference: Floats) -> float:
    return float(np.sqrt((difference**2).mean()))
