"""`model evaluate`: the kit on public benchmarks, causal, one setting for all files of a set."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from models.cli_common import Json, faults, figures, progress

evaluate = typer.Typer(no_args_is_help=True, help="Score the kit on public benchmarks, one setting for all files.")


@evaluate.command("skab")
def evaluate_skab(
    data: Annotated[Path, typer.Option(help="The folder of SKAB that holds valve1/, other/ and so on.")],
    out: Annotated[Path, typer.Option(help="Where to write a CSV file of verdicts for each file.")],
    as_json: Json = False,
) -> None:
    """Anomaly detection on a pump rig: fit on the first 400 rows of each file, judge the rest without looking ahead."""
    with faults():
        from models.evaluation import skab  # noqa: PLC0415 - the extra may be missing

        with progress("files") as advance:
            verdicts = skab.evaluate(data, out, advance)
    figures("SKAB", verdicts._asdict(), as_json=as_json)


@evaluate.command("cmapss")
def evaluate_cmapss(
    data: Annotated[
        Path, typer.Option(help="The folder with train_FD00x.txt and test_FD00x.txt, and RUL_FD00x.txt to be scored.")
    ],
    out: Annotated[Path, typer.Option(help="Where to write FD00x.csv: rul, rul_low, rul_high of each test unit.")],
    as_json: Json = False,
) -> None:
    """Remaining life of turbofans: train on each subset, predict at the last cycle of each test unit.

    Every train_FD*.txt that has a test_FD*.txt beside it, all with one setting. The intervals are to hold 80 % of the
    lives. Needs PyTorch: the extra train-deep.
    """
    with faults():
        from models.evaluation import cmapss  # noqa: PLC0415 - the extra may be missing

        with progress("networks") as advance:
            results = cmapss.evaluate(data, out, advance)
    if as_json:
        sys.stdout.write(json.dumps([each._asdict() for each in results], indent=2) + "\n")
        return
    for each in results:
        figures(each.subset, each._asdict(), as_json=False)


@evaluate.command("nab")
def evaluate_nab(
    data: Annotated[Path, typer.Option(help="The folder of NAB that holds data/ and, to be scored, labels/.")],
    out: Annotated[Path, typer.Option(help="Where to write <series>.csv, an anomaly score for each row.")],
    as_json: Json = False,
) -> None:
    """Univariate streaming: one detector learns each series as it comes and marks where something new begins."""
    with faults():
        from models.evaluation import nab  # noqa: PLC0415 - the extra may be missing

        with progress("rows") as advance:
            result = nab.evaluate(data, out, advance)
    if as_json:
        sys.stdout.write(json.dumps(result._asdict(), indent=2) + "\n")
        return
    shown = {key: value for key, value in result._asdict().items() if key != "thresholds"}
    limits = {f"{profile} threshold": limit for profile, limit in (result.thresholds or {}).items()}
    figures("NAB", shown | limits, as_json=False)
