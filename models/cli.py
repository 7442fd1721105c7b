"""The commands of the model kit: look into a bundle, train one, and score the kit on public benchmarks."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table as Sheet

from models.bundle import Bundle, BundleError, Channel, read_bundle
from models.contract.topics import is_channel_name
from models.training.table import DataError, read_table

app = typer.Typer(no_args_is_help=True, help="Inspect, train and evaluate models.")
train = typer.Typer(no_args_is_help=True, help="Fit a model and write it as a bundle that an agent can run.")
evaluate = typer.Typer(no_args_is_help=True, help="Score the kit on public benchmarks, one setting for all files.")
app.add_typer(train, name="train")
app.add_typer(evaluate, name="evaluate")

Out = Annotated[Path, typer.Option("--out", "-o", help="The bundle to write, such as pump.bundle.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document for scripts.")]
Version = Annotated[str, typer.Option(help="Travels with every result, so that models can be told apart.")]


@app.command()
def inspect(file: Annotated[Path, typer.Argument(help="A .bundle file.")], as_json: Json = False) -> None:
    """Show what a bundle holds: its manifest, digest, size, and the inputs and outputs of its graph."""
    with _faults():
        bundle = read_bundle(file)
        manifest = bundle.manifest
        facts = manifest.model_dump(mode="json") | {"bytes": file.stat().st_size, "graph": _graph(bundle)}
    if as_json:
        sys.stdout.write(json.dumps(facts, indent=2) + "\n")
        return
    limit = manifest.threshold
    side = "above" if limit.above else "below"
    _sheet(
        f"{manifest.name} {manifest.version}",
        {
            "kind": manifest.kind,
            "channels": ", ".join(
                f"{each.name} [{each.unit}]" if each.unit else each.name for each in manifest.channels
            ),
            "window": f"{manifest.window} frames of {manifest.sample_period_s:g} s, a new one every {manifest.stride}",
            "outputs": ", ".join(manifest.outputs),
            "alarm": f"opens when {limit.output} is {side} {limit.open_at:g} for {limit.open_after} windows, "
            f"closes at {limit.close_at:g} after {limit.close_after}",
            "trained on": manifest.trained_on,
            "evaluation": ", ".join(f"{key} {value:.4g}" for key, value in manifest.evaluation.items()),
            "graph": json.dumps(facts["graph"]) if facts["graph"] else "not shown: needs tocsin[cpu] or tocsin[gpu]",
            "size": f"{facts['bytes']:,} bytes",
            "SHA-256": manifest.digest,
        },
    )


@train.command()
def anomaly(
    *,
    data: Annotated[Path, typer.Option(help="A CSV file with a header; rows in order of time, one a sample period.")],
    out: Out,
    separator: Annotated[str, typer.Option(help="Between values; a blank stands for any run of blanks.")] = ",",
    time_column: Annotated[str | None, typer.Option(help="A column of times, which is no input.")] = None,
    columns: Annotated[str | None, typer.Option(help="Inputs in order, a,b,c. Default: every numeric column.")] = None,
    exclude: Annotated[str, typer.Option(help="Columns to leave out of that default, such as labels.")] = "",
    rows: Annotated[int, typer.Option(min=3, help="Fit on the first rows; the machine must be well in them.")] = 400,
    window: Annotated[int, typer.Option(min=1, help="Frames averaged: more hides noise, and delays the alarm.")] = 10,
    sample_period_s: Annotated[float, typer.Option(help="Seconds from one row to the next.")] = 1.0,
    name: Annotated[str, typer.Option(help="The model's name in results.")] = "anomaly",
    version: Version = "1",
    as_json: Json = False,
) -> None:
    """Learn what normal looks like, from rows in which nothing was wrong.

    The model is a principal component analysis with T² and Q limits; its anomaly_score is 1 at the alarm limit.

    Example: train anomaly --data pump.csv --separator ';' --time-column datetime
    --exclude anomaly,changepoint -o pump.bundle
    """
    with _faults():
        from models.training.pca import fit_pca  # noqa: PLC0415 - the extra may be missing
        from models.training.pca_export import write_pca_bundle  # noqa: PLC0415 - likewise

        table = read_table(
            data,
            separator=separator,
            time_column=time_column,
            columns=columns.split(",") if columns else None,
            exclude=exclude.split(","),
        )
        frames = table.values[:rows]
        manifest = write_pca_bundle(
            out,
            fit_pca(frames, window=window),
            frames,
            _channels(table.columns),
            name=name,
            version=version,
            sample_period_s=sample_period_s,
            trained_on=f"the first {len(frames)} rows of {data.name}",
        )
    _written(out, manifest.model_dump(mode="json"), as_json=as_json)


def _channels(columns: tuple[str, ...]) -> list[Channel]:
    """Columns are channels under their own names, as in `tocsin edge replay`. Raises DataError."""
    for name in columns:
        if not is_channel_name(name):
            msg = f"column {name!r} is no name of a channel: 1 to 500 characters that can be printed are allowed"
            raise DataError(msg)
    return [Channel(name=name) for name in columns]


@train.command()
def failure(
    *,
    data: Annotated[Path, typer.Option(help="Runs to failure, such as train_FD001.txt of C-MAPSS.")],
    out: Out,
    layout: Annotated[
        str, typer.Option(help="cmapss: unit, cycle, 3 settings, 21 sensors, blanks between.")
    ] = "cmapss",
    name: Annotated[str, typer.Option(help="The model's name in results.")] = "remaining-life",
    version: Version = "1",
    seed: Annotated[int, typer.Option(help="The same seed and data give the same bytes.")] = 0,
    as_json: Json = False,
) -> None:
    """Learn how long a machine will last, from machines that ran until they failed. One cycle counts as one hour."""
    with _faults():
        from models.training.fleet import CHANNELS, SETTINGS, read_fleet  # noqa: PLC0415 - the extra may be missing
        from models.training.rul import fit_rul  # noqa: PLC0415 - likewise
        from models.training.rul_export import write_rul_bundle  # noqa: PLC0415 - likewise

        if layout != "cmapss":
            msg = f"layout {layout!r}: allowed is cmapss"
            raise DataError(msg)
        fleet = read_fleet(data)
        with _progress("fitting") as advance:
            model = fit_rul(fleet.units, settings=SETTINGS, seed=seed, advance=advance)
        manifest = write_rul_bundle(
            out,
            model,
            [CHANNELS[at] for at in model.kept],
            name=name,
            version=version,
            trained_on=f"{len(fleet.units)} units of {data.name}",
        )
    _written(out, manifest.model_dump(mode="json"), as_json=as_json)


@evaluate.command("skab")
def evaluate_skab(
    data: Annotated[Path, typer.Option(help="The folder of SKAB that holds valve1/, other/ and so on.")],
    out: Annotated[Path, typer.Option(help="Where to write a CSV file of verdicts for each file.")],
    as_json: Json = False,
) -> None:
    """Anomaly detection on a pump rig: fit on the first 400 rows of each file, judge the rest without looking ahead."""
    with _faults():
        from models.evaluation import skab  # noqa: PLC0415 - the extra may be missing

        with _progress("files") as advance:
            verdicts = skab.evaluate(data, out, advance)
    _figures("SKAB", verdicts._asdict(), as_json=as_json)


@evaluate.command("cmapss")
def evaluate_cmapss(
    data: Annotated[Path, typer.Option(help="The folder with train_FD00x.txt, test_FD00x.txt and RUL_FD00x.txt.")],
    out: Annotated[Path, typer.Option(help="Where to write FD00x.csv, a predicted life for each test unit.")],
    as_json: Json = False,
) -> None:
    """Remaining life of turbofans: train on each subset, predict at the last cycle of each test unit."""
    with _faults():
        from models.evaluation import cmapss  # noqa: PLC0415 - the extra may be missing

        with _progress("subsets") as advance:
            results = cmapss.evaluate(data, out, advance)
    if as_json:
        sys.stdout.write(json.dumps([each._asdict() for each in results], indent=2) + "\n")
        return
    for each in results:
        _figures(each.subset, each._asdict(), as_json=False)


@contextmanager
def _faults() -> Iterator[None]:
    """Whatever the user can mend is one line on stderr and exit status 2."""
    try:
        yield
    except (DataError, BundleError) as error:
        _fail(str(error))
    except ValidationError as error:
        _fail("; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()))
    except ModuleNotFoundError as error:
        _fail(f"{error.name} is missing: training needs the extra, pip install 'tocsin[train]'")
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}")


def _fail(text: str) -> NoReturn:
    sys.stderr.write(" ".join(text.split()) + "\n")
    raise typer.Exit(2)


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr, when that is a terminal; call it with how many are done, of how many."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _graph(bundle: Bundle) -> dict[str, dict[str, list[int | str]]] | None:
    """Names and shapes at both ends of the graph, as ONNX Runtime sees them; None where it is not installed."""
    try:
        import onnxruntime  # noqa: PLC0415 - inspecting works without it
    except ModuleNotFoundError:
        return None
    try:
        session = onnxruntime.InferenceSession(bundle.model, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own exceptions share no other base
        msg = f"{bundle.manifest.name}: ONNX Runtime refuses the graph: {error}"
        raise BundleError(msg) from error
    ends = {"inputs": session.get_inputs(), "outputs": session.get_outputs()}
    return {end: {node.name: list(node.shape) for node in nodes} for end, nodes in ends.items()}


def _written(out: Path, manifest: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(manifest | {"file": str(out), "bytes": out.stat().st_size}, indent=2) + "\n")
        return
    figures = {"file": out, "bytes": out.stat().st_size, "SHA-256": manifest["digest"]} | manifest["evaluation"]
    _figures(f"{manifest['name']} {manifest['version']}", figures, as_json=False)


def _figures(title: str, figures: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(figures, indent=2) + "\n")
        return
    text = {key: f"{value:.4g}" if isinstance(value, float) else str(value) for key, value in figures.items()}
    _sheet(title, {key: value for key, value in text.items() if value != "None"})


def _sheet(title: str, rows: dict[str, str]) -> None:
    sheet = Sheet(title=title, show_header=False, title_justify="left")
    sheet.add_column(no_wrap=True)
    sheet.add_column(overflow="fold")
    for key, value in rows.items():
        sheet.add_row(key.replace("_", " "), value)
    Console().print(sheet)
