"""The Numenta Anomaly Benchmark: series of a value each, judged row by row by one detector that learns as it goes.

The detector is the step of `models.training.anomaly.streaming`, the same that a gateway runs, with its default
setting for all series. It sees values alone: no labels, no time stamps, no names, and nothing of what is to come. An
alarm is the row at which the surprise it holds rises; all series run side by side, which changes nothing in them.

The detector was designed, and its setting chosen, while looking at the labels of 47 of the 58 series in several
hundred trials: its scores on them, 74.7 and 66.2 (few false alarms wanted), flatter it. With the threshold taken from
random halves and judged on the others: 72.8 ± 4.1 and 63.6 ± 4.8; with each family judged by the threshold of the
others: 72.8 and 63.3. With the setting, too, chosen on random halves, from a grid of 56 (on all series 71.3 to 74.9,
in the middle 73.7): 73.0 ± 3.5 and 65.2 ± 4.1 on the others at their own best threshold, 70.4 ± 4.2 and 62.4 ± 5.4
at that of the half chosen on. Without a season, the grid is 1.5 lower in the middle and the last two are 68.4 and 60.8.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import TypeAdapter, ValidationError

from models.evaluation.nab_score import PROFILES, Best, Floats, Labels, best, label
from models.evaluation.results import write_columns
from models.training.anomaly.base import Advance, quiet
from models.training.anomaly.streaming import Params, StreamingModel, step
from models.training.anomaly.streaming_layout import FARTHEST
from models.training.table import DataError, Table, read_table

SETTING = Params()
RISE = 0.5  # of the surprise, in nats: anything less is the same event
_HALF = 10.0  # the surprise whose anomaly score is 0.5

_WINDOWS = TypeAdapter(dict[str, list[tuple[datetime, datetime]]])


class Result(NamedTuple):
    """Scores and their thresholds by profile, None without labels; over series and windows that are labelled."""

    series: int
    windows: int | None
    standard: float | None
    low_fp: float | None
    low_fn: float | None
    thresholds: dict[str, float | None] | None  # None: never to alarm is best


def detect(series: Sequence[Floats], params: Params = SETTING, advance: Advance = quiet) -> list[Floats]:
    """Anomaly scores in [0, 1), [rows], of each series of values [rows]; 0 wherever no alarm would begin."""
    held = _held(series, params, advance)
    rises = [np.diff(each, prepend=0.0) > RISE for each in held]
    return [np.where(rise, each / (each + _HALF), 0.0) for rise, each in zip(rises, held, strict=True)]


def evaluate(data: Path, out: Path, advance: Advance = quiet) -> Result:
    """Write `out/<series>.csv` with a column `anomaly_score` for each `data/data/<series>.csv`.

    Where `data/labels/combined_windows.json` is there, the series it names are scored too.

    Raises:
        DataError: no series, or a file that cannot be used.
    """
    folder = data / "data"
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.csv"))]
    if not names:
        msg = f"{folder}: no series *.csv of NAB; --data is the folder that holds data/ and labels/"
        raise DataError(msg)
    tables = {name: _read(folder / name) for name in names}
    windows = _windows(data / "labels" / "combined_windows.json")
    labels = {name: _labels(name, tables[name], windows[name]) for name in names if name in windows}
    scores = dict(zip(names, detect([tables[name].values[:, 0] for name in names], SETTING, advance), strict=True))
    for name in names:
        write_columns(out / name, {"anomaly_score": scores[name].tolist()})
    if not labels:
        return Result(len(names), None, None, None, None, None)
    known = [(labels[name], scores[name]) for name in labels]
    found: dict[str, Best] = {profile: best(known, weights) for profile, weights in PROFILES.items()}
    return Result(
        series=len(labels),
        windows=sum(each.windows for each in labels.values()),
        **{profile: each.score for profile, each in found.items()},
        thresholds={profile: each.threshold for profile, each in found.items()},
    )


def _held(series: Sequence[Floats], params: Params, advance: Advance) -> list[Floats]:
    """The surprise held at each row of each series; the longest come first, so that the ones at work are a slice."""
    order = sorted(range(len(series)), key=lambda i: -len(series[i]))
    lengths = np.array([len(series[i]) for i in order])
    values = np.zeros((lengths[0], len(series)), np.float32)
    for place, i in enumerate(order):
        values[: len(series[i]), place] = np.clip(series[i], -FARTHEST, FARTHEST)
    held = np.zeros(values.shape)
    state = np.zeros((len(series), StreamingModel(params, 1).state), np.float32)
    for row in range(len(values)):
        running = int((lengths > row).sum())
        held[row, :running], state = step(params, state[:running], values[row, :running])
        if row % 100 == 0:
            advance(row, len(values))
    advance(len(values), len(values))
    return [held[: len(series[i]), order.index(i)] for i in range(len(series))]


def _read(path: Path) -> Table:
    return read_table(path, time_column="timestamp", columns=("value",))


def _windows(path: Path) -> dict[str, list[tuple[datetime, datetime]]]:
    """By series; none where there is no file of labels."""
    if not path.exists():
        return {}
    try:
        return _WINDOWS.validate_python(json.loads(path.read_bytes()))
    except (ValueError, ValidationError) as error:
        msg = f"{path}: no windows of NAB, by series lists of [first, last] times: {str(error).splitlines()[0]}"
        raise DataError(msg) from error


def _labels(name: str, table: Table, windows: Sequence[tuple[datetime, datetime]]) -> Labels:
    """A window's edges are rows of the series; where a time stands twice, the first."""
    rows: dict[datetime, int] = {}
    for row, text in enumerate(table.times):
        try:
            rows.setdefault(datetime.fromisoformat(text), row)
        except ValueError as error:
            msg = f"{name}: row {row + 1}: {text!r} is no time such as 2014-04-01 00:05:00"
            raise DataError(msg) from error
    try:
        spans = sorted((rows[first], rows[last]) for first, last in windows)
    except KeyError as error:
        msg = f"{name}: a window of its labels begins or ends at {error.args[0]}, which is no row of the series"
        raise DataError(msg) from error
    edges = [row for span in spans for row in span]
    if edges != sorted(edges):
        msg = f"{name}: a window of its labels ends before it begins, or reaches into the next one"
        raise DataError(msg)
    return label(len(table.times), spans)
