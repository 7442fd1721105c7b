"""Readings per second from messages to a journal entry's columns, for each payload format; one core.

    ./run bench            a table
    ./run bench --json     one JSON object

What is timed, in CPU seconds, is `Intake.take` with 64 messages of as many value channels a call: topic, repetitions,
decoding, checks, columns; link, disk and pipeline are not. Once with one reading a message and once with a hundred: a
column, or a pack where the format has no columns. Each figure is the median of five passes.
"""

import gzip
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import cbor2
import msgspec
import numpy as np
import orjson
import zstandard

from edge_agent.config import EdgeConfig
from edge_agent.core.intake import Intake, Message
from tests.bench.machine import machine
from tests.bench.report import print_json, wants_json

PASSES = 5
CALLS = 20
MESSAGES = 64  # a call, each of a channel of its own
MANY = 100
START_NS = 1_760_000_000_000_000_000
STEP_NS = 10_000_000

# The payload of `values`, STEP_NS apart, of a channel, from a time on.
Encode = Callable[[str, int, list[float]], bytes]


def content(_channel: str, time_ns: int, values: list[float]) -> Any:
    """As the formats of JSON's shapes have it."""
    if len(values) == 1:
        return {"ts": time_ns // 1_000_000, "value": values[0]}
    return {"ts": time_ns // 1_000_000, "dt": STEP_NS / 1e9, "values": values}


def content_with_times(_channel: str, time_ns: int, values: list[float]) -> Any:
    """A time beside each value."""
    return {"ts": [(time_ns + i * STEP_NS) // 1_000_000 for i in range(len(values))], "values": values}


def content_elsewhere(channel: str, time_ns: int, values: list[float]) -> Any:
    """As a gateway packs tags: to be found by `fields`."""
    return {
        "values": [
            {"id": channel, "v": v, "q": True, "t": (time_ns + i * STEP_NS) // 1_000_000} for i, v in enumerate(values)
        ]
    }


def senml(channel: str, time_ns: int, values: list[float]) -> list[dict[str, Any]]:
    """A pack."""
    first = {"bn": channel, "bt": time_ns / 1e9, "v": values[0]}
    return [first, *({"t": round(i * STEP_NS / 1e9, 2), "v": v} for i, v in enumerate(values[1:], 1))]


def senml_cbor(channel: str, time_ns: int, values: list[float]) -> bytes:
    """The same with the labels of CBOR."""
    labels = {"bn": -2, "bt": -3, "t": 6, "v": 2}
    return cbor2.dumps([{labels[k]: v for k, v in record.items()} for record in senml(channel, time_ns, values)])


def line_protocol(channel: str, time_ns: int, values: list[float]) -> bytes:
    """A line each."""
    lines = (f"plant,sensor={channel} value={v} {time_ns + i * STEP_NS}" for i, v in enumerate(values))
    return "\n".join(lines).encode()


def of(encode: Callable[[Any], bytes], make: Callable[[str, int, list[float]], Any] = content) -> Encode:
    """Make the content, then encode it."""
    return lambda channel, time_ns, values: encode(make(channel, time_ns, values))


FIELDS = {"items": "values", "time": "t", "value": "v", "channel": "id", "quality": "q"}
CASES: dict[str, tuple[dict[str, Any], Encode]] = {
    "json": ({}, of(orjson.dumps)),
    "json, a time each": ({}, of(orjson.dumps, content_with_times)),
    "json, fields": ({"fields": FIELDS}, of(orjson.dumps, content_elsewhere)),
    "json, gzip": ({"compression": "gzip"}, of(lambda made: gzip.compress(orjson.dumps(made), 6))),
    "json, zstd": ({"compression": "zstd"}, of(lambda made: zstandard.compress(orjson.dumps(made)))),
    "msgpack": ({"format": "msgpack"}, of(msgspec.msgpack.encode)),
    "cbor": ({"format": "cbor"}, of(cbor2.dumps)),
    "senml-json": ({"format": "senml-json"}, of(orjson.dumps, senml)),
    "senml-cbor": ({"format": "senml-cbor"}, senml_cbor),
    "influx-line": ({"format": "influx-line"}, line_protocol),
    "raw <f4": (
        {"format": "raw", "dtype": "<f4", "rate_hz": 1e9 / STEP_NS},
        lambda _channel, _time_ns, values: np.array(values, "<f4").tobytes(),
    ),
}


class Measured(NamedTuple):
    """One row of the table."""

    format: str
    readings: int  # a message
    readings_per_s: int
    us_per_message: float


def main() -> None:
    """Measure all formats and print them."""
    as_json = wants_json(__doc__)
    measured = []
    for number, name in enumerate(CASES, 1):
        sys.stderr.write(f"bench_formats: {number} of {len(CASES)}: {name}\n")
        measured += [measure(name, readings) for readings in (1, MANY)]
    if as_json:
        print_json("formats", cases=measured)
        return
    sys.stdout.write(f"messages to columns, {MESSAGES} messages a call, median of {PASSES}; {machine()}\n")
    sys.stdout.write(f"{'format':<20} {'readings a message':>18} {'readings/s':>12} {'us a message':>13}\n")
    for m in measured:
        sys.stdout.write(f"{m.format:<20} {m.readings:>18} {m.readings_per_s:>12,} {m.us_per_message:>13.2f}\n")


def measure(name: str, readings: int) -> Measured:
    """The median over the passes, in CPU time."""
    setting, encode = CASES[name]
    calls = [messages(encode, number, readings) for number in range(CALLS)]
    seconds = statistics.median(one_pass(setting, calls) for _ in range(PASSES))
    count = CALLS * MESSAGES
    return Measured(name, readings, round(count * readings / seconds), round(seconds / count * 1e6, 2))


def messages(encode: Encode, number: int, readings: int) -> list[Message]:
    """The messages of one call: later than those of the calls before."""
    first_ns = START_NS + number * readings * STEP_NS
    draw = np.random.default_rng(number)
    made = []
    for i in range(MESSAGES):
        payload = encode(f"channel{i}", first_ns, draw.normal(20.0, 5.0, readings).round(3).tolist())
        made.append(Message(f"bench/machine{i // 8}/channel{i}", payload, first_ns + readings * STEP_NS + i))
    return made


def one_pass(setting: dict[str, Any], calls: list[list[Message]]) -> float:
    """Seconds for all calls, by an intake that knows the topics and what they send."""
    intake = Intake(config(setting))
    for _ in range(12):
        intake.take(calls[0])
    since_s = time.process_time()
    for call in calls:
        entry = intake.take(call)
        assert not entry.deadletters, entry.deadletters[0]
    return time.process_time() - since_s


def config(setting: dict[str, Any]) -> EdgeConfig:
    """Every channel is one of values."""
    template = "bench/{asset}/{tag}" if "fields" in setting else "bench/{asset}/{channel}"
    return EdgeConfig.model_validate(
        {
            "site": "bench",
            "gateway": "bench",
            "state_dir": "unused",
            "topics": [{"template": template} | setting],
            "channels": [{"match": "*/*"}],
            "assets": [{"match": "*"}],
        }
    )


if __name__ == "__main__":
    main()
