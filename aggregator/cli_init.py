"""`tocsin aggregator init` and `downsample`: set the store up, and compute its one-minute means again."""

import json
import textwrap
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from aggregator import app as aggregator
from aggregator.cli_common import AsJson, fail, faults, since_ns
from aggregator.config import load
from aggregator.core.minutes import MINUTE_NS
from aggregator.ports import RetryLater, Step, StoreMisconfigured

_DAY_NS = 86_400_000_000_000

File = Annotated[Path, typer.Argument(help="The aggregator's TOML file; its tables store and retention count.")]


def init(
    config: File,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the steps and change nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Create what the store needs: database, retention, one-minute means. Doing it again changes nothing.

    After a change of the retention, run it again. Shorter times delete what is older; `--dry-run` says so before.
    """
    with faults(), closing(aggregator.open_keeper(load(config))) as keeper:
        steps = keeper.plan()
        for step in steps:
            if not as_json:
                _show(step, dry_run=dry_run)
            if not step.is_done and not dry_run:
                keeper.apply(step)
        has_changed = not dry_run and not all(step.is_done for step in steps)
        if has_changed:
            steps = keeper.plan()
        if as_json:
            typer.echo(json.dumps([step._asdict() for step in steps], ensure_ascii=False))
        missing = [step.what for step in steps if not step.is_done and not dry_run]
        if missing:
            fail(f"the store took each step, but these are not to be seen: {'; '.join(missing)}", 1)
        if has_changed and not as_json:
            typer.echo("all done")


def downsample(
    config: File,
    since: Annotated[
        str,
        typer.Option(help="From when on: a span back from now (90s, 30m, 1h, 7d), or an ISO time such as 2026-01-31."),
    ] = "1d",
    until: Annotated[str | None, typer.Option(help="Until when, likewise; at most the last full minute.")] = None,
) -> None:
    """Compute the one-minute means again, from what came late too. Doing it again changes nothing.

    The database computes the means of the last hour by itself. Gateways that were cut off for longer deliver readings
    of before that: run this once they are back. InfluxDB 3 and SQLite compute none by themselves: run it by a timer.
    """
    now_ns = time.time_ns()
    begin_ns, end_ns = max(since_ns(since, now_ns), 0), now_ns - now_ns % MINUTE_NS
    if until is not None:
        end_ns = min(since_ns(until, now_ns), end_ns)
    if begin_ns >= end_ns:
        raise typer.BadParameter(f"there is no time between --since {since} and --until {until or 'now'}")
    with faults(), closing(aggregator.open_keeper(load(config))) as keeper:
        for start, end in _days(begin_ns, end_ns):
            try:
                keeper.downsample(start, end)
            except (RetryLater, StoreMisconfigured):
                typer.echo(f"go on with: --since {_moment(start)}", err=True)
                raise
            typer.echo(f"{_moment(start)} to {_moment(end)}: computed")


def _show(step: Step, *, dry_run: bool) -> None:
    typer.echo(f"{'done already' if step.is_done else 'to do' if dry_run else 'doing'}: {step.what}")
    if not step.is_done:
        typer.echo(textwrap.indent(step.statement, "    "))


def _days(begin_ns: int, end_ns: int) -> Iterator[tuple[int, int]]:
    """By days of UTC."""
    while begin_ns < end_ns:
        next_ns = min(begin_ns - begin_ns % _DAY_NS + _DAY_NS, end_ns)
        yield begin_ns, next_ns
        begin_ns = next_ns


def _moment(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).isoformat().removesuffix("+00:00")
