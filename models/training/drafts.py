"""From a recipe and its data to a fitted model in a bundle, judged on rows that it was not fitted on."""

import math
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from models.bundle import Bundle, read_bundle
from models.evaluation.judging.anomaly import judge_anomaly
from models.evaluation.report import anomaly as anomaly_report
from models.evaluation.report.charts import Chart
from models.evaluation.running import Runner
from models.training import doubts, suspects
from models.training.anomaly.base import AnomalyModel, raw_of
from models.training.anomaly.calibrate import calibrate
from models.training.anomaly.export import write_anomaly_bundle
from models.training.data import Data, Run
from models.training.recipes import Recipe
from models.training.splits import Parts, split_by_time, split_by_unit
from models.training.table import DataError

Advance = Callable[[int, int], None]
_CMAPSS = (125.0, 30.0)  # cycles: the cap that published figures have, and a horizon
_FAR = 1000  # standard deviations; no machine gets there
_TRIED = 2000  # rows, half of them that far off; more take minutes where a model remembers
_GAP_ROWS = 60  # between parts, where a method has no single window


class Draft(NamedTuple):
    """A bundle without its card, and what card and report tell of it."""

    recipe: Recipe  # with what it left to the data
    bundle: Bundle
    parts: Parts
    figures: dict[str, float]  # of the test part, and what they are to be read with
    charts: Iterable[Chart]  # drawn as they are asked for
    warnings: tuple[str, ...] = ()


def _settled(recipe: Recipe, lives_h: Sequence[float]) -> Recipe:
    """The recipe with the lengths filled in that it leaves to the lives that are learnt from."""
    found = _CMAPSS if recipe.data.layout == "cmapss" else recipe.model.lengths_h(lives_h)
    given = (recipe.model.cap_h, recipe.model.horizon_h)
    cap_h, horizon_h = (own or other for own, other in zip(given, found, strict=True))
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"cap_h": cap_h, "horizon_h": horizon_h})})


def make_draft(recipe: Recipe, data: Data, advance: Advance) -> Draft:
    """Fit and judge what the recipe asks for. Raises DataError, BundleError, ModuleNotFoundError."""
    ways = {"anomaly": _anomaly, "failure": _failure, "quality": _quality}
    return ways[recipe.kind](recipe, data, advance)


def _anomaly(recipe: Recipe, data: Data, advance: Advance) -> Draft:
    """Normal is learnt from one part, the limit that keeps to the budget of false alarms from the next."""
    if not recipe.split.calibrate:
        msg = "split.calibrate is 0: an anomaly model needs rows that settle its limit, such as 0.25"
        raise DataError(msg)
    parts = _parts(recipe, data, "time")
    model: AnomalyModel = recipe.module.fit(
        [run.values for run in parts.fit], recipe.model, seed=recipe.seed, advance=advance
    )
    raw = [raw_of(model, run.values)[0] for run in parts.calibrate]
    ceiling = getattr(model, "ceiling", math.inf)  # few methods have one
    calibration = calibrate(raw, recipe.alarm, sample_period_s=data.sample_period_s, ceiling=ceiling)
    bundle = _written(
        recipe,
        data,
        parts,
        write_anomaly_bundle,
        model,
        calibration,
        data.channels,
        sample_period_s=data.sample_period_s,
    )
    names = [channel.name for channel in data.channels]
    warnings = [*suspects.counters(names, data.runs), *suspects.flags(names, data.runs)]
    warnings += [calibration.warning] if calibration.warning else []
    wrong = sum(int(run.label.sum()) for run in (*parts.fit, *parts.calibrate) if run.label is not None)
    if wrong:
        warnings.append(f"{wrong:,} of the rows that normal was learnt from are labelled as wrong")
    runner = Runner(bundle)
    warnings += _deaf(runner, parts.fit, bundle.manifest.window)
    judged = judge_anomaly(bundle.manifest, runner, parts.test)
    follow = getattr(recipe.model, "follow", None)  # few methods have it
    warnings += doubts.of_alarms(judged.alarms, recipe.alarm, has_labels=judged.has_labels, follow=follow)
    charts = anomaly_report.charts(bundle.manifest, judged, calibration, raw, has_times=data.has_times)
    return Draft(recipe, bundle, parts, judged.figures, charts, tuple(warnings))


def _deaf(runner: Runner, runs: Sequence[Run], window: int) -> Iterator[str]:
    """Whether nothing at all reaches the alarm limit: some methods tell far from very far no longer."""
    values = max(runs, key=len).values[-max(_TRIED, 2 * window) :]
    spread = np.concatenate([run.values for run in runs]).std(0)
    row = np.arange(len(values))[:, None]
    is_off = row >= len(values) // 2  # after usual rows: a model that adapts takes what it begins with for normal
    tries = [values + _FAR * sign * spread * where for sign in (-1, 1) for where in (is_off, is_off & (row % 2 == 0))]
    highest = max(float(runner.outputs(each)["anomaly_score"].max()) for each in tries)
    if highest < 1:
        yield (
            f"nothing reaches the alarm limit: inputs {_FAR:,} standard deviations off score {highest:.2g} of 1; "
            "more normal data, or more alarms_per_week, bring it nearer"
        )


