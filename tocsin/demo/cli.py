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
    if console and not console.is_terminal:  # which shows a live picture
        span = "until Ctrl-C" if for_s is None else f"for {for_s:g} s"
        console.print(f"The plant runs {span}; then every reading is looked up in the store.")
    summary = run(for_s=for_s, folder=keep, influx=influx, stop=stop_event(), console=console)
    if console is None:
        typer.echo(json.dumps(summary._asdict()))
    else:
        console.print("Every reading the broker acknowledged, looked up in the store:")
        console.print(_table(summary))
    if summary.missing or summary.duplicated:
        raise typer.Exit(1)


def _table(summary: Summary) -> Table:
    table = Table(show_header=False)
    for name, value in summary._asdict().items():
        table.add_row(name.replace("_", " "), "-" if value is None else str(value))
    return table
