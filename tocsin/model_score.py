"""`tocsin model score`: what a bundle says of each window of a recorded table, by the agent's own code."""

import itertools
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from models.bundle import Bundle, read_bundle
from models.cli_common import Json, faults, progress, sheet
from tocsin.errors import UserError
from tocsin.plant.table import Layout
from tocsin.replaying.options import with_layout
from tocsin.replaying.outputs import check_place
from tocsin.replaying.rows import OnRead, read_rows

if TYPE_CHECKING:
    from edge_agent.rescore import Reading, Rescore, Rescored

_READINGS = 65_536  # a step; results do not depend on it
_SUFFIXES = (".csv", ".parquet")


@with_layout
def score(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A .bundle file.")],
    data: Annotated[Path, typer.Option(help="CSV, or .parquet: rows in order of time, a column for each channel.")],
    *,
    out: Annotated[Path | None, typer.Option(help="A row a window: .csv or .parquet.")] = None,
    hold_s: Annotated[
        float, typer.Option(min=0, max=604_800, help="How long a value stands in for missing ones.")
    ] = 5.0,
    layout: Layout,
    as_json: Json = False,
) -> None:
    """Run a bundle over recorded data: its outputs for each window, with the share of each channel.

    Values go to the model's grid and windows as in an edge agent, on the CPU. Checks, filters and alarms are a
    configuration's: `tocsin edge replay` runs these too. The bundle need not be signed.

    For example: tocsin model score pump.bundle --data pump.csv --out scores.csv
    """
    check_place("--out", out, _SUFFIXES)
    with faults():
        found = read_bundle(bundle)
        with progress("scoring") as advance:
            summary = _run(found, data, layout, hold_s, out, advance)
    if as_json:
        sys.stdout.write(json.dumps(summary, indent=2) + "\n")
        return
    ranges = {name: f"{low:.4g} to {high:.4g}" for name, (low, high) in summary.pop("range").items()}
    counts = {key: f"{value:,}" for key, value in summary.items()}
    sheet(f"{found.manifest.name} {found.manifest.version} on {data.name}", counts | ranges)


def _run(
    bundle: Bundle, data: Path, layout: Layout, hold_s: float, out: Path | None, advance: OnRead
) -> dict[str, Any]:
    """The summary. Raises UserError, BundleError, OSError."""
    from edge_agent.core.errors import ModelFailedError, StartError  # noqa: PLC0415 - only where a model is run
    from edge_agent.rescore import Reading, Rescore  # noqa: PLC0415 - as above
    from tocsin.replaying.score_table import columns_of, open_table  # noqa: PLC0415 - as above

    limit, ranges = bundle.manifest.threshold, _Ranges()
    beyond = rows = 0
    try:
        run = Rescore(bundle, hold_s)
        readings = (Reading(*row) for line in read_rows(data, layout, advance) for row in line)
        with open_table(out, bundle) as write:
            for part in _parts(run, readings):
                write(columns_of(part, bundle))
                rows += len(part.time_ns)
                ranges.add(part.scores.fields)
                judged = part.scores.fields[limit.output]
                beyond += int((judged > limit.open_at if limit.above else judged < limit.open_at).sum())
            _check_inputs(bundle, run.seen, data)
    except (ModelFailedError, StartError) as error:
        raise UserError(str(error)) from error
    counts = {"windows": run.windows, "scored": rows, "unscored": run.unscored, "late_readings": run.late}
    return counts | {"beyond_the_limit": beyond, "range": ranges.found}


def _parts(run: "Rescore", readings: Iterator["Reading"]) -> Iterator["Rescored"]:
    while step := list(itertools.islice(readings, _READINGS)):
        yield from run.take(step)
    yield from run.end()


def _check_inputs(bundle: Bundle, seen: set[str], data: Path) -> None:
    manifest = bundle.manifest
    missing = [channel.name for channel in manifest.channels if channel.name not in seen]
    if missing and (manifest.missing == "abstain" or len(missing) == len(manifest.channels)):
        msg = f"{data}: the model {manifest.name!r} takes {', '.join(map(repr, missing))}, which no column gives"
        raise UserError(msg)


class _Ranges:
    """The least and the greatest value of each output."""

    def __init__(self) -> None:
        self.found: dict[str, tuple[float, float]] = {}

    def add(self, fields: Mapping[str, NDArray[np.float64]]) -> None:
        for name, values in fields.items():
            if len(values):
                low, high = self.found.get(name, (np.inf, -np.inf))
                self.found[name] = (min(low, float(values.min())), max(high, float(values.max())))