def _failure(recipe: Recipe, data: Data, advance: Advance) -> Draft:
    """Machines that ran until they failed; some of them judge."""
    from models.evaluation.judging.failure import judge_failure  # noqa: PLC0415 - only what a kind needs
    from models.evaluation.report import failure as report  # noqa: PLC0415 - likewise
    from models.training.failure.export import write_failure_bundle  # noqa: PLC0415 - likewise

    if not data.has_times and recipe.data.sample_period_s is None and recipe.data.layout != "cmapss":
        msg = "how long is a row? A life needs data.time_column, or data.sample_period_s where rows have no times"
        raise DataError(msg)
    data, lost = _lives(data)
    names = [channel.name for channel in data.channels]
    warnings = [*lost, *suspects.flags(names, data.runs), *suspects.lifelines(names, data.runs)]
    parts = _parts(recipe, data, "unit")
    if recipe.split.by == "time":
        msg = "split.by is 'time': a machine that fails after the cut tells when those before it do; 'unit' is allowed"
        raise DataError(msg)
    recipe = _settled(recipe, [len(run) * data.sample_period_s / 3600 for run in parts.fit])
    model = recipe.module.fit(
        [run.values for run in parts.fit],
        recipe.model,
        settings=data.settings,
        hours_per_row=data.sample_period_s / 3600,
        seed=recipe.seed,
        advance=advance,
    )
    bundle = _written(recipe, data, parts, write_failure_bundle, model, data.channels)
    kept = tuple(run.of_channels(model.kept) for run in parts.test)
    judged = judge_failure(bundle.manifest, Runner(bundle), kept, cap_h=model.cap_h, horizon_h=model.horizon_h)
    asked, machines = recipe.model.coverage, len({run.unit for run in parts.fit})
    warnings += doubts.of_lives(bundle.manifest.evaluation, judged.figures, asked, machines)
    figures = {"cap_h": model.cap_h, "coverage_asked_for": asked, **judged.figures}
    return Draft(recipe, bundle, parts, figures, report.charts(judged), tuple(warnings))


def _quality(recipe: Recipe, data: Data, advance: Advance) -> Draft:
    """Products in order of time; the last ones judge."""
    from models.evaluation.judging.quality import judge_quality  # noqa: PLC0415 - only what a kind needs
    from models.evaluation.report import quality as report  # noqa: PLC0415 - likewise
    from models.training.quality.export import write_quality_bundle  # noqa: PLC0415 - likewise

    if recipe.data.target_column is None:
        msg = "data.target_column is missing: the column with the measured quality"
        raise DataError(msg)
    names = [channel.name for channel in data.channels]
    warnings = [*suspects.counters(names, data.runs), *suspects.flags(names, data.runs)]
    values = np.concatenate([run.values for run in data.runs])
    target = np.concatenate([run.target for run in data.runs if run.target is not None])
    warnings += suspects.tellers(names, values, target, recipe.data.target_column)
    parts = _parts(recipe, data, "time")
    model = recipe.module.fit(
        np.concatenate([run.values for run in parts.fit]),
        np.concatenate([run.target for run in parts.fit if run.target is not None]),
        recipe.model,
        seed=recipe.seed,
        advance=advance,
        lengths=[len(run) for run in parts.fit],
    )
    bundle = _written(
        recipe, data, parts, write_quality_bundle, model, data.channels, sample_period_s=data.sample_period_s
    )
    judged = judge_quality(bundle.manifest, Runner(bundle), parts.test, recipe.model)
    return Draft(recipe, bundle, parts, judged.figures, report.charts(bundle.manifest, judged), tuple(warnings))


def _written(
    recipe: Recipe, data: Data, parts: Parts, write: Callable[..., Any], *what: object, **more: object
) -> Bundle:
    """The bundle that a kind's export writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "draft.bundle"
        write(
            path,
            *what,
            **more,
            name=recipe.name,
            version=recipe.version,
            trained_on=_trained_on(data, parts.fit),
        )
        return read_bundle(path)


def _parts(recipe: Recipe, data: Data, by: str) -> Parts:
    section = recipe.split
    if recipe.kind != "anomaly":
        section = section.model_copy(update={"calibrate": 0.0})
    if (section.by or ("unit" if section.judges else by)) == "unit":
        return split_by_unit(data.runs, section, seed=recipe.seed)
    gap = getattr(recipe.model, "window", _GAP_ROWS)
    return split_by_time(data.runs, section, gap=gap, rows=recipe.data.rows)


def _lives(data: Data) -> tuple[Data, tuple[str, ...]]:
    """Each unit's last run, which ends with its failure: before a gap nobody knows how much of a life is missing."""
    last = {run.unit: run for run in data.runs}
    lost = data.frames - sum(map(len, last.values()))
    warnings = (f"{lost:,} rows before gaps are left out: lives are learnt from their last run",) if lost else ()
    return data._replace(runs=tuple(last.values())), warnings


def _trained_on(data: Data, fit: Sequence[Run]) -> str:
    """In one line, for the manifest."""
    files = data.sources[0].name if len(data.sources) == 1 else f"{len(data.sources)} files"
    units = {run.unit for run in fit}
    return f"{sum(map(len, fit)):,} rows of {len(units)} machine{'s' * (len(units) != 1)} in {files}"
