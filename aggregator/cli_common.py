"""What the aggregator's commands share: options, spans of time, and faults as one clear line each."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from aggregator.core.rows import MAX_TIME_NS
from aggregator.core.times import time_ns
from aggregator.ports import RetryLater, StoreMisconfigured
from models.contract.config_errors import ConfigError

Config = Annotated[Path, typer.Option("--config", "-c", help="The aggregator's TOML file; its store is asked.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON for programs: times in ns since 1970, no value = null.")]

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def since_ns(text: str, now_ns: int) -> int:
    """A span back from now, or a time (UTC unless it says otherwise), in ns since 1970."""
    if span := re.fullmatch(r"(\d+)([smhdw])", text):
        return now_ns - int(span[1]) * _UNITS_S[span[2]] * 1_000_000_000
    try:
        found = time_ns(text)
        if found is None:
            moment = datetime.fromisoformat(text)
            found = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000_000) * 1000
    except ValueError as error:
        msg = f"{text!r} is neither a span such as 90s, 30m, 1h, 7d nor an ISO time such as 2026-01-31T12:00"
        raise typer.BadParameter(msg) from error
    if found > MAX_TIME_NS:
        raise typer.BadParameter(f"{text!r} lies behind 2262, where the times of databases end")
    return found


@contextmanager
def faults() -> Iterator[None]:
    """Expected faults as one clear line each, with the exit code that says which."""
    try:
        yield
    except ConfigError as error:
        fail(str(error), 2)
    except (RetryLater, StoreMisconfigured) as error:
        fail(f"the store does not answer as it should: {error}", 1)


def fail(text: str, code: int) -> None:
    """Says it on the standard error stream and ends the process with the code."""
    typer.echo(text, err=True)
    raise typer.Exit(code)
