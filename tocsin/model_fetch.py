"""`tocsin model fetch`: readings out of the store into a file to train on.

Training reads files, not stores: the file is what the model's card names by its SHA-256, and it outlives a store's
retention.
"""

import csv
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from aggregator.app import open_reader
from aggregator.cli_common import Config, fail, faults, since_ns
from aggregator.config import load
from aggregator.core.questions import Questions
from models.cli_common import progress

_COLUMNS = ("time_ns", "site", "asset", "channel", "value", "denoised", "quality")
_SLICE_NS = 6 * 3600 * 10**9  # asked for at once: answers stay small
_SUFFIXES = (".csv", ".parquet")
_Rows = list[tuple[Any, ...]]


def fetch(
    *,
    config: Config,
    asset: Annotated[list[str], typer.Option(help="A machine, such as pump-7; several may be given.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write: .csv or .parquet.")],
    channel: Annotated[list[str] | None, typer.Option(help="Default: every channel that the machines have.")] = None,
    since: Annotated[str, typer.Option(help="How far back (8h, 30d), or an ISO time such as 2026-01-31.")] = "7d",
    until: Annotated[str | None, typer.Option(help="The end, likewise. Default: now.")] = None,
) -> None:
    """Write readings of the store into a file for `model train --data`: a row a reading, with its quality.

    Example: fetch --config aggregator.toml --asset pump-7 --since 30d --until 1d -o pump-7.parquet
    """
    now_ns = time.time_ns()
    begin, end = since_ns(since, now_ns), now_ns if until is None else since_ns(until, now_ns)
    if begin >= end:
        raise typer.BadParameter(f"--since {since} does not lie before --until {until or 'now'}")
    if out.suffix.lower() not in _SUFFIXES:
        raise typer.BadParameter(f"--out {out}: the suffix names the format ({', '.join(_SUFFIXES)})")
    with faults(), closing(open_reader(load(config))) as questions, progress("slices") as advance:
        series = _series(questions, asset, channel or [])
        slices = [(at, min(at + _SLICE_NS, end)) for at in range(begin, end, _SLICE_NS)]
        rows: _Rows = []
        for done, (low, high) in enumerate(slices):
            advance(done, len(slices))
            rows += _slice(questions, series, low, high)
    if not rows:
        fail(f"no reading of {', '.join(asset)} from --since {since} on", 2)
    try:
        _write(out, rows)
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}", 2)
    except ModuleNotFoundError as error:
        fail(f"{error.name} is missing: pip install 'tocsin[train]', or write .csv", 2)
    typer.echo(f"{out}: {len(rows):,} readings of {len(series)} channels", err=True)


def _series(questions: Questions, assets: Sequence[str], channels: Sequence[str]) -> list[tuple[str, str]]:
    """Assets and channels that the store knows; ends the process where one that is asked for is not among them."""
    found = []
    for asset in assets:
        known = list(dict.fromkeys(str(row["channel"]) for row in questions.latest(asset)))
        if not known:
            fail(f"the store knows no asset {asset!r}", 2)
        for channel in channels:
            if channel not in known:
                fail(f"asset {asset} has no channel {channel!r}; there are {', '.join(known)}", 2)
        found += [(asset, channel) for channel in (channels or known)]
    return found


def _slice(questions: Questions, series: Sequence[tuple[str, str]], begin: int, end: int) -> Iterator[tuple[Any, ...]]:
    for asset, channel in series:
        for row in questions.series(asset, channel, begin, end):
            yield tuple(row.get("time" if name == "time_ns" else name) for name in _COLUMNS)


def _write(path: Path, rows: _Rows) -> None:
    """The file appears whole."""
    partial = path.with_name(path.name + ".partial")
    if path.suffix.lower() == ".parquet":
        import polars as pl  # noqa: PLC0415 - only where it is needed

        kinds = (pl.Int64, pl.String, pl.String, pl.String, pl.Float64, pl.Float64, pl.Float64)
        schema = dict(zip(_COLUMNS, kinds, strict=True))
        pl.DataFrame(rows, schema=schema, orient="row").write_parquet(partial)
    else:
        with partial.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([_COLUMNS, *rows])
    partial.replace(path)
