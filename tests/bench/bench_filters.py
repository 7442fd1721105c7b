"""Nanoseconds a reading for each filter and each reporter.

    python -m tests.bench.bench_filters            a table
    python -m tests.bench.bench_filters --json     one JSON object

What is timed is one step of `Chains` or `Reports`: readings in groups, in memory, to filtered values or rows to report.
Each channel brings the same number of readings, one a second. Each figure is the median of the steps after a warm-up.
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from pydantic import TypeAdapter

from edge_agent.core.denoise import AnyFilterSettings, AnyReportSettings
from edge_agent.core.denoise.chain import Chains
from edge_agent.core.denoise.reporting import ReportRows
from edge_agent.core.denoise.reports import Reports
from edge_agent.core.segments import Segments, segments
from tests.bench.machine import machine
from tests.bench.report import print_json, wants_json

CASES = ((100, 100), (100, 1), (10_000, 1), (1, 1), (1, 10_000))  # channels, readings of each in a step
STEPS, SETTLING = 51, 15
START_NS = 1_760_000_000_000_000_000
FILTERS: dict[str, list[dict[str, Any]]] = {
    "hampel": [{"filter": "hampel", "window": 7}],
    "hampel, exponential": [{"filter": "hampel", "window": 7}, {"filter": "exponential", "time_constant_s": 10}],
    "median": [{"filter": "median", "window": 7}],
    "exponential": [{"filter": "exponential", "time_constant_s": 10}],
    "savitzky-golay": [{"filter": "savitzky-golay", "window": 11, "rate_hz": 1}],
    "butterworth": [{"filter": "butterworth", "cutoff_hz": 0.1, "order": 4, "rate_hz": 1}],
    "notch": [{"filter": "notch", "frequency_hz": 0.2, "rate_hz": 1}],
    "kalman level": [{"filter": "kalman", "measurement_std": 1, "process_std": 0.1}],
    "kalman trend": [{"filter": "kalman", "measurement_std": 1, "process_std": 0.1, "model": "trend"}],
}
REPORTERS: dict[str, dict[str, Any]] = {
    "deadband": {"filter": "deadband", "band": 2},
    "swinging-door": {"filter": "swinging-door", "band": 2},
}
Step = Callable[[Segments, np.ndarray[Any, Any], np.ndarray[Any, Any]], object]


class Measured(NamedTuple):
    """One figure."""

    filter: str
    channels: int
    readings_each: int
    ns_per_reading: float
    us_per_step: float


def main() -> None:
    """Measure all and print them."""
    as_json = wants_json(__doc__)
    measured = []
    for name in (*FILTERS, *REPORTERS):
        sys.stderr.write(f"bench_filters: {name}\n")
        measured += [measure(name, channels, each) for channels, each in CASES]
    if as_json:
        print_json("filters", cases=measured)
        return
    sys.stdout.write(f"filters, median of {STEPS} steps; ns a reading (us a step); {machine()}\n")
    sys.stdout.write(f"{'channels x readings':<20}" + "".join(f"{f'{c:,} x {n:,}':>20}" for c, n in CASES) + "\n")
    for start in range(0, len(measured), len(CASES)):
        row = measured[start : start + len(CASES)]
        figures = "".join(f"{f'{m.ns_per_reading:,.0f} ({m.us_per_step:,.0f})':>20}" for m in row)
        sys.stdout.write(f"{row[0].filter:<20}{figures}\n")


def measure(name: str, channels: int, each: int) -> Measured:
    """The median over the steps."""
    step = step_of(name, channels)
    grouped = segments(np.repeat(np.arange(channels), each))
    rng = np.random.default_rng(0)
    seconds = []
    for number in range(SETTLING + STEPS):
        time_ns = START_NS + (number * each + np.tile(np.arange(each), channels)) * 1_000_000_000
        value = rng.normal(20.0, 1.0, channels * each)
        since_s = time.perf_counter()
        step(grouped, time_ns, value)
        seconds.append(time.perf_counter() - since_s)
    median_s = statistics.median(seconds[SETTLING:])
    return Measured(name, channels, each, round(median_s / channels / each * 1e9, 1), round(median_s * 1e6, 1))


def step_of(name: str, channels: int) -> Step:
    """One step of a filter or a reporter that knows its channels."""
    if name in REPORTERS:
        reports = Reports()
        reporter: TypeAdapter[AnyReportSettings] = TypeAdapter(AnyReportSettings)
        reports.settle([reporter.validate_python(REPORTERS[name])] * channels)

        def report(grouped: Segments, time_ns: np.ndarray[Any, Any], value: np.ndarray[Any, Any]) -> object:
            channel = grouped.series[grouped.rank]
            return reports.step(grouped, ReportRows(channel, time_ns, value, value, np.zeros(len(value), np.uint8)))

        return report
    chain: TypeAdapter[tuple[AnyFilterSettings, ...]] = TypeAdapter(tuple[AnyFilterSettings, ...])
    chains = Chains()
    chains.settle([chain.validate_python(FILTERS[name])] * channels)
    return chains.step


if __name__ == "__main__":
    main()
