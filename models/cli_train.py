"""`model train` and `model recipe`: fit a model as a recipe says, judge it, and write it as a bundle."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from models.cli_common import Json, Out, faults, progress, written

train = typer.Typer(
    no_args_is_help=True,
    help="Fit a model as a recipe says, judge it on rows it has not seen, and write it as a bundle that an agent can "
    "run. `model recipe` prints a recipe with all its keys; options given here win over it.",
)

Kind = Literal["anomaly", "failure", "quality"]
DataFiles = Annotated[
    list[Path],
    typer.Option(
        help="CSV or .parquet, once for each file: a column a channel, or a row a reading (see docs/models.md)."
    ),
]
RecipeFile = Annotated[
    Path | None, typer.Option("--recipe", help="A TOML file; `model recipe` prints one. Default: its values.")
]
Method = Annotated[str | None, typer.Option(help="Wins over the recipe's model.method; `model recipe` lists them.")]
Name = Annotated[str | None, typer.Option(help="The model's name in results. Default: the kind.")]
Version = Annotated[str | None, typer.Option(help="Travels with every result, so that models can be told apart.")]
Seed = Annotated[int | None, typer.Option(help="The same seed, data and libraries give the same bytes. Default: 0.")]
Key = Annotated[Path | None, typer.Option("--key", help="A private key: the bundle is signed with it at once.")]
Report = Annotated[Path | None, typer.Option(help="Write figures and pictures: a folder, or a file with .html.")]
Separator = Annotated[str | None, typer.Option(help="Between values; a blank stands for any run of blanks.")]
TimeColumn = Annotated[str | None, typer.Option(help="The column of times. Default: the first, if it holds dates.")]
Columns = Annotated[str | None, typer.Option(help="Inputs in order, a,b,c. Default: every column of numbers.")]
Exclude = Annotated[str | None, typer.Option(help="Columns that are no inputs, a,b,c.")]
UnitColumn = Annotated[str | None, typer.Option(help="The column that says which machine, or which run to failure.")]
Period = Annotated[float | None, typer.Option("--sample-period-s", help="The grid. Default: as found in the times.")]
Window = Annotated[int | None, typer.Option(help="Frames that a judgement looks back on.")]
Rows = Annotated[int | None, typer.Option(help="Learn from the first rows of each machine; judge all others.")]


@train.command()
def anomaly(
    *,
    data: DataFiles,
    out: Out,
    recipe: RecipeFile = None,
    method: Method = None,
    report: Report = None,
    key: Key = None,
    name: Name = None,
    version: Version = None,
    seed: Seed = None,
    separator: Separator = None,
    time_column: TimeColumn = None,
    unit_column: UnitColumn = None,
    label_column: Annotated[
        str | None, typer.Option(help="1 where something was wrong: for the figures, never for fitting.")
    ] = None,
    columns: Columns = None,
    exclude: Exclude = None,
    rows: Rows = None,
    window: Window = None,
    sample_period_s: Period = None,
    alarms_per_week: Annotated[
        float | None, typer.Option(help="How many false alarms of a machine are accepted in a week.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Learn what normal looks like, from rows in which nothing was wrong.

    The anomaly_score is 1 at the alarm limit, which keeps to the accepted number of false alarms a week.

    Example: train anomaly --data pump.csv --label-column anomaly --report pump.html -o pump.bundle
    """
    overrides = _overrides(
        name, version, seed, method, separator, time_column, unit_column, columns, exclude, sample_period_s, window
    )
    overrides |= {"data.label_column": label_column, "data.rows": rows, "alarm.alarms_per_week": alarms_per_week}
    _train("anomaly", data, out, recipe, overrides, report, key, as_json=as_json)


@train.command()
def failure(
    *,
    data: DataFiles,
    out: Out,
    recipe: RecipeFile = None,
    method: Method = None,
    report: Report = None,
    key: Key = None,
    name: Name = None,
    version: Version = None,
    seed: Seed = None,
    layout: Annotated[
        str | None,
        typer.Option(help="auto; or cmapss: unit, cycle, 3 settings, 21 sensors, blanks between, no header."),
    ] = None,
    separator: Separator = None,
    time_column: TimeColumn = None,
    unit_column: UnitColumn = None,
    settings: Annotated[str | None, typer.Option(help="Inputs that set the operating regime, a,b,c.")] = None,
    columns: Columns = None,
    exclude: Exclude = None,
    window: Window = None,
    sample_period_s: Period = None,
    as_json: Json = False,
) -> None:
    """Learn how long a machine will last, from machines that ran until they failed.

    The last row of each unit is its failure. With --layout cmapss one cycle counts as one hour.

    Example: train failure --data train_FD001.txt --layout cmapss --report fd001.html -o fd001.bundle
    """
    overrides = _overrides(
        name, version, seed, method, separator, time_column, unit_column, columns, exclude, sample_period_s, window
    )
    overrides |= {"data.layout": layout, "data.settings": _names(settings)}
    _train("failure", data, out, recipe, overrides, report, key, as_json=as_json)


