"""`tocsin demo`: the command and its summary."""

import json
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from tocsin.demo.app import Summary, run
from tocsin.demo.setup import InfluxTarget
from tocsin.signals import stop_event


def demo(*, for_s: float | None, keep: Path | None, influx: InfluxTarget | None, as_json: bool) -> None:
    """Run it and print the summary. Exit code 1: readings are missing or duplicated."""
    console = None if as_json else Console()
    summary = run(for_s=for_s, folder=keep, influx=influx, stop=stop_event(), console=console)
    if console is None:
        typer.echo(json.dumps(summary._asdict()))
    else:
        console.print(_table(summary))
    if summary.missing or summary.duplicated:
        raise typer.Exit(1)


def _table(summary: Summary) -> Table:
    table = Table(title="Every reading the broker acknowledged, looked up in the store", show_header=False)
    for name, value in summary._asdict().items():
        table.add_row(name.replace("_", " "), "-" if value is None else str(value))
    return table
