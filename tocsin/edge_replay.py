"""`tocsin edge replay`: recorded data through the agent's own pipeline, results to a file."""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from edge_agent import logs
from edge_agent.config import EdgeConfig, Log, load
from edge_agent.core.errors import StartError
from edge_agent.core.intake import Message
from models.bundle import BundleError
from models.contract import batch as contract
from models.contract.config_errors import ConfigError
from tocsin.errors import UserError
from tocsin.plant.messages import packed
from tocsin.plant.table import Layout, TimeUnit, parse_iso_ns, read_table

_COLUMNS = ("measurement", "time_ns", "asset", "name", "field", "value")


def replay(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The agent's TOML file.")],
    file: Annotated[Path | None, typer.Argument(metavar="[CSV]", help="Default: the journal of CONFIG.")] = None,
    *,
    out: Annotated[Path | None, typer.Option(help="CSV for the results, one row a value.")] = None,
    separator: Annotated[str, typer.Option(help="One character, or: comma, semicolon, tab, space.")] = ",",
    columns: Annotated[str, typer.Option(help="Names a,b,c, when the file has no header.")] = "",
    time_column: Annotated[str, typer.Option(help="Default: the first.")] = "",
    time_unit: Annotated[TimeUnit, typer.Option(help="iso, or what a number counts.")] = "iso",
    start: Annotated[str, typer.Option(help="ISO 8601 time that numbers count from.")] = "1970-01-01T00:00:00Z",
    asset: Annotated[str, typer.Option(help="The asset's name.")] = "replay",
    asset_column: Annotated[str, typer.Option(help="The column that names the asset instead.")] = "",
    asset_prefix: Annotated[str, typer.Option(help="Put before the asset's name.")] = "",
    exclude: Annotated[str, typer.Option(help="Columns a,b,c to leave out.")] = "",
    topic: Annotated[str, typer.Option(help="Where rows come from; default: a template of CONFIG.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")] = False,
) -> None:
    """Run the pipeline of CONFIG over a CSV or over the agent's journal, without any broker.

    The numbers are those that the live agent gives for the same readings.
    """
    from edge_agent.replay import Replay  # noqa: PLC0415 - ONNX Runtime only where it is used

    logs.set_up(Log(level="warning", format="console"))  # on stderr: stdout is for the summary
    try:
        settings = load(config)
        run = Replay(settings)
        if file is None:
            batches = run.of_journal()
        else:
            layout = Layout(
                separator=separator,
                columns=tuple(filter(None, columns.split(","))),
                time_column=time_column,
                time_unit=time_unit,
                start_ns=parse_iso_ns(start),
                asset=asset,
                asset_column=asset_column,
                asset_prefix=asset_prefix,
                exclude=tuple(filter(None, exclude.split(","))),
            )
            fitting = topic or _packed_topic(settings)
            batches = run.of_messages(_messages(file, layout, fitting))
        summary = _write(batches, out) | {"deadletters": len(run.deadletters)}
    except OSError as error:
        typer.echo(f"{error.filename}: cannot be read: {error.strerror}", err=True)
        raise typer.Exit(2) from error
    except (ConfigError, BundleError, UserError, ValueError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    except StartError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(3) from error
    if as_json:
        typer.echo(json.dumps(summary))
    else:
        typer.echo("  ".join(f"{name} {count}" for name, count in summary.items()))
        for text in sorted(set(run.deadletters))[:5]:
            typer.echo(f"set aside: {text}", err=True)
        if summary["readings"] and not summary["inferences"]:
            typer.echo("no score: no rule of `assets` with a model fits the asset, or a channel is missing", err=True)


def _packed_topic(settings: EdgeConfig) -> str:
    """A topic that CONFIG reads: of a JSON template without {channel} if there is one. Raises UserError."""
    plain = [topic for topic in settings.topics if (topic.format, topic.compression) == ("json", "none")]
    templates = [topic.template for topic in plain if "{channel}" not in topic.template]
    if not templates:
        msg = "no JSON template in `topics` is without {channel} (allowed: add one, such as 'factory/{line}/{asset}')"
        raise UserError(msg)
    return re.sub(r"\{(?!asset\})[a-z_]+\}", "replay", templates[0])


def _messages(file: Path, layout: Layout, topic: str) -> Iterator[Message]:
    """Each line as one message that arrives at its own time."""
    if topic.count("{") != 1 or "{asset}" not in topic:
        msg = f"topic {topic!r} (allowed: a topic with {{asset}} in it, and no other name in braces)"
        raise UserError(msg)
    with file.open(encoding="utf-8") as lines:
        for rows in read_table(lines, layout, str(file)):
            if rows:
                message = packed(topic.format(asset=rows[0].asset), rows)
                yield Message(message.topic, message.payload, rows[0].time_ns)


def _write(batches: Iterator[contract.Batch], out: Path | None) -> dict[str, int]:
    counts = {"readings": 0, "inferences": 0, "alarms": 0}
    progress = Progress(
        SpinnerColumn(), TextColumn("{task.completed} results"), TimeElapsedColumn(), console=Console(stderr=True)
    )
    with progress, (out or Path("/dev/null")).open("w", encoding="utf-8", newline="") as file:
        writer, task = csv.writer(file), progress.add_task("replay", total=None)
        writer.writerow(_COLUMNS)
        for batch in batches:
            counts["readings"] += len(batch.readings.index) // 4
            counts["inferences"] += len(batch.inferences.index) // 4
            counts["alarms"] += len(batch.alarms)
            if out is not None:
                writer.writerows(_rows(batch))
            progress.advance(task, contract.rows(batch))
    return counts


def _rows(batch: contract.Batch) -> Iterator[tuple[Any, ...]]:
    readings, inferences = batch.readings, batch.inferences
    for name in ("value", "denoised"):
        column = contract.floats(getattr(readings, name))
        times = contract.ints(readings.time_ns)
        for at, time_ns, value in zip(contract.indices(readings.index), times, column, strict=True):
            yield "reading", time_ns, *readings.series[at], name, value
    for name, data in inferences.fields.items():
        times = contract.ints(inferences.time_ns)
        for at, time_ns, value in zip(contract.indices(inferences.index), times, contract.floats(data), strict=True):
            asset, model, _ = inferences.series[at]
            yield "inference", time_ns, asset, model, name, value
    for alarm in batch.alarms:
        yield "alarm", alarm.time_ns, alarm.asset, alarm.code, "is_open", float(alarm.is_open)
