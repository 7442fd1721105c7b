"""Fuzzes the decoders, each in a process of its own, guided by coverage; the exit status tells whether all held.

    ./run fuzz                                   a million inputs for each
    ./run fuzz --inputs 20000 --decoder cbor

What must hold stands in tests/formats/sound.py. What was found is kept in .run/fuzz and is built upon the next time;
an input that fails lies there too, and is run again with: .venv/bin/python -m tests.fuzz.one NAME FOLDER 0 FILE
"""

import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from tests.bench.report import parser, print_json
from tests.fuzz.targets import NAMES

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".run" / "fuzz"
_INPUTS_A_PROCESS = 250_000  # for atheris keeps something of each comparison of arrays, and memory is limited
_RUN = re.compile(r"number_of_executed_units: (\d+)")
_COVERED = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)")


class Outcome(NamedTuple):
    """Of one decoder."""

    name: str
    inputs: int
    covered: str
    seconds: float
    is_sound: bool


def main() -> None:
    """Fuzz as asked for and say what came of it."""
    options = parser(__doc__)
    options.add_argument("--inputs", type=int, default=1_000_000, help="of each decoder (default: %(default)s)")
    options.add_argument("--decoder", choices=NAMES, action="append", help="only this one; may be repeated")
    arguments = options.parse_args()
    if find_spec("atheris") is None:
        sys.exit("fuzz: atheris is not installed: its wheels are for Linux on x86-64 and Python 3.11 to 3.13")
    names = arguments.decoder or NAMES
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        outcomes = list(pool.map(lambda name: fuzz(name, arguments.inputs), names))
    if arguments.json:
        print_json("fuzz", decoders=outcomes)
        sys.exit(not all(outcome.is_sound for outcome in outcomes))
    for outcome in outcomes:
        verdict = "held" if outcome.is_sound else f"FAILED: {FOLDER / outcome.name}/log"
        sys.stdout.write(
            f"{outcome.name:<12} {outcome.inputs:>10,} inputs {outcome.seconds:>7.0f} s  {outcome.covered}  {verdict}\n"
        )
    sys.exit(not all(outcome.is_sound for outcome in outcomes))


def fuzz(name: str, inputs: int) -> Outcome:
    """In processes of its own, one after the other, whose words go to a log beside what they find."""
    folder, since_s = FOLDER / name, time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tests.fuzz.one", name, str(folder)]
    status = 0
    with (folder / "log").open("w") as log:
        for begun in range(0, inputs, _INPUTS_A_PROCESS):
            count = min(_INPUTS_A_PROCESS, inputs - begun)
            status = subprocess.run([*command, str(count)], stdout=log, stderr=log, check=False, cwd=ROOT).returncode
            if status:
                break
    text = (folder / "log").read_text(errors="replace")
    covered, count = _COVERED.findall(text), sum(map(int, _RUN.findall(text)))
    seconds = round(time.perf_counter() - since_s, 1)
    reached = "{} branches, {} features, {} inputs kept".format(*covered[-1]) if covered else ""
    sys.stderr.write(f"fuzz: {name}: {count} inputs in {seconds:.0f} s\n")
    return Outcome(name, count, reached, seconds, status == 0 and count >= inputs)


if __name__ == "__main__":
    main()
