"""`./run chaos`: rounds of faults until the time is over, progress on the terminal, a report."""

import asyncio
import shlex
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tests.chaos import report
from tests.chaos.rounds import Outcome, play
from tests.servers import find_binary

_err = Console(stderr=True, highlight=False)


def main(
    minutes: Annotated[float, typer.Option(min=0.1, help="Rounds are begun for so long; the last is finished.")] = 20.0,
    seed: Annotated[int, typer.Option(help="Of the first round; each next one takes the next number.")] = 1,
    round_s: Annotated[float, typer.Option(min=5, help="Seconds of faults in a round.")] = 60.0,
    gap_s: Annotated[float, typer.Option(min=0.1, help="Mean time between two faults.")] = 0.7,
    report_to: Annotated[Path | None, typer.Option("--report", help="Write a Markdown report there.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, for scripts.")] = False,
) -> None:
    """Prove that nothing is lost and nothing comes twice.

    Real processes are killed, the network between them is broken, the gateway's disk fills up and its clock jumps, at
    seeded random moments. At the end of each round the database is compared, row by row, with that of an undisturbed
    run of the same data. Needs mosquitto and influxd; filling the disk needs the right to mount a tmpfs (root).

    The same seed gives the same data and the same faults. Exit codes: 1, the databases differ, or a run could not be
    made; 2, a server is not installed.
    """
    missing = [name for name in ("mosquitto", "influxd", "setpriv") if find_binary(name) is None]
    if missing:
        _err.print(f"not installed: {', '.join(missing)}. As root: apt-get install mosquitto influxdb util-linux")
        raise typer.Exit(2)
    for number in (signal.SIGINT, signal.SIGTERM):  # neither leaves a process or a mount behind
        signal.signal(number, signal.default_int_handler)
    outcomes: list[Outcome] = []
    until_s = time.monotonic() + 60 * minutes
    try:
        while not outcomes or time.monotonic() < until_s:
            outcomes.append(_round(seed + len(outcomes), round_s, gap_s))
    except RuntimeError as error:
        _err.print(str(error), markup=False, soft_wrap=True)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        _err.print("stopped; the round under way does not count")
        if not outcomes:
            raise typer.Exit(130) from None
    totals = report.total(outcomes)
    text = report.to_markdown(totals, shlex.join(["./run", "chaos", *sys.argv[1:]]))
    if report_to is not None:
        report_to.write_text(text, encoding="utf-8")
    if as_json:
        sys.stdout.write(report.to_json(totals) + "\n")
    elif report_to is None:
        sys.stdout.write(text)
    raise typer.Exit(int(not totals.is_identical))


def _round(seed: int, round_s: float, gap_s: float) -> Outcome:
    begin_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tocsin-chaos-") as folder, _err.status(f"seed {seed}: starting") as status:
        outcome = asyncio.run(
            play(Path(folder), seed, round_s, gap_s, lambda text: status.update(f"seed {seed}: {text}"))
        )
    verdict = "[green]identical[/]" if outcome.is_identical else "[red]NOT identical[/]"
    _err.print(
        f"seed {seed}: {outcome.kills.total()} kills, {outcome.faults.total()} other faults, "
        f"{outcome.expected.total():,} rows: {verdict} "
        f"({outcome.missing} missing, {outcome.extra} duplicated, {outcome.different} different); "
        f"longest recovery {max(outcome.recoveries).total_s:.1f} s, round {time.monotonic() - begin_s:.0f} s"
    )
    if not outcome.is_disk_small:
        _err.print(report.NO_SMALL_DISK)
    if outcome.ended:
        _err.print(f"  ended by themselves: {dict(outcome.ended)}")
    if outcome.errors:
        _err.print(f"  errors in the logs: {dict(outcome.errors)}", markup=False)
    if outcome.story:
        _err.print(outcome.story, markup=False, soft_wrap=True)
    return outcome


if __name__ == "__main__":
    app = typer.Typer(add_completion=False)
    app.command()(main)
    app(prog_name="./run chaos")
