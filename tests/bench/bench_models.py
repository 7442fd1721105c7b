"""200 models on one gateway: how long they take to load, each of them proved, and what memory they need.

    ./run bench            a table
    ./run bench --json     one JSON object

Half of them dense, half convolutional, each with weights of its own, as signed bundles in files. A process of its own
adopts all of them as the agent does at its first start: checked, copied to the state folder (fsync), loaded, run in
every bucket; then each scores a batch of 256 windows. A second one finds them there, as a restart does. Memory is that
of the whole process, Python and ONNX Runtime in it; `before` is what it had without a model.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from tests.bench.machine import machine
from tests.bench.report import parser, print_json

MODELS = 200
WINDOWS = 256


class Start(NamedTuple):
    """One row of the table."""

    start: str
    load_s: float
    cpu_s: float  # of the load
    before_mb: float
    loaded_mb: float
    working_mb: float


def main() -> None:
    """Measure and print; with --child, be the process that is measured."""
    arguments = parser(__doc__)
    arguments.add_argument("--child", type=Path, help="(internal) the folder with the bundles")
    given = arguments.parse_args()
    if given.child is not None:
        sys.stdout.write(json.dumps(adopt_all(given.child)) + "\n")
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        sys.stderr.write(f"bench_models: writing {MODELS} bundles\n")
        write(folder)
        measured = []
        for start in ("first", "again"):
            sys.stderr.write(f"bench_models: {start}\n")
            command = [sys.executable, "-m", "tests.bench.bench_models", "--child", str(folder)]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            measured.append(Start(start, *json.loads(said.splitlines()[-1])))
    if given.json:
        print_json("models", models=MODELS, cases=measured)
        return
    sys.stdout.write(f"{MODELS} models; {machine()}\n")
    sys.stdout.write(
        f"{'start':>7} {'load s':>8} {'of it CPU':>10} {'before MB':>10} {'loaded MB':>10} {'working MB':>11}\n"
    )
    for m in measured:
        sys.stdout.write(
            f"{m.start:>7} {m.load_s:>8.2f} {m.cpu_s:>10.2f} {m.before_mb:>10.0f} {m.loaded_mb:>10.0f}"
            f" {m.working_mb:>11.0f}\n"
        )


def write(folder: Path) -> None:
    """The bundles and the key that they are signed with."""
    from models.signing import read_private_key, sign, write_keys
    from tests import small_models

    write_keys(folder / "key.pem", folder / "key.pub.pem")
    key = read_private_key(folder / "key.pem")
    for number in range(MODELS):
        make = small_models.dense if number % 2 else small_models.convolutional
        sign(make(seed=number), key).save(folder / f"{number:03}.bundle")


def adopt_all(folder: Path) -> tuple[float, ...]:
    """Seconds to load, and of CPU time; MB before, with all models loaded, and after each has scored a batch."""
    import os

    import numpy as np

    from edge_agent.adapters.heap import keep_freed_memory
    from edge_agent.adapters.inference import ModelShelf
    from edge_agent.config import Inference
    from tests.bench.procfs import resident_mb

    keep_freed_memory()
    pid, settings = os.getpid(), Inference(providers=("cpu",), trusted_keys=(folder / "key.pub.pem",))
    begun_s, cpu_s, before_mb = time.monotonic(), time.process_time(), resident_mb(pid)
    shelf = ModelShelf(folder / "shelf", settings)
    shelf.adopt_all(sorted(folder.glob("*.bundle")))
    load_s, cpu_s, loaded_mb = time.monotonic() - begun_s, time.process_time() - cpu_s, resident_mb(pid)
    for model in shelf.models:
        model.score(np.zeros((WINDOWS, model.manifest.window, model.manifest.width), np.float32))
    return round(load_s, 2), round(cpu_s, 2), round(before_mb), round(loaded_mb), round(resident_mb(pid))


if __name__ == "__main__":
    main()
