"""Inputs that a person should look at before trusting a model: those that know the answer, labels, counters of rows.

What stands in a table beside the sensors is often written down when the outcome is known already. A model that learns
from it is perfect here and knows nothing live. Nobody but the user can tell, so each is a question, and none an error.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from models.training.data import Run

Floats = NDArray[np.float64]

_SURE = 0.98  # ROC area, or rank correlation, of a single column that no sensor reaches by honest means
_PURE = 0.95  # share of one outcome where a column is 1
_FEWEST = 10  # rows with a 1, with an outcome, or steps from row to row, that tell anything
_EXACT = 1e-15  # of the largest value: steps of decimal fractions differ by their rounding


def counters(names: Sequence[str], runs: Sequence[Run]) -> Iterator[str]:
    """Of inputs that rise or fall by one step from row to row."""
    if found := [name for name, step in zip(names, _steps(runs), strict=True) if step]:
        yield f"{_listed(found)} by the same step from row to row: what counts rows or time tells nothing of a machine"


def lifelines(names: Sequence[str], runs: Sequence[Run]) -> Iterator[str]:
    """Of inputs that alone tell how much is left of lives, each run being one; an age may."""
    is_age = _steps(runs) > 0
    left = np.concatenate([np.arange(len(run), dtype=np.float64)[::-1] for run in runs])
    values = np.concatenate([run.values[:, ~is_age] for run in runs])
    others = [name for name, is_left_out in zip(names, is_age, strict=True) if not is_left_out]
    yield from tellers(others, values, left, "the life left")


def flags(names: Sequence[str], runs: Sequence[Run]) -> Iterator[str]:
    """Of inputs that are 0 or 1 and both."""
    values = np.concatenate([run.values for run in runs])
    found = np.isin(values, (0, 1)).all(0) & (values.min(0) < values.max(0))
    if said := [name for name, is_flag in zip(names, found, strict=True) if is_flag]:
        many = len(said) > 1
        yield (
            f"input{'s' * many} {', '.join(said)} {'are' if many else 'is'} 0 or 1: a switch of the machine is an "
            "input; a label is not, and has to be excluded"
        )


def tellers(names: Sequence[str], values: Floats, outcome: Floats, called: str) -> Iterator[str]:
    """Of inputs that alone tell the outcome.

    Args:
        names: of the inputs.
        values: [n, inputs].
        outcome: [n], NaN where it is not known; 0 and 1, or any numbers.
        called: the outcome's name.
    """
    known = np.isfinite(outcome)
    values, outcome = values[known], outcome[known]
    if len(outcome) < _FEWEST:
        return
    if np.isin(outcome, (0, 1)).all():
        if min(outcome.sum(), (1 - outcome).sum()) < _FEWEST:
            return
        said = _of_two(values, outcome if outcome.mean() <= 0.5 else 1 - outcome)
    else:
        said = _of_many(values, outcome)
    for name, says in zip(names, said, strict=True):
        if says:
            yield f"input {name} alone tells {called} ({says}): is it known before? If not, exclude it"


def _steps(runs: Sequence[Run]) -> Floats:
    """[inputs]: the step from each row of each run to the next, 0 where it is not always the same."""
    steps = np.concatenate([np.diff(run.values, axis=0) for run in runs])
    if len(steps) < _FEWEST:
        return np.zeros(steps.shape[1])
    rounding = _EXACT * np.max([np.abs(run.values).max(0) for run in runs], axis=0)
    step = np.median(steps, axis=0)
    return np.where((np.abs(step) > rounding) & (np.abs(steps - step) <= rounding).all(0), step, 0.0)


def _of_two(values: Floats, outcome: Floats) -> Iterator[str]:
    """By ROC area, and of a flag by how often it is right."""
    ones = outcome == 1
    count, others = ones.sum(), (~ones).sum()
    for column in values.T:
        area = (rankdata(column)[ones].sum() - count * (count + 1) / 2) / (count * others)
        raised = column == 1
        right = int(ones[raised].sum())
        if max(area, 1 - area) >= _SURE:
            yield f"area under ROC {max(area, 1 - area):.3f}"
        elif np.isin(column, (0, 1)).all() and right >= max(_FEWEST, _PURE * raised.sum()):
            yield f"right {right:,} of {raised.sum():,} times, of {count:,} in all"
        else:
            yield ""


def _of_many(values: Floats, outcome: Floats) -> Iterator[str]:
    """By rank correlation."""
    ranks = rankdata(outcome)
    for column in values.T:
        constant = column.min() == column.max() or ranks.min() == ranks.max()
        alike = 0.0 if constant else abs(float(np.corrcoef(rankdata(column), ranks)[0, 1]))
        yield f"rank correlation {alike:.3f}" if alike >= _SURE else ""


def _listed(names: Sequence[str]) -> str:
    return f"input{'s' * (len(names) > 1)} {', '.join(names)} {'move' if len(names) > 1 else 'moves'}"
