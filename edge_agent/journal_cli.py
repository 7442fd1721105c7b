"""The commands `tocsin edge journal …`: look into what the agent keeps on disk, check it, mend it, take readings out.

Exit codes: 0 done, and sound; 1 `verify` found damage; 2 the configuration or an option is faulty; 3 it cannot be
done here: a file is missing or may not be read, a damaged one must be mended first, or the agent runs.
"""

import csv
import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from edge_agent import logs
from edge_agent.adapters import examine
from edge_agent.adapters.journal_sqlite import SqliteJournal
from edge_agent.adapters.outbox_sqlite import SqliteOutbox
from edge_agent.adapters.state_lock import lock_state
from edge_agent.config import EdgeConfig, Log, load
from edge_agent.core.entries import JournalEntry
from edge_agent.core.errors import StartError
from edge_agent.core.export import FIXED, Span, lines, records, waveforms
from edge_agent.ports import NoRoomError
from models.contract.config_errors import ConfigError

app = typer.Typer(no_args_is_help=True, help="What the agent keeps on disk: look into it, check it, mend it.")

_Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="The agent's TOML file.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, for scripts.")]
_ALWAYS = Span(-(1 << 63), (1 << 63) - 1)


@app.command()
def status(config: _Config, as_json: _Json = False) -> None:
    """Show how full journal and outbox are, how far they got, and what was lost. The agent may run."""
    with exit_codes():
        found = examine.status(load(config))
    if as_json:
        typer.echo(json.dumps(found))
        return
    journal, outbox = found["journal"], found["outbox"]
    lost = ", ".join(f"{count} {kind}" for kind, count in outbox["lost"].items() if count)
    shown = {
        "journal": _filled(journal),
        "  entries": _entries_shown(journal),
        "  arrived": _arrived(journal),
        "  used through": f"position {outbox['through']}; {_unused(journal, outbox['through'])}",
        "  dead letters": journal["deadletters"],
        "outbox": _filled(outbox),
        "  waiting": f"{outbox['pending']} batches, the oldest {_age(outbox['oldest_arrival_ns'])}",
        "  refused": f"{outbox['refused']} batches",
        "  lost": lost or "nothing",
        "  snapshot": _snapshot(outbox["snapshot_through"]),
        "ballast": "in place" if found["ballast_bytes"] else "dropped: the disk is or was full",
        "damaged files kept": ", ".join(found["damaged_files"]) or "none",
    }
    for name, value in shown.items():
        typer.echo(f"{name:<20}{value}")


@app.command()
def verify(config: _Config, as_json: _Json = False) -> None:
    """Check every page and every checksum of journal and outbox. Exit 0: sound; 1: damaged. The agent may run."""
    damage: list[str] = []
    unread: list[str] = []
    with exit_codes():
        settings = load(config)
    for faults in (examine.journal_faults, examine.outbox_faults):
        try:
            damage += faults(settings)
        except (examine.ExamineError, OSError) as error:
            unread.append(str(error))
    if as_json:
        cure = examine.CURE if damage else None
        typer.echo(json.dumps({"ok": not damage + unread, "faults": damage + unread, "cure": cure}))
    else:
        for line in [*damage, examine.CURE] if damage else [] if unread else ["sound"]:
            typer.echo(line)
        for line in unread:
            typer.echo(line, err=True)
    raise typer.Exit(1 if damage else 3 if unread else 0)


@app.command()
def repair(config: _Config) -> None:
    """Build what is damaged anew from what can be read of it; a sound file stays as it is. The agent must not run.

    The damaged file is kept beside the new one, as are all that were kept before: delete them when you have seen them.
    """
    logs.set_up(Log(level="error", format="console"))  # on stderr
    with exit_codes():
        settings = load(config)
        folder = settings.state_dir
        for name in ("journal.db", "outbox.db"):
            if not (folder / name).exists():
                raise examine.ExamineError(f"{folder / name}: there is no such file")
        with lock_state(folder):
            for name, faults, part in (
                ("journal.db", examine.journal_faults, _journal),
                ("outbox.db", examine.outbox_faults, _outbox),
            ):
                damage = faults(settings)
                typer.echo("\n".join(damage) if damage else f"{name}: sound: nothing to mend")
                if damage:
                    _mend(name, part(settings))


def _mend(name: str, part: SqliteJournal | SqliteOutbox) -> None:
    with closing(part):
        done = part.mend()
    typer.echo(f"{name}: saved {_rows(done.saved)}")
    typer.echo(f"  lost {_lost(done.lost)}; the file as it was: {done.aside}")


