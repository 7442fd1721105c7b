"""The aggregator's commands: run it, check its configuration, ask its store questions."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from aggregator import app as aggregator
from aggregator import cli_fleet
from aggregator.cli_common import AsJson, faults
from aggregator.cli_init import downsample, init
from aggregator.cli_query import query
from aggregator.cli_report import report
from aggregator.config import load

app = typer.Typer(
    help="Takes the gateways' batches from the uplink broker, writes them to the store, and answers with receipts.",
    no_args_is_help=True,
)
app.add_typer(query, name="query")
app.command("fleet")(cli_fleet.show)
app.command()(init)
app.command()(downsample)
app.command()(report)


@app.command()
def run(config: Annotated[Path, typer.Argument(help="The TOML file. Try `check` on it first.")]) -> None:
    """Run until SIGTERM or Ctrl-C.

    Exit code 0: stopped as asked; 2: the configuration cannot be used; 1: anything unexpected.
    """
    with faults():
        raise typer.Exit(aggregator.main(load(config)))


@app.command()
def check(
    config: Annotated[Path, typer.Argument(help="The TOML file.")],
    as_json: AsJson = False,
) -> None:
    """Read the configuration and say what it means, defaults included. Starts nothing; secrets are not shown."""
    with faults():
        content = load(config)
    if as_json:
        typer.echo(content.model_dump_json())
        return
    table = Table("key", "value", title=str(config))
    for section, values in content.model_dump(mode="json").items():
        for key, value in values.items():
            table.add_row(f"{section}.{key}", "-" if value is None else str(value))
    Console().print(table)
