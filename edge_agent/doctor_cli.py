"""The command `tocsin edge doctor`: hear what is there before anything is configured.

Exit codes: 0 something was heard; 1 nothing was; 2 an option is faulty; 3 it cannot be done: no connection, a right is
missing, a file that cannot be read or written.
"""

import asyncio
import json
import re
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from edge_agent import doctor_report
from edge_agent.adapters.eavesdrop import address_of, listen
from edge_agent.config import Broker
from edge_agent.core.doctor import Diagnosis, Log, diagnose
from edge_agent.core.doctor.draft import draft_of
from edge_agent.core.doctor.filters import filter_fault
from models.broker import Address, BrokerError
from models.contract import config_errors
from models.contract.config_errors import ConfigError
from models.contract.topics import PREFIX

_NOTHING = """Nothing was heard on {filters} in {seconds:g} s. What may help:
- listen for longer (--for), or to another filter (--topics); `#` does not show topics that begin with $
- ask whether this user may read these topics: many brokers drop them without a word (Mosquitto: acl_file)
- check that it is the broker that the sensors publish to, and that they publish at all"""
_NO_CONNECTION = (
    "check that the broker runs, that this is its host and port (usually 1883, with TLS 8883), "
    "whether it needs --tls, and that it speaks MQTT 5"
)
_WITH_PORT = re.compile(r"(?:\[([^\]]+)\]|([^:]+)):([0-9]+)")  # an address of IPv6 has brackets then
_OLD_PROTOCOL = 0x84
_NEEDS_MQTT_5 = "the doctor needs a broker with MQTT 5; the agent can do with 3.1.1 (sensor_broker.protocol)"


def doctor(
    host: Annotated[str, typer.Option(help="The broker that the sensors publish to.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 1883,
    user: Annotated[str | None, typer.Option(help="The password: TOCSIN_SENSOR_PASSWORD or --password-file.")] = None,
    password_file: Annotated[Path | None, typer.Option(help="Holds the password and nothing else.")] = None,
    tls: Annotated[bool, typer.Option("--tls", help="Needed beyond this machine.")] = False,
    ca_file: Annotated[Path | None, typer.Option(help="Else the system's authorities are trusted.")] = None,
    cert_file: Annotated[Path | None, typer.Option(help="Our certificate, with --key-file.")] = None,
    key_file: Annotated[Path | None, typer.Option(help="Our key.")] = None,
    allow_plaintext: Annotated[
        bool, typer.Option("--allow-plaintext", help="Beyond this machine without TLS.")
    ] = False,
    for_s: Annotated[float, typer.Option("--for", min=0.1, max=86_400, help="Seconds; Ctrl-C ends it earlier.")] = 30.0,
    topics: Annotated[list[str] | None, typer.Option(help="Filters; may be given several times. Default: #")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE.toml", help="Write a draft.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE.toml if it is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, for scripts.")] = False,
) -> None:
    """Listen to a broker for a while; say what is there, what looks wrong, and write a draft of a configuration.

    Needs MQTT 5. It sends nothing, and leaves no session behind.
    """
    filters = topics or ["#"]
    options = {
        "host": host,
        "port": port,
        "username": user,
        "password_file": password_file,
        "tls": tls,
        "ca_file": ca_file,
        "cert_file": cert_file,
        "key_file": key_file,
        "allow_plaintext": allow_plaintext,
    }
    try:
        _check_host(host)
        broker = config_errors.check(options, Broker, "options")
        _check_filters(filters)
        _check_free(out, force=force)
        log = _heard(address_of(broker), filters, for_s)
        if not log.count:
            if log.own:
                typer.echo(f"{log.own} messages of Tocsin's own topics, {PREFIX}/#, are left out.", err=True)
            typer.echo(_NOTHING.format(filters=", ".join(filters), seconds=for_s), err=True)
            raise typer.Exit(1)
        with Console(stderr=True).status(f"looking at {log.count} messages"):
            found = diagnose(log)
        if out is not None:
            _write(out, found, broker, for_s)
    except ConfigError as error:
        text = str(error).replace("options: file: ", "")
        _fail(text.replace("set tls = true, or allow_plaintext = true", "say --tls, or --allow-plaintext"), 2)
    except BrokerError as error:
        cure = _NEEDS_MQTT_5 if error.code == _OLD_PROTOCOL else error.cure or _NO_CONNECTION
        _fail(f"{host}:{port}: {error}: {cure}", 3)
    except OSError as error:
        _fail(str(error), 3)
    if as_json:
        typer.echo(json.dumps(doctor_report.as_json(found, for_s)))
        return
    doctor_report.show(found, for_s, Console())
    if out is not None:
        typer.echo(f"{out}: a draft: read it, then `tocsin edge check {out}`")


def _check_host(host: str) -> None:
    found = _WITH_PORT.fullmatch(host)
    if found:
        raise ConfigError(f"--host {host}: the port goes to --port: --host {found[1] or found[2]} --port {found[3]}")


def _check_filters(filters: list[str]) -> None:
    faults = [f"--topics {one!r} {fault}" for one in filters if (fault := filter_fault(one))]
    if faults:
        raise ConfigError("\n".join(faults))


def _check_free(out: Path | None, *, force: bool) -> None:
    if out is None:
        return
    if out.is_dir() or not out.parent.is_dir():
        raise ConfigError(f"--out {out}: is a folder, or lies in none (allowed: a file in a folder that is there)")
    if out.exists() and not force:
        raise ConfigError(f"{out}: is there already: name another file, or say --force")


def _heard(address: Address, filters: list[str], for_s: float) -> Log:
    """With a progress bar, where somebody looks on. Raises BrokerError."""
    log = Log()
    columns = (TextColumn("listening"), BarColumn(), TextColumn("{task.fields[heard]} messages"), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=for_s, heard=0)
        try:
            asyncio.run(
                listen(address, filters, for_s, log, lambda s: progress.update(task, completed=s, heard=log.count))
            )
        except KeyboardInterrupt:
            pass  # what was heard until then is looked at
        except BrokerError as error:
            if not log.count:
                raise
            typer.echo(f"the connection was lost: {error}: what was heard until then is looked at", err=True)
    return log


def _write(out: Path, found: Diagnosis, broker: Broker, heard_s: float) -> None:
    if not found.groups.groups:
        raise ConfigError(f"{out}: not written: no decoder reads what was heard; without --out the report says why")
    out.write_text(draft_of(found, broker, heard_s), encoding="utf-8")


def _fail(text: str, code: int) -> None:
    typer.echo(text, err=True)
    raise typer.Exit(code)