@train.command()
def quality(
    *,
    data: DataFiles,
    out: Out,
    recipe: RecipeFile = None,
    method: Method = None,
    report: Report = None,
    key: Key = None,
    name: Name = None,
    version: Version = None,
    seed: Seed = None,
    target_column: Annotated[str | None, typer.Option(help="The measured quality, 0 to 100; may have gaps.")] = None,
    separator: Separator = None,
    time_column: TimeColumn = None,
    unit_column: UnitColumn = None,
    columns: Columns = None,
    exclude: Exclude = None,
    sample_period_s: Period = None,
    as_json: Json = False,
) -> None:
    """Learn how good the product will be, from what the process looked like when it was measured.

    Example: train quality --data line.csv --target-column quality --report line.html -o line.bundle
    """
    overrides = _overrides(
        name, version, seed, method, separator, time_column, unit_column, columns, exclude, sample_period_s, None
    )
    overrides["data.target_column"] = target_column
    _train("quality", data, out, recipe, overrides, report, key, as_json=as_json)


def print_recipe(
    kind: Annotated[Kind | None, typer.Argument(help="What is to be trained.")] = None,
    method: Annotated[str | None, typer.Argument(help="How. Default: the first of the kind.")] = None,
) -> None:
    """Print a recipe with every key, its default and what it means; without KIND, what there is.

    Example: recipe anomaly forecast > pump.toml
    """
    with faults():
        from models.training.recipes import METHODS, default_method, example  # noqa: PLC0415 - the extra may be missing

        if kind is None:
            for each, methods in METHODS.items():
                for name, entry in methods.items():
                    typer.echo(f"{each:<8} {name:<18} {entry.says} [{entry.extra}]")
            return
        chosen = method or default_method(kind)
        if chosen not in METHODS[kind]:
            raise typer.BadParameter(f"{chosen!r} (allowed: {', '.join(METHODS[kind])})")
        typer.echo(example(kind, chosen), nl=False)


def _train(
    kind: Kind,
    data: list[Path],
    out: Path,
    recipe: Path | None,
    overrides: dict[str, Any],
    report: Path | None,
    key: Path | None,
    *,
    as_json: bool,
) -> None:
    with faults():
        from models.cli_bundle import passphrase  # noqa: PLC0415 - slow to import
        from models.signing import read_private_key  # noqa: PLC0415 - likewise
        from models.training.kit import make  # noqa: PLC0415 - the extra may be missing
        from models.training.recipes import load_recipe  # noqa: PLC0415 - likewise

        private = None if key is None else read_private_key(key, passphrase(None))
        made = make(load_recipe(kind, recipe, overrides), data, progress, private)
        made.bundle.save(out)
        if report is not None:
            with progress("report"):
                _write_report(report, made.report())
    for warning in made.warnings:
        sys.stderr.write(f"mind: {warning}\n")
    written(out, made.bundle, as_json=as_json)


def _write_report(place: Path, text: str) -> None:
    file = place if place.suffix.lower() in {".html", ".htm"} else place / "report.html"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def _overrides(
    name: str | None,
    version: str | None,
    seed: int | None,
    method: str | None,
    separator: str | None,
    time_column: str | None,
    unit_column: str | None,
    columns: str | None,
    exclude: str | None,
    sample_period_s: float | None,
    window: int | None,
) -> dict[str, Any]:
    return {
        "name": name,
        "version": version,
        "seed": seed,
        "model.method": method,
        "model.window": window,
        "data.separator": separator,
        "data.time_column": time_column,
        "data.unit_column": unit_column,
        "data.columns": _names(columns),
        "data.exclude": _names(exclude),
        "data.sample_period_s": sample_period_s,
    }


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]
