"""Which rows a model learns from, which settle its limit, and which judge it.

By unit or by time, never at random over windows: neighbouring windows share rows, and a window whose neighbour was
learnt from is known before it is judged. Between two parts of one run a window's length of rows is left out, so that
no row of a later part lies in a window of an earlier one and what both remember is forgotten.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.training.data.frames import Run
from models.training.table import DataError

_SHOWN = 8  # names


class SplitSection(BaseModel):
    """The section `[split]` of a recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: Literal["time", "unit"] | None = Field(
        None, description="time: the last rows of each machine judge; unit: whole machines do; none: unit for failure"
    )
    judges: tuple[str, ...] = Field(
        (), description="by unit: the machines that judge, none of which is learnt from; none named: a share is drawn"
    )
    calibrate: float = Field(0.25, ge=0, lt=1, description="anomaly: share of the rows that settles the alarm limit")
    test: float = Field(0.2, ge=0, lt=1, description="share that judges the model; 0: none, and the card says so")

    @model_validator(mode="after")
    def _something_is_left(self) -> "SplitSection":
        if self.calibrate + self.test >= 1:
            msg = f"calibrate {self.calibrate:g} and test {self.test:g} leave nothing to learn from: below 1 in all"
            raise ValueError(msg)
        if self.judges and self.by == "time":
            msg = "judges are named, but the split is by time: by = 'unit' is allowed"
            raise ValueError(msg)
        return self


class Parts(NamedTuple):
    """Runs; `says`: how they were parted, for the card."""

    fit: tuple[Run, ...]
    calibrate: tuple[Run, ...]
    test: tuple[Run, ...]
    says: str


def split_by_time(runs: Sequence[Run], section: SplitSection, *, gap: int, rows: int | None = None) -> Parts:
    """The first rows of each machine to learn from, then those that settle the limit, then those that judge.

    Args:
        runs: of any machines, each in order of time.
        section: shares; where `rows` is given, `calibrate` is the share of those rows, and all later ones judge.
        gap: rows left out at the begin of a later part.
        rows: learn from so many first rows of each machine.

    Raises:
        DataError: nothing is left to learn from.
    """
    parts: tuple[list[Run], list[Run], list[Run]] = ([], [], [])
    for unit in dict.fromkeys(run.unit for run in runs):
        mine = [run for run in runs if run.unit == unit]
        total = sum(map(len, mine))
        if rows is None:
            judged = round(total * (1 - section.test))
            learnt = round(total * (1 - section.test - section.calibrate))
        else:
            judged, learnt = min(rows, total), round(min(rows, total) * (1 - section.calibrate))
        begin = 0
        for run in mine:
            edges = [(0, learnt, 0), (learnt, judged, gap), (judged, total, gap if judged else 0)]
            for part, (low, high, after) in zip(parts, edges, strict=True):
                cut = run.rows(low + after - begin, high - begin)
                if len(cut):
                    part.append(cut)
            begin += len(run)
    return _checked(parts, f"by time, within each machine; {gap} rows left out between the parts")


def split_by_unit(runs: Sequence[Run], section: SplitSection, *, seed: int) -> Parts:
    """Whole machines: which go where is drawn with `seed`, but for those that are named.

    Raises:
        DataError: fewer machines than parts that are asked for, or a name that no machine has.
    """
    units = list(dict.fromkeys(run.unit for run in runs))
    for name in section.judges:
        if name not in units:
            msg = f"split.judges: no machine {name!r}; there are {', '.join(units)}"
            raise DataError(msg)
    test = 0.0 if section.judges else section.test
    settled, judging = (max(1, round(len(units) * share)) if share else 0 for share in (section.calibrate, test))
    drawn = [units[at] for at in np.random.default_rng(seed).permutation(len(units)) if units[at] not in section.judges]
    if settled + judging >= len(drawn):
        if section.judges:
            msg = f"split.judges names {len(units) - len(drawn)} of {len(units)} machines: too few are left to learn"
            raise DataError(msg)
        are = f"{len(units)} machine{'s are' if len(units) > 1 else ' is'} too few"
        cure = "give more, or test = 0; but for failure, a split by time needs one"
        msg = f"{are} to learn from some and judge by others: {cure}"
        raise DataError(msg)
    settle, judge = set(drawn[:settled]), {*section.judges, *drawn[settled : settled + judging]}
    parts: tuple[list[Run], list[Run], list[Run]] = ([], [], [])
    for run in runs:
        parts[1 if run.unit in settle else 2 if run.unit in judge else 0].append(run)
    named = [unit for unit in units if unit in judge]
    says = "by unit, named" if section.judges else f"by unit, drawn with seed {seed}"
    return _checked(parts, f"{says}; {len(named)} judge{_some(named)}")


def _some(names: Sequence[str]) -> str:
    """The first of them."""
    return f" ({', '.join(names[:_SHOWN])}{', …' if len(names) > _SHOWN else ''})" if names else ""


def _checked(parts: tuple[list[Run], list[Run], list[Run]], says: str) -> Parts:
    if not parts[0]:
        msg = "the split leaves no row to learn from: smaller shares, or more data, are needed"
        raise DataError(msg)
    counts = [f"{sum(map(len, part)):,}" for part in parts]
    said = f"{says}: {counts[0]} rows to learn from, {counts[1]} to settle the limit, {counts[2]} to judge"
    return Parts(tuple(parts[0]), tuple(parts[1]), tuple(parts[2]), said)
