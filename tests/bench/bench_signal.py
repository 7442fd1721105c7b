"""Readings per second through the signal path on one core, from payloads in memory to closed cells of the grid.

    ./run bench            a table
    ./run bench --json     one JSON object

Each message is one JSON column, `{"ts": …, "dt": 0.01, "values": [100 numbers]}`, of one of the channels in turn; 64
messages make a journal entry, as a busy agent cuts them. Timed are decoding with all its checks, and the pipeline:
repetitions, range, order, a Hampel filter, an exponential filter, alignment to a grid of 1 s, rows of the batch. Disk
and network are not. CPU time of the one thread; medians of five passes, each with a pipeline that knows all channels
already. The state is what a snapshot of it takes.
"""

import json
import statistics
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edge_agent.adapters.heap import keep_freed_memory
from edge_agent.config import AssetRule, ChannelRule, EdgeConfig, Topic
from edge_agent.core import state
from edge_agent.core.denoise.exponential import ExponentialSettings
from edge_agent.core.denoise.hampel import HampelSettings
from edge_agent.core.entries import Configured, Data
from edge_agent.core.intake import Intake, Message
from edge_agent.core.pipeline import Pipeline
from edge_agent.core.results import Results
from tests.bench.bench_pipeline import no_models
from tests.bench.machine import machine
from tests.bench.report import print_json, wants_json

PASSES = 5
READINGS_A_MESSAGE, MESSAGES_AN_ENTRY = 100, 64
ROUND_S = 1.0  # of event time in each message
START_NS = 1_760_000_000_000_000_000


class Case(NamedTuple):
    """How many channels, and how often each of them sends."""

    channels: int
    rounds: int


CASES = (Case(100, 20), Case(10_000, 2))


class Measured(NamedTuple):
    """One row of the table."""

    channels: int
    readings_per_s: int
    decode_ns: float  # a reading
    pipeline_ns: float  # a reading
    state_bytes: int  # a channel


def main() -> None:
    """Measure all cases and print them."""
    as_json = wants_json(__doc__)
    keep_freed_memory()
    measured = []
    for number, case in enumerate(CASES, 1):
        sys.stderr.write(f"bench_signal: {number} of {len(CASES)}: {case.channels} channels\n")
        measured.append(measure(case))
    if as_json:
        print_json("signal", cases=measured)
        return
    sys.stdout.write(f"columns of {READINGS_A_MESSAGE} readings to the grid, median of {PASSES}; {machine()}\n")
    sys.stdout.write(
        f"{'channels':>10} {'readings/s':>12} {'decode ns':>11} {'pipeline ns':>12} {'state B/channel':>16}\n"
    )
    for m in measured:
        sys.stdout.write(
            f"{m.channels:>10,} {m.readings_per_s:>12,} {m.decode_ns:>11.0f} {m.pipeline_ns:>12.0f}"
            f" {m.state_bytes:>16,}\n"
        )


def measure(case: Case) -> Measured:
    """The median over the passes."""
    groups = [
        messages[i : i + MESSAGES_AN_ENTRY]
        for messages in rounds(case)
        for i in range(0, len(messages), MESSAGES_AN_ENTRY)
    ]
    warm_up = -(-case.channels // MESSAGES_AN_ENTRY)
    count = sum(map(len, groups[warm_up:])) * READINGS_A_MESSAGE
    passes = [one_pass(groups[:warm_up], groups[warm_up:]) for _ in range(PASSES)]
    decode_s, pipeline_s, total_s = (statistics.median(column) for column in list(zip(*passes, strict=True))[:3])
    return Measured(
        case.channels,
        round(count / total_s),
        decode_s / count * 1e9,
        pipeline_s / count * 1e9,
        passes[0][3] // case.channels,
    )


def one_pass(warm_up: list[list[Message]], groups: list[list[Message]]) -> tuple[float, float, float, int]:
    """Seconds of decoding, of the pipeline, of both; and the bytes of its state."""
    settings = config()
    intake, pipeline = Intake(settings), Pipeline(no_models)
    pipeline.run([Configured(arrival_ns=START_NS, config=settings.model_dump_json(), digests={})], Results())
    for messages in warm_up:
        pipeline.run([decoded(intake, messages)], Results())
    decode_s = pipeline_s = 0.0
    for messages in groups:
        since_s = time.thread_time()
        entry = decoded(intake, messages)
        between_s = time.thread_time()
        pipeline.run([entry], Results())
        decode_s += between_s - since_s
        pipeline_s += time.thread_time() - between_s
    return decode_s, pipeline_s, decode_s + pipeline_s, len(state.dump(pipeline.snapshot()))


def decoded(intake: Intake, messages: list[Message]) -> Data:
    """As the agent journals them."""
    entry = intake.take(messages)
    assert not entry.deadletters, entry.deadletters[0]
    return Data.of(messages[-1].arrival_ns, entry.readings, entry.waveforms)


def rounds(case: Case) -> list[list[Message]]:
    """A message of each channel, again and again."""
    random = np.random.default_rng(1)
    made = []
    for number in range(case.rounds + 1):
        ts_ns = START_NS + int(number * ROUND_S * 1e9)
        made.append(
            [message(channel, ts_ns, random.normal(20.0, 1.0, READINGS_A_MESSAGE)) for channel in range(case.channels)]
        )
    return made


def message(channel: int, ts_ns: int, values: np.ndarray) -> Message:
    """One column, numbers as a sensor writes them."""
    content = {"ts": ts_ns // 1_000_000, "dt": ROUND_S / READINGS_A_MESSAGE, "values": values.round(3).tolist()}
    return Message(f"factory/line/asset-{channel // 10}/c{channel % 10}", json.dumps(content).encode(), ts_ns + channel)


def config() -> EdgeConfig:
    """Range, Hampel and exponential filter for all channels."""
    filters = (HampelSettings(window=7), ExponentialSettings(time_constant_s=0.05))
    return EdgeConfig(
        site="bench",
        gateway="bench",
        state_dir=Path("unused"),
        topics=(Topic(template="factory/{line}/{asset}/{channel}"),),
        channels=(ChannelRule(match="*/*", range=(-100.0, 100.0), denoise=filters),),
        assets=(AssetRule(match="*"),),
    )


if __name__ == "__main__":
    main()
