"""What it costs to make alarms of scores: windows per second through `Decide` and `Health`.

    ./run bench            a table
    ./run bench --json     one JSON object

A step brings the scores of so many windows of each of so many assets; one asset in a hundred changes its alarm in each
step. Medians of the passes.
"""

import statistics
import sys
import time
from typing import NamedTuple

import numpy as np

from edge_agent.core.decide import Decide
from edge_agent.core.health import Health
from edge_agent.core.model import Scores
from models.manifest import Manifest
from tests.bench.machine import machine
from tests.bench.report import print_json, wants_json

PASSES, STEPS = 5, 20


class Measured(NamedTuple):
    """One row of the table."""

    assets: int
    windows_an_asset: int
    us_a_step: float
    windows_per_s: int


CASES = ((10_000, 1), (1_000, 1), (10, 1), (1, 1), (1, 3_600), (100, 100))


def main() -> None:
    """Measure all cases and print them."""
    as_json = wants_json(__doc__)
    measured = [measure(assets, windows) for assets, windows in CASES]
    if as_json:
        print_json("decide", cases=measured)
        return
    sys.stdout.write(f"alarms and health, median of {PASSES}; {machine()}\n")
    sys.stdout.write(f"{'assets':>8} {'windows each':>13} {'us a step':>11} {'windows/s':>12}\n")
    for m in measured:
        sys.stdout.write(f"{m.assets:>8,} {m.windows_an_asset:>13,} {m.us_a_step:>11,.1f} {m.windows_per_s:>12,}\n")


def measure(assets: int, windows: int) -> Measured:
    """The median over the passes."""
    seconds = statistics.median(one_pass(assets, windows) for _ in range(PASSES)) / STEPS
    return Measured(assets, windows, round(seconds * 1e6, 1), round(assets * windows / seconds))


def one_pass(assets: int, windows: int) -> float:
    """Seconds for all steps."""
    manifest = Manifest.model_validate(
        {
            "name": "wear",
            "version": "1",
            "kind": "anomaly",
            "channels": [{"name": "t"}],
            "sample_period_s": 1.0,
            "window": 1,
            "outputs": ["anomaly_score"],
            "threshold": {
                "output": "anomaly_score",
                "open_at": 10.0,
                "close_at": 5.0,
                "open_after": 3,
                "close_after": 3,
            },
            "trained_on": "nothing",
        }
    )
    decide, health, names = Decide(manifest), Health(10.0), [f"asset-{i}" for i in range(assets)]
    decide.grow(assets)
    health.grow(assets)
    rng, asset = np.random.default_rng(0), np.repeat(np.arange(assets), windows)
    steps = []
    for number in range(STEPS):
        score = rng.uniform(0, 5, (assets, windows))
        score[: assets // 100] = 20.0 * (number // 3 % 2)
        time_ns = number * windows + 1 + np.tile(np.arange(windows), assets)
        steps.append((time_ns, Scores({"anomaly_score": score.ravel()}, None), rng.uniform(90, 100, len(asset))))
    since_s = time.perf_counter()
    for time_ns, scores, healths in steps:
        decide.step(names, asset, time_ns, scores)
        health.step(asset, healths)
    return time.perf_counter() - since_s


if __name__ == "__main__":
    main()
