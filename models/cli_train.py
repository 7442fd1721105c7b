"""`model train` and `model recipe`: fit a model as a recipe says, judge it, and write it as a bundle."""

import sys
from errno import EISDIR
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
Separator = Annotated[
    str | None, typer.Option(help="One character, or: comma, semicolon, tab, space (any run). Default: a comma.")
]
TimeColumn = Annotated[str | None, typer.Option(help="The column of times. Default: the first, if it holds dates.")]
TimeUnits = Literal["iso", "ns", "us", "ms", "s", "min", "h", "d"]
TimeUnit = Annotated[TimeUnits | None, typer.Option(help="What the time counts, if it holds numbers.")]
Columns = Annotated[str | None, typer.Option(help="Inputs in order, a,b,c. Default: every column of numbers.")]
Exclude = Annotated[str | None, typer.Option(help="Columns that are no inputs, a,b,c.")]
UnitColumn = Annotated[
    str | None,
    typer.Option(
        "--unit-column", "--asset-column", help="The column that says which machine, or which run to failure."
    ),
]
Period = Annotated[float | None, typer.Option("--sample-period-s", help="The grid. Default: as found in the times.")]
Window = Annotated[int | None, typer.Option(help="Frames that a judgement looks back on.")]
Rows = Annotated[int | None, typer.Option(help="Learn from the first rows of each machine; judge all others.")]

# Options that win over a key of the recipe, by the name that they have in the commands.
_KEYS = {
    "name": "name",
    "version": "version",
    "seed": "seed",
    "layout": "data.layout",
    "separator": "data.separator",
    "time_column": "data.time_column",
    "time_unit": "data.time_unit",
    "unit_column": "data.unit_column",
    "label_column": "data.label_column",
    "target_column": "data.target_column",
    "columns": "data.columns",
    "settings": "data.settings",
    "exclude": "data.exclude",
    "sample_period_s": "data.sample_period_s",
    "rows": "data.rows",
    "judges": "split.judges",
    "method": "model.method",
    "window": "model.window",
    "cap_h": "model.cap_h",
    "horizon_h": "model.horizon_h",
    "target": "model.target",
    "alarms_per_week": "alarm.alarms_per_week",
}
_LISTS = ("columns", "settings", "exclude", "judges")


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
    time_unit: TimeUnit = None,
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
    _train("anomaly", locals())


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
    time_unit: TimeUnit = None,
    unit_column: UnitColumn = None,
    settings: Annotated[str | None, typer.Option(help="Inputs that set the operating regime, a,b,c.")] = None,
    columns: Columns = None,
    exclude: Exclude = None,
    window: Window = None,
    cap_h: Annotated[
        float | None, typer.Option(help="Longer lives are learnt as this. Default: 5/8 of the median one; cmapss: 125.")
    ] = None,
    horizon_h: Annotated[
        float | None, typer.Option(help="Of failure_prob, and of the alarm. Default: a quarter of the cap; cmapss: 30.")
    ] = None,
    judges: Annotated[
        str | None, typer.Option(help="Units that judge, a,b,c. Default: a fifth of them, drawn with the seed.")
    ] = None,
    sample_period_s: Period = None,
    as_json: Json = False,
) -> None:
    """Learn how long a machine will last, from machines that ran until they failed.

    The last row of each unit is its failure. With --layout cmapss one cycle counts as one hour.

    Example: train failure --data train_FD001.txt --layout cmapss --report fd001.html -o fd001.bundle
    """
    _train("failure", locals())


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
    target_column: Annotated[str | None, typer.Option(help="The measured quality; may have gaps.")] = None,
    target: Annotated[
        Literal["score", "specification", "good", "bad"] | None,
        typer.Option(help="What it says: score, 0 to 100 (default); good or bad, which 1 stands for; specification."),
    ] = None,
    separator: Separator = None,
    time_column: TimeColumn = None,
    time_unit: TimeUnit = None,
    unit_column: UnitColumn = None,
    columns: Columns = None,
    exclude: Exclude = None,
    sample_period_s: Period = None,
    as_json: Json = False,
) -> None:
    """Learn how good the product will be, from what the process looked like when it was measured.

    Example: train quality --data line.csv --target-column quality --report line.html -o line.bundle
    """
    _train("quality", locals())


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


def _train(kind: Kind, options: dict[str, Any]) -> None:
    """`options`: those of the command, by name."""
    out, report, key = options["out"], options["report"], options["key"]
    overrides = {place: options.get(name) for name, place in _KEYS.items()}
    overrides |= {_KEYS[name]: _names(options.get(name)) for name in _LISTS}
    with faults():
        from models.cli_bundle import passphrase  # noqa: PLC0415 - slow to import
        from models.signing import read_private_key  # noqa: PLC0415 - likewise
        from models.training.kit import make  # noqa: PLC0415 - the extra may be missing
        from models.training.recipes import load_recipe  # noqa: PLC0415 - likewise

        page = None if report is None else _page(report)
        for file in filter(None, (out, page)):
            _check_place(file)
        private = None if key is None else read_private_key(key, passphrase(None))
        made = make(load_recipe(kind, options["recipe"], overrides), options["data"], progress, private)
        made.bundle.save(out)
        if page is not None:
            with progress("report"):
                page.write_text(made.report(), encoding="utf-8")
    for note in made.notes:
        sys.stderr.write(f"note: {note}\n")
    for warning in made.warnings:
        sys.stderr.write(f"mind: {warning}\n")
    written(out, made.bundle, as_json=options["as_json"])


def _check_place(file: Path) -> None:
    """Before anything is learnt. Raises OSError where a file cannot be."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.is_dir():
        raise IsADirectoryError(EISDIR, "is a folder; name a file in it", str(file))


def _page(place: Path) -> Path:
    """The report's file, of a file or a folder."""
    return place if place.suffix.lower() in {".html", ".htm"} else place / "report.html"


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]
