"""Readings per second through the pipeline, without models: range check, Hampel filter, alignment, batching.

    ./run bench            a table
    ./run bench --json     one JSON object

What is timed is `Pipeline.run` from a journal entry in memory to rows of the batch; decoding, disk and network
are not. Each figure is the median of five passes, each with a pipeline of its own that knows all channels.
"""

import statistics
import sys
import time
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from edge_agent.config import AssetRule, ChannelRule, EdgeConfig, Topic
from edge_agent.core.denoise.hampel import HampelSettings
from edge_agent.core.entries import Configured, Data
from edge_agent.core.pipeline import Pipeline
from edge_agent.core.readings import ChannelKey, Readings
from edge_agent.core.results import Results
from models.contract.quality import Quality
from tests.bench.machine import machine
from tests.bench.report import print_json, wants_json

PASSES = 5
CHANNELS_AN_ASSET = 10
START_NS = 1_760_000_000_000_000_000
PERIOD_NS = 1_000_000_000  # each channel reads once a second
BATCH_ROWS = 5000  # as the agent's default: then the results begin anew


class Case(NamedTuple):
    """How readings arrive: `entry_readings` readings a journal entry, from `channels` channels in turn."""

    channels: int
    entry_readings: int
    entries: int


CASES = (Case(100, 100, 1000), Case(100, 1, 1000), Case(10_000, 100, 1000), Case(10_000, 1, 1000))


class Measured(NamedTuple):
    """One row of the table."""

    channels: int
    entry_readings: int
    readings_per_s: int
    us_per_entry: float


def main() -> None:
    """Measure all cases and print them."""
    as_json = wants_json(__doc__)
    measured = []
    for number, case in enumerate(CASES, 1):
        sys.stderr.write(f"bench_pipeline: {number} of {len(CASES)}: {case.channels} channels\n")
        measured.append(measure(case))
    if as_json:
        print_json("pipeline", cases=measured)
        return
    sys.stdout.write(f"pipeline, no models, median of {PASSES}; {machine()}\n")
    sys.stdout.write(f"{'channels':>10} {'readings an entry':>18} {'readings/s':>12} {'us an entry':>12}\n")
    for m in measured:
        sys.stdout.write(f"{m.channels:>10,} {m.entry_readings:>18,} {m.readings_per_s:>12,} {m.us_per_entry:>12.1f}\n")


def measure(case: Case) -> Measured:
    """The median over the passes."""
    entries = list(journal(case))
    seconds = statistics.median(one_pass(case, entries) for _ in range(PASSES))
    return Measured(
        case.channels,
        case.entry_readings,
        round(case.entries * case.entry_readings / seconds),
        round(seconds / case.entries * 1e6, 1),
    )


def one_pass(case: Case, entries: list[Data]) -> float:
    """Seconds for all entries, the first acquaintance with the channels not included."""
    pipeline = Pipeline(no_models)
    pipeline.run([Configured(arrival_ns=START_NS, config=config().model_dump_json(), digests={})], Results())
    everything = np.arange(case.channels)
    pipeline.run([entry(everything, np.full(case.channels, START_NS))], Results())
    results = Results()
    since_s = time.perf_counter()
    for one in entries:
        pipeline.run([one], results)
        if results.rows >= BATCH_ROWS:
            results = Results()
    return time.perf_counter() - since_s


def journal(case: Case) -> list[Data]:
    """Entries as a plant of that many channels would fill them."""
    spacing_ns = PERIOD_NS // case.channels
    made = []
    for number in range(case.entries):
        order = number * case.entry_readings + np.arange(case.entry_readings)
        made.append(entry(order % case.channels, START_NS + PERIOD_NS + order * spacing_ns))
    return made


def entry(channels: NDArray[np.int64], time_ns: NDArray[np.int64]) -> Data:
    """One reading of each of these channels."""
    count = len(channels)
    value = np.random.default_rng(int(time_ns[0]) % 2**32).normal(20.0, 1.0, count)
    keys: list[ChannelKey] = [
        (f"asset-{channel // CHANNELS_AN_ASSET}", f"channel-{channel % CHANNELS_AN_ASSET}") for channel in channels
    ]
    readings = Readings(keys, np.arange(count, dtype=np.int32), time_ns, value, np.full(count, Quality.GOOD, np.uint8))
    return Data.of(int(time_ns[-1]), readings, [])


def config() -> EdgeConfig:
    """A range and a Hampel filter of 7 on each channel; a grid of one second."""
    return EdgeConfig(
        site="bench",
        gateway="bench",
        state_dir=Path("unused"),
        topics=(Topic(template="bench/{asset}/{channel}"),),
        channels=(ChannelRule(match="*/*", range=(-100.0, 100.0), denoise=(HampelSettings(window=7),)),),
        assets=(AssetRule(match="*"),),
    )


def no_models(digest: str) -> NoReturn:
    """The configuration names none."""
    raise LookupError(digest)


if __name__ == "__main__":
    main()
