"""The command `tocsin edge deadletters`: look at the messages that were set aside, take them out, try them again.

Exit codes: 0 done; 2 the configuration or an option is faulty; 3 it cannot be done here: a file is missing, may not
be read or written, or is damaged.
"""

import base64
import json
from collections.abc import Sized
from contextlib import closing
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from edge_agent.adapters import deadletters as letters
from edge_agent.config import EdgeConfig, load
from edge_agent.core.intake import DeadLetter
from edge_agent.journal_cli import exit_codes, moment, written
from models.contract.config_errors import ConfigError

_LISTED = 20


def deadletters(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The agent's TOML file.")],
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="How many, newest first. Default: 20 in a list, all with --rerun and --summary."),
    ] = None,
    reason: Annotated[str, typer.Option(help="Only those set aside for this reason, such as unknown_channel.")] = "",
    topic: Annotated[str, typer.Option(help="Only those of topics that fit this MQTT filter.")] = "#",
    since: Annotated[str, typer.Option(help="Only those that came since: ISO 8601; without a zone it is UTC.")] = "",
    export: Annotated[
        Path | None, typer.Option("--export", "-o", metavar="FILE.jsonl", help="Write them, oldest first, to a file.")
    ] = None,
    rerun: Annotated[bool, typer.Option("--rerun", help="Have the agent take them again, as they came.")] = False,
    summary: Annotated[bool, typer.Option("--summary", help="Count them by topic and reason, newest first.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
) -> None:
    """List the messages that were set aside: when, from which topic, why, and their first bytes. The agent may run.

    Once the configuration (SIGHUP) or the sender is mended, --rerun gives them to the agent again, with the topic and
    the arrival time that they had: it takes them up within seconds, or when it starts. Each is then readings, once,
    or a dead letter again with its new reason. Of Sparkplug only data is taken again, as the present births read it:
    births and deaths hold only in the order in which they came.
    """
    with exit_codes():
        if (export is not None) + rerun + summary > 1:
            named = [("--export", export), ("--rerun", rerun), ("--summary", summary)]
            raise ConfigError(f"{' and '.join(name for name, value in named if value)}: one after the other")
        if export and limit:
            raise ConfigError("--limit is for lists, --summary and --rerun: --export writes all that fit")
        settings = load(config)
        choice = letters.Choice(reason, topic, moment(since, letters.Choice().since_ns))
        _check_reason(settings, reason)
        if export:
            _export(settings, choice, export, as_json=as_json)
        elif rerun:
            _rerun(settings, choice, limit, as_json=as_json)
        elif summary:
            _summarize(settings, choice, limit, as_json=as_json)
        else:
            _list(settings, choice, limit or _LISTED, as_json=as_json)


def _check_reason(config: EdgeConfig, reason: str) -> None:
    """Say so if no letter has it: it may be misspelt."""
    there = _reasons(config) if reason else set[str]()
    if reason and reason not in there:
        named = ", ".join(sorted(there)) or "none"
        typer.echo(f"--reason {reason}: no letter was set aside for it (reasons there are: {named})", err=True)


def _reasons(config: EdgeConfig) -> set[str]:
    return {name for _, name in letters.counts(config, letters.Choice())}


def _summarize(config: EdgeConfig, choice: letters.Choice, limit: int | None, *, as_json: bool) -> None:
    found = list(letters.counts(config, choice).items())[:limit]
    if as_json:
        rows = [{"topic": topic, "reason": reason, "letters": count} for (topic, reason), count in found]
        typer.echo(json.dumps(rows))
        return
    _say_if_none(found, config, choice)
    for (topic, reason), count in found:
        typer.echo(f"{count:>6}  {topic}  {reason}")


def _list(config: EdgeConfig, choice: letters.Choice, limit: int, *, as_json: bool) -> None:
    with closing(letters.find(config, choice)) as chosen:
        found = list(islice(chosen, limit))
    if as_json:
        typer.echo(json.dumps([_fields(letter) | {"head": letter.head.decode("utf-8", "replace")} for letter in found]))
        return
    _say_if_none(found, config, choice)
    for letter in found:
        when = datetime.fromtimestamp(letter.arrival_ns / 1e9, UTC).isoformat(timespec="seconds")
        typer.echo(f"{when}  {letter.topic}  {letter.reason}: {letter.text}\n    {letter.head!r:.120}")


def _say_if_none(found: Sized, config: EdgeConfig, choice: letters.Choice) -> None:
    if not found and (not choice.reason or choice.reason in _reasons(config)):  # else that was said
        typer.echo("no message was set aside" + " that fits" * (choice != letters.Choice()), err=True)


def _export(config: EdgeConfig, choice: letters.Choice, out: Path, *, as_json: bool) -> None:
    if out.suffix != ".jsonl":
        raise ConfigError(f"{out}: the name must end in .jsonl")
    count = without = 0
    with (
        closing(letters.find(config, choice, oldest_first=True, payloads=True)) as chosen,
        written(out) as file,
    ):
        for letter in chosen:
            payload = None if letter.payload is None else base64.b64encode(letter.payload).decode("ascii")
            file.write(json.dumps(_fields(letter) | {"payload": payload}) + "\n")
            count, without = count + 1, without + (payload is None)
    if as_json:
        typer.echo(json.dumps({"letters": count, "without_payload": without}))
    else:
        typer.echo(f"{out}: {count} letters" + (f", {without} of them without their payload" if without else ""))


def _rerun(config: EdgeConfig, choice: letters.Choice, limit: int | None, *, as_json: bool) -> None:
    done = letters.mark(config, choice, limit)
    if as_json:
        typer.echo(json.dumps(done._asdict()))
        return
    typer.echo(f"{done.marked} letters are marked: the agent takes them again within seconds, or when it starts")
    if done.without_payload:
        typer.echo(f"{done.without_payload} cannot be taken again: their whole payload was not kept")
    if done.sparkplug:
        typer.echo(f"{done.sparkplug} cannot be taken again: births and deaths of Sparkplug hold only in their order")
    if done.refused:
        typer.echo(f"{done.refused} cannot be taken again: they are rows that the database refused, no messages")


def _fields(letter: DeadLetter) -> dict[str, object]:
    return {name: value for name, value in letter._asdict().items() if name not in {"head", "payload"}}
