"""C-MAPSS: train on the units that ran to failure, predict the cycles left at the last row of each test unit.

One setting for all subsets, and the test units' answers are in no choice. The number of the cycle is among the inputs,
and tells much: with it the errors are 10.6 cycles on FD001, and on FD002 9.9 with answers clipped at 125; without it,
as most published figures are, 12.5 and 11.7. Needs PyTorch (extra `train-deep`).

Learnt from a random half of the training units, in 5 folds, and asked about the other half at random moments, the model
is off by 9.7 cycles on FD001 and 10.4 on FD002, lives above 125 counting as 125: as good as on the test units.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from models.evaluation.metrics import coverage, rmse
from models.evaluation.results import write_columns
from models.training.anomaly.base import Floats
from models.training.failure.base import Prediction
from models.training.failure.fleet import Fleet, read_fleet
from models.training.table import DataError, read_table

SETTING = MappingProxyType({"window": 120})  # of the recipe; chosen by training units that were held out
CAP_CYCLES = 125.0


class Errors(NamedTuple):
    """Errors in cycles, and shares of lives that the intervals of nominal 80 % hold.

    `held_out_…` are of training units, asked at each moment of their lives (for the error, lives above 125 count as
    125); `raw` (answers as they are), `clipped` (at 125) and `coverage` are None without an answer file.
    """

    subset: str
    units: int
    held_out_rmse: float
    held_out_coverage: float
    raw: float | None = None
    clipped: float | None = None
    coverage: float | None = None


def evaluate(
    data: Path,
    out: Path,
    advance: Callable[[int, int], None] = lambda _done, _total: None,
    *,
    setting: Mapping[str, float] = SETTING,
) -> list[Errors]:
    """Write `out/FD00x.csv` with columns rul, rul_low, rul_high, a row a test unit, for each subset in `data`.

    Args:
        data: holds train_FD00x.txt and test_FD00x.txt, and RUL_FD00x.txt where there are answers.
        out: made where it is missing.
        advance: told how many members are fitted, of how many.
        setting: of each subset's model, as in `models.training.failure.network.Params`.

    Raises:
        DataError: no subset, or a file that cannot be used.
        ModuleNotFoundError: PyTorch is not installed.
    """
    subsets = [
        path.stem.removeprefix("train_")
        for path in sorted(data.glob("train_FD*.txt"))
        if path.with_name(path.name.replace("train_", "test_")).exists()
    ]
    if not subsets:
        msg = f"{data}: no train_FD00x.txt with test_FD00x.txt"
        raise DataError(msg)
    from models.training.failure import network  # noqa: PLC0415 - the extra may be missing

    params = network.Params.model_validate({"cap_h": CAP_CYCLES, **setting})
    read = [_read(data, subset) for subset in subsets]  # before learning: a fault in the last file is told at once
    results = []
    for number, (subset, fleet, units, answers) in enumerate(read):
        model = network.fit(
            fleet.units,
            params,
            settings=fleet.settings,
            advance=lambda done, of, number=number: advance(number * of + done, len(subsets) * of),  # type: ignore[misc]
        )
        found = [model.predict_last(unit) for unit in units]
        predicted = Prediction(*(np.concatenate(column) for column in zip(*found, strict=True)))
        columns = {"rul": predicted.rul, "rul_low": predicted.low, "rul_high": predicted.high}
        write_columns(out / f"{subset}.csv", {name: np.round(each, 3).tolist() for name, each in columns.items()})
        held_out = (model.held_out["held_out_rmse_h"], model.held_out["held_out_coverage"])
        results.append(Errors(subset, len(units), *held_out, *_against(answers, predicted)))
    return results


def _read(data: Path, subset: str) -> tuple[str, Fleet, tuple[Floats, ...], Floats | None]:
    """Name, training fleet, test units and their answers."""
    units = read_fleet(data / f"test_{subset}.txt").units
    return subset, read_fleet(data / f"train_{subset}.txt"), units, _answers(data / f"RUL_{subset}.txt", len(units))


def _answers(path: Path, units: int) -> Floats | None:
    if not path.exists():
        return None
    truth = read_table(path, separator=" ", header=["rul"]).values[:, 0]
    if len(truth) != units:
        msg = f"{path}: {len(truth)} answers for {units} test units"
        raise DataError(msg)
    return truth


def _against(truth: Floats | None, predicted: Prediction) -> tuple[float, ...]:
    if truth is None:
        return ()
    return (
        rmse(predicted.rul, truth),
        rmse(predicted.rul, np.minimum(truth, CAP_CYCLES)),
        coverage(predicted.low, predicted.high, truth),
    )