@app.command()
def export(
    config: _Config,
    out: Annotated[Path, typer.Option("--out", "-o", help="FILE.csv or FILE.jsonl.")],
    since: Annotated[str, typer.Option(help="ISO 8601; without a zone it is UTC.")] = "",
    until: Annotated[str, typer.Option(help="ISO 8601, exclusive.")] = "",
) -> None:
    """Write the readings of the journal, by event time. The agent may run.

    `tocsin edge replay CONFIG FILE.csv --time-unit ns --asset-column asset` reads the CSV. It has no waveforms.

    `quality` is what the message gave: the range of a channel is checked later, for the results.
    """
    if out.suffix not in {".csv", ".jsonl"}:
        _fail(f"{out}: the name must end in .csv or .jsonl", 2)
    with exit_codes():
        span = Span(moment(since, _ALWAYS.since_ns), moment(until, _ALWAYS.until_ns))
        if span.since_ns >= span.until_ns:
            raise ConfigError(f"--since {since} --until {until}: no time is in between (allowed: since before until)")
        with examine.journal(load(config)) as journal:
            channels = sorted({one.channel for entry in _entries(journal) for one in records(entry, span)})
            clash = [name for name in FIXED if name in channels]
            if out.suffix == ".csv" and clash:
                raise examine.ExamineError(f"{out}: a channel is named {clash[0]!r}, as is a column: write .jsonl")
            with written(out) as file:
                write = _write_csv if out.suffix == ".csv" else _write_json
                typer.echo(f"{out}: {write(file, journal, span, channels)}")


@contextmanager
def written(out: Path) -> Iterator[TextIO]:
    """A file to write. Raises ExamineError."""
    try:
        with out.open("w", encoding="utf-8", newline="") as file:
            yield file
    except OSError as error:
        cure = "name a file in a folder that is there, may be written, and has room"
        raise examine.ExamineError(f"{out}: cannot be written: {error.strerror}: {cure}") from error


def _write_csv(file: TextIO, journal: SqliteJournal, span: Span, channels: list[str]) -> str:
    writer, count = csv.writer(file), 0
    writer.writerow(["time_ns", "asset", *channels, "quality"])
    found = (one for entry in _entries(journal) for one in records(entry, span))
    for line in lines(found, channels):
        writer.writerow(line)
        count += 1
    left = sum(1 for entry in _entries(journal) for _ in waveforms(entry, span))
    return f"{count} lines, {len(channels)} channels" + (f"; {left} waveforms left out" if left else "")


def _write_json(file: TextIO, journal: SqliteJournal, span: Span, _channels: list[str]) -> str:
    count = 0
    for entry in _entries(journal):
        for one in (*(record._asdict() for record in records(entry, span)), *waveforms(entry, span)):
            file.write(json.dumps(one) + "\n")
            count += 1
    return f"{count} lines"


def _entries(journal: SqliteJournal) -> Iterator[JournalEntry]:
    after = 0
    while found := journal.read(after):
        after = found[-1].seq
        yield from (entry for _, entry in found)


def _journal(config: EdgeConfig) -> SqliteJournal:
    journal = config.journal
    path = config.state_dir / "journal.db"
    return SqliteJournal(path, journal.max_bytes, journal.max_age_s, config.limits.deadletters, keeps_earlier=True)


def _outbox(config: EdgeConfig) -> SqliteOutbox:
    return SqliteOutbox(config.state_dir / "outbox.db", config.outbox.max_bytes, keeps_earlier=True)


def moment(text: str, default: int) -> int:
    """ISO 8601 as epoch ns, to the microsecond; nothing is the default. Raises ConfigError."""
    if not text:
        return default
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{text!r} is no time (allowed: ISO 8601, such as 2026-03-01T06:00:00Z)") from error
    span = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - datetime.fromtimestamp(0, UTC)
    return ((span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds) * 1000


def _filled(file: dict[str, Any]) -> str:
    used, whole, bound = (file[name] / 1024**2 for name in ("used_bytes", "file_bytes", "max_bytes"))
    return f"{used:.1f} of {bound:.0f} MiB ({used / bound:.0%}), {whole:.1f} MiB on disk"


def _entries_shown(journal: dict[str, Any]) -> str:
    return f"{journal['entries']}, positions {journal['first']} to {journal['last']}" if journal["entries"] else "empty"


def _arrived(journal: dict[str, Any]) -> str:
    if not journal["entries"]:
        return "none yet"
    return f"{_when(journal['first_arrival_ns'])} to {_when(journal['last_arrival_ns'])}"


def _unused(journal: dict[str, Any], through: int) -> str:
    if journal["unused"]:
        return f"{journal['unused']} entries with readings behind it wait for their results"
    return "no readings wait" + (": all behind it is ticks" if (journal["last"] or 0) > through else "")


def _snapshot(through: int | None) -> str:
    return "none yet" if through is None else f"at position {through}"


def _when(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).isoformat().replace("+00:00", "Z")


def _age(time_ns: int | None) -> str:
    return "none" if time_ns is None else f"{max(0.0, time.time() - time_ns / 1e9):.0f} s old"


def _rows(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} of {table}" for table, count in counts.items())


def _lost(counts: dict[str, int | None]) -> str:
    some = [
        f"an unknown number of {table}" if count is None else f"at most {count} of {table}"
        for table, count in counts.items()
    ]
    return ", ".join(some) or "nothing"


@contextmanager
def exit_codes() -> Iterator[None]:
    """Errors as one line of text and an exit code."""
    try:
        yield
    except ConfigError as error:
        _fail(str(error), 2)
    except (examine.ExamineError, StartError, sqlite3.Error, OSError, NoRoomError) as error:
        _fail(str(error), 3)


def _fail(text: str, code: int) -> None:
    typer.echo(text, err=True)
    raise typer.Exit(code)
