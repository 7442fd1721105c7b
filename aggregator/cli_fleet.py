"""`tocsin aggregator fleet`: which gateways are alive, since when, what they run, and how they are."""

import asyncio
import time
from typing import Annotated

import msgspec
import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aggregator.adapters.states import read_states
from aggregator.adapters.stores import open_reader
from aggregator.cli_common import AsJson, Config, faults, since_ns
from aggregator.config import AggregatorConfig, load
from aggregator.core.fleet import Gateway, Life, Member, fleet, summary
from aggregator.core.report.words import plain
from aggregator.core.select import Select
from aggregator.core.views import Row
from aggregator.ports import RetryLater, StoreMisconfigured
from models.contract.state import State

_WIDE = 110  # from so many columns on, what a gateway runs is shown as well
_COLOURS = {Life.OFFLINE: "red", Life.SILENT: "red", Life.STOPPED: "yellow", Life.ALIVE: "green"}
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"))
_DIGEST = 8  # characters of a digest that tell it apart


def show(
    config: Config,
    as_json: AsJson = False,
    stale_after: Annotated[
        str, typer.Option(help="How old the last heartbeat may be; a gateway sends one every 10 to 30 s.")
    ] = "60s",
    site: Annotated[str | None, typer.Option(help="Only the gateways of this site.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="The table shows the worst of them, so many; 0 = all.")] = 100,
) -> None:
    """Every gateway, the worst first: is it alive, what does it run, is it behind, has it lost anything.

    offline: it died, or its line is cut; silent: no heartbeat of it reaches the store; stopped: it said goodbye.

    Exit code 0; 1 when the broker or the store could not be asked: what the other one knows is shown.
    """
    now_ns = time.time_ns()
    stale_s = (now_ns - since_ns(stale_after, now_ns)) / 1e9
    if stale_s <= 0:
        raise typer.BadParameter(f"--stale-after {stale_after}: a span such as 60s or 5m is needed")
    missing: list[str] = []
    with faults():
        content = load(config)
        heartbeats = _heartbeats(content, site, missing)
        states = _states(content, heartbeats or [], missing)
    members = [one for one in fleet(states, heartbeats, now_ns, stale_s) if site in {None, one.site}]
    for text in missing:
        typer.echo(text, err=True)
    if as_json:
        gateways = [one._asdict() for one in members]
        typer.echo(msgspec.json.encode({"now_ns": now_ns, "missing": missing, "gateways": gateways}))
    else:
        _print(members, now_ns, limit)
    raise typer.Exit(1 if missing else 0)


def _states(config: AggregatorConfig, heartbeats: list[Row], missing: list[str]) -> dict[Gateway, State] | None:
    names = [(str(row["site"]), str(row["gateway"])) for row in heartbeats]
    try:
        states = asyncio.run(read_states(config.broker, names))
    except OSError as error:
        where = f"{config.broker.host}:{config.broker.port}"
        missing.append(
            f"the broker {where} cannot be asked who is connected and what it runs: {error}; "
            "alive means here only that the last heartbeat is younger than --stale-after"
        )
        return None
    if states.unreadable:
        example = "/".join(min(states.unreadable))
        missing.append(f"{len(states.unreadable)} retained states cannot be read, that of {example} for one")
    return states.known


def _heartbeats(config: AggregatorConfig, site: str | None, missing: list[str]) -> list[Row] | None:
    tags = {} if site is None else {"site": site}
    try:
        reader = open_reader(config.store)
        try:
            return reader.select(Select("gateway", tags=tags, newest=1))
        finally:
            reader.close()
    except (RetryLater, StoreMisconfigured) as error:
        missing.append(f"the store cannot be asked for heartbeats; lag, backlog and losses are not known: {error}")
        return None


def _print(members: list[Member], now_ns: int, limit: int) -> None:
    if not members:
        typer.echo("no gateway is known: neither a retained state on the broker nor a heartbeat in the store")
        return
    console = Console()
    counts = ", ".join(f"{count} {life}" for life, count in summary(members).items() if count)
    console.print(f"{len(members)} gateway{'s' * (len(members) != 1)}: {counts}")
    shown = members[: limit or None]
    console.print(_table(shown, now_ns, is_wide=console.width >= _WIDE))
    if len(shown) < len(members):
        console.print(f"the worst {len(shown)}; --limit 0 shows all")


def _table(members: list[Member], now_ns: int, *, is_wide: bool) -> Table:
    sites = {one.site for one in members}
    table = Table(title=f"site {members[0].site}" if len(sites) == 1 else None, box=box.SIMPLE_HEAD)
    table.add_column("gateway", overflow="fold")
    table.add_column("state", no_wrap=True)
    for name in ("since", "lag", "backlog", "dead", "lost"):
        table.add_column(name, no_wrap=True, justify="right")
    table.add_column("provider", overflow="fold")
    for name in ("version", "models", "config", "remarks") if is_wide else ():
        table.add_column(name, overflow="fold")
    for one in members:
        cells: list[str | Text] = [
            one.gateway if len(sites) == 1 else f"{one.site}/{one.gateway}",
            Text(one.life, _COLOURS[one.life]),
            "-" if one.since_ns is None else _span((now_ns - one.since_ns) / 1e9),
            "-" if (lag_s := one.said["lag_s"]) is None else _span(lag_s),
            *(_count(number) for number in map(one.said.get, ("backlog_batches", "deadletters_total", "lost_total"))),
            Text(plain(", ".join(one.providers)) or "-", "red" if one.is_provider_first is False else ""),
        ]
        if is_wide:
            models = ", ".join(f"{model.name} {model.version}" for model in one.models)
            digest = (one.config_digest or "-")[:_DIGEST]
            cells += [one.version or "-", models or "-", digest, "; ".join(one.warnings)]
        # a name as text: rich would obey what looks like its markup
        table.add_row(*(cell if isinstance(cell, Text) else Text(plain(cell)) for cell in cells))
    return table


def _span(seconds: float) -> str:
    """'12s', '4m', '3h', '5d'."""
    for length_s, unit in _UNITS:
        if seconds >= length_s:
            return f"{int(seconds // length_s)}{unit}"
    return f"{max(0.0, seconds):.0f}s"


def _count(number: float | None) -> str:
    return "-" if number is None else f"{number:.0f}"
