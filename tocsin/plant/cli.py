"""`tocsin plant`: simulated and recorded machines, over MQTT."""

import json
import math
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tocsin.errors import UserError
from tocsin.plant.publisher import Broker, Protocol
from tocsin.plant.table import Layout
from tocsin.replaying.options import with_layout
from tocsin.signals import stop_event

PASSWORD_VARIABLE = "TOCSIN_BROKER_PASSWORD"  # noqa: S105 - the variable's name, no password

app = typer.Typer(no_args_is_help=True, help="Simulate machines, or replay recorded ones, over MQTT.")

Host = Annotated[str, typer.Option(help="The MQTT broker.")]
Port = Annotated[int, typer.Option(min=1, max=65535)]
MqttVersion = Annotated[Protocol, typer.Option("--protocol", help="MQTT version.")]
Username = Annotated[str | None, typer.Option(help=f"The password comes from {PASSWORD_VARIABLE} or --password-file.")]
PasswordFile = Annotated[Path | None, typer.Option()]
AsJson = Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")]


@app.command()
def simulate(
    *,
    host: Host = "127.0.0.1",
    port: Port = 1883,
    protocol: MqttVersion = "5",
    username: Username = None,
    password_file: PasswordFile = None,
    rate_hz: Annotated[float, typer.Option("--rate", min=0.1, max=100, help="Readings per second and channel.")] = 4.0,
    for_s: Annotated[float | None, typer.Option("--for", min=0, help="Seconds; else until SIGTERM or Ctrl-C.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same machines.")] = 0,
    healthy: Annotated[bool, typer.Option("--healthy", help="No faults.")] = False,
    ledger: Annotated[Path | None, typer.Option(help="CSV of what the broker acknowledged.")] = None,
    as_json: AsJson = False,
) -> None:
    """Twelve machines, four of which begin to fail after a few seconds. Exit code 1: something was not acknowledged."""
    from tocsin.plant.faults import DEMO_SCHEDULE  # noqa: PLC0415 - numpy only where it is used: --help stays quick
    from tocsin.plant.simulate import simulate as run  # noqa: PLC0415 - as above

    summary = run(
        _broker(host, port, protocol, username, password_file),
        () if healthy else DEMO_SCHEDULE,
        seed=seed,
        rate_hz=rate_hz,
        for_s=for_s,
        ledger=ledger,
        stop=stop_event(),
    )
    if as_json:
        typer.echo(json.dumps(summary._asdict()))
    else:
        typer.echo(f"{summary.published} readings published, {summary.unacknowledged} messages without acknowledgement")
    if summary.unacknowledged:
        raise typer.Exit(1)


@app.command()
@with_layout
def replay(
    file: Annotated[Path, typer.Argument(help="A CSV file, UTF-8.")],
    *,
    host: Host = "127.0.0.1",
    port: Port = 1883,
    protocol: MqttVersion = "5",
    username: Username = None,
    password_file: PasswordFile = None,
    layout: Layout,
    topic: Annotated[str, typer.Option(help="Template; default factory/replay/{asset}/{channel}.")] = "",
    pack: Annotated[
        bool, typer.Option("--pack", help="One message a line, to factory/replay/{asset}; names stay as they are.")
    ] = False,
    speed: Annotated[
        str, typer.Option(help="1 = as recorded, 10 = ten times; max = as fast as the broker takes it.")
    ] = "1",
    as_json: AsJson = False,
) -> None:
    """Publish a recorded CSV file, each cell as one reading."""
    from tocsin.plant.replay import PACKED_TOPIC, TOPIC, count_lines  # noqa: PLC0415 - --help stays quick
    from tocsin.plant.replay import replay as run  # noqa: PLC0415 - as above

    broker, factor = _broker(host, port, protocol, username, password_file), _speed(speed)
    bar = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*bar, console=Console(stderr=True)) as progress:
        task = progress.add_task(file.name, total=max(count_lines(file) - (not layout.columns), 0))
        summary = run(
            file,
            layout,
            broker,
            topic=topic or (PACKED_TOPIC if pack else TOPIC),
            pack=pack,
            speed=factor,
            stop=stop_event(),
            on_line=lambda: progress.advance(task),
        )
    if as_json:
        typer.echo(json.dumps(summary._asdict()))
    else:
        typer.echo(f"{summary.published} readings of {summary.rows} lines published in {summary.seconds:.1f} s")


def _broker(host: str, port: int, protocol: Protocol, username: str | None, password_file: Path | None) -> Broker:
    password = os.environ.get(PASSWORD_VARIABLE)
    if password is None and password_file is not None:
        try:
            password = password_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            msg = f"--password-file {password_file}: cannot be read: {error.strerror}"
            raise UserError(msg) from error
    return Broker(host, port, protocol, username, password if username else None)


def _speed(text: str) -> float:
    try:
        speed = 0.0 if text == "max" else float(text)
    except ValueError:
        speed = math.nan
    if not 0 <= speed < math.inf:
        msg = f"--speed {text!r} (allowed: max, or a number from 0; 1 is as recorded, 0 is max)"
        raise UserError(msg)
    return speed
