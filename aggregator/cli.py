"""The aggregator's commands: run it, check its configuration, ask its store questions."""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from aggregator import app as aggregator
from aggregator.config import load
from aggregator.core.validate import MAX_TIME_NS
from aggregator.core.views import Row
from aggregator.ports import Reader, RetryLater, StoreMisconfigured
from models.contract.config_errors import ConfigError
from models.contract.quality import label

app = typer.Typer(
    help="Takes the gateways' batches from the uplink broker, writes them to the store, and answers with receipts.",
    no_args_is_help=True,
)
query = typer.Typer(
    help="Questions to the store. Works with each kind of store, and while the aggregator runs.", no_args_is_help=True
)
app.add_typer(query, name="query")

Config = Annotated[Path, typer.Option("--config", "-c", help="The aggregator's TOML file; its [store] is asked.")]
Asset = Annotated[str | None, typer.Option(help="Only this machine, for example pump-7.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON for programs: times in ns since 1970, no value = null.")]

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_TIMES = {"time", "since"}


@app.command()
def run(config: Annotated[Path, typer.Argument(help="The TOML file. Try `check` on it first.")]) -> None:
    """Run until SIGTERM or Ctrl-C.

    Exit code 0: stopped as asked; 2: the configuration cannot be used; 1: anything unexpected.
    """
    with _faults():
        raise typer.Exit(aggregator.main(load(config)))


@app.command()
def check(
    config: Annotated[Path, typer.Argument(help="The TOML file.")],
    as_json: AsJson = False,
) -> None:
    """Read the configuration and say what it means, defaults included. Starts nothing; secrets are not shown."""
    with _faults():
        content = load(config)
    if as_json:
        typer.echo(content.model_dump_json())
        return
    table = Table("key", "value", title=str(config))
    for section, values in content.model_dump(mode="json").items():
        for key, value in values.items():
            table.add_row(f"{section}.{key}", "-" if value is None else str(value))
    Console().print(table)


@query.command()
def latest(config: Config, asset: Asset = None, as_json: AsJson = False) -> None:
    """The newest reading of each channel, with its quality."""
    _ask(config, lambda reader: reader.latest(asset), as_json=as_json)


@query.command()
def health(config: Config, asset: Asset = None, *, as_json: AsJson = False) -> None:
    """The newest judgement of each model on each machine, the worst first."""
    _ask(config, lambda reader: _of(asset, reader.health()), as_json=as_json)


@query.command()
def alarms(
    config: Config,
    asset: Asset = None,
    open_only: Annotated[bool, typer.Option("--open/--all", help="Open alarms only, or closed ones as well.")] = True,
    as_json: AsJson = False,
) -> None:
    """The state of each alarm, since when, and why."""
    _ask(config, lambda reader: _of(asset, reader.alarms(open_only=open_only)), as_json=as_json)


@query.command()
def series(
    config: Config,
    asset: Annotated[str, typer.Option(help="The machine, for example pump-7.")],
    channel: Annotated[str, typer.Option(help="A channel, or a field of the models: health, anomaly_score, …")],
    since: Annotated[
        str, typer.Option(help="How far back (90s, 30m, 1h, 7d), or an ISO time such as 2026-01-31.")
    ] = "1h",
    limit: Annotated[int, typer.Option(min=1, help="At most this many rows, the newest.")] = 1000,
    *,
    as_json: AsJson = False,
) -> None:
    """One channel's readings, or one output of the models, over time."""
    since_ns = _since_ns(since, time.time_ns())
    _ask(config, lambda reader: reader.series(asset, channel, since_ns, MAX_TIME_NS, limit), as_json=as_json)


def _of(asset: str | None, rows: list[Row]) -> list[Row]:
    return [row for row in rows if asset in {None, row["asset"]}]


def _ask(config: Path, question: Callable[[Reader], list[Row]], *, as_json: bool) -> None:
    with _faults():
        reader = aggregator.open_reader(load(config))
        try:
            rows = question(reader)
        finally:
            reader.close()
    if as_json:
        typer.echo(json.dumps(rows))
        return
    if not rows:
        typer.echo("nothing found: `query latest` shows which assets and channels there are")
        return
    Console().print(_table(rows))


def _table(rows: list[Row]) -> Table:
    """For people, in 80 columns: a site that is the same in all rows stands above them."""
    sites = {row.get("site") for row in rows}
    left_out = {"site"} if len(sites) == 1 else set()
    table = Table(title=f"site {rows[0]['site']}" if left_out and rows[0].get("site") else None, box=box.SIMPLE_HEAD)
    columns = [column for column in rows[0] if column not in left_out]
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in _TIMES)
    for row in rows:
        table.add_row(*(_cell(column, row[column]) for column in columns))
    return table


def _cell(column: str, cell: str | float | None) -> str:
    if cell is None or isinstance(cell, str):
        return cell or "-"
    if column in _TIMES:
        return datetime.fromtimestamp(cell / 1e9, UTC).isoformat(" ", timespec="seconds").removesuffix("+00:00")
    if column == "quality":
        return label(cell)
    return ("yes" if cell else "no") if column == "is_open" else f"{cell:g}"


def _since_ns(text: str, now_ns: int) -> int:
    """A span back from now, or a time (UTC unless it says otherwise), in ns since 1970."""
    if span := re.fullmatch(r"(\d+)([smhdw])", text):
        return now_ns - int(span[1]) * _UNITS_S[span[2]] * 1_000_000_000
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        msg = f"{text!r} is neither a span such as 90s, 30m, 1h, 7d nor an ISO time such as 2026-01-31T12:00"
        raise typer.BadParameter(msg, param_hint="--since") from error
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000_000) * 1000


@contextmanager
def _faults() -> Iterator[None]:
    """Expected faults as one clear line each, with the exit code that says which."""
    try:
        yield
    except ConfigError as error:
        _fail(str(error), 2)
    except (RetryLater, StoreMisconfigured) as error:
        _fail(f"the store does not answer as it should: {error}", 1)


def _fail(text: str, code: int) -> None:
    typer.echo(text, err=True)
    raise typer.Exit(code)
