"""The embedded store: rows written each second, and how long one channel's hour takes to read.

    ./run bench            a table
    ./run bench --json     one JSON object

    python -m tests.bench.bench_sqlite --rows 50000000 --series 5000      the file of a larger plant; some minutes

Gateways of up to 500 channels at 1 Hz send in turn: batches of 5,000 readings (value, denoised, quality), all channels
in each. What is timed is `prepare` and the write together, up to the transaction on disk; beside it, CPU seconds,
with those that making the batches takes. Questions are asked of the
closed file by a reader of its own each, once the system's memory of the file is dropped (cold), and again (warm).
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from aggregator.adapters.read_sqlite import SqliteReader
from aggregator.adapters.store_sqlite import SqliteStore
from aggregator.config import Sqlite
from aggregator.core.points import Points, Table
from aggregator.core.select import Select
from tests.bench.machine import machine
from tests.bench.report import parser, print_json

BATCH = 5_000
CHANNELS = 500  # of a gateway, at most
QUESTIONS = 15
SECOND_NS = 1_000_000_000
START_NS = 1_760_000_040 * SECOND_NS
HOUR_NS = 3600 * SECOND_NS


def main() -> None:
    """Fill a file, ask it, and print the figures."""
    options = parser(__doc__)
    options.add_argument("--rows", type=int, default=5_000_000, help="rows in the file when it is asked")
    options.add_argument("--series", type=int, default=500, help="channels; a multiple of 500, or less than that")
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(Sqlite(kind="sqlite", path=Path(folder) / "rows.db"), arguments.rows, arguments.series)
    if arguments.json:
        print_json("sqlite", **measured)
        return
    sys.stdout.write(f"embedded store, batches of {BATCH:,} rows; {machine()}\n")
    for name, figure in measured.items():
        sys.stdout.write(f"{name:<28} {figure:>14,}\n")


def measure(config: Sqlite, rows: int, series: int) -> dict[str, Any]:
    """All figures of one file."""
    cpu_s = time.process_time()
    seconds = written(config, rows, series)
    cpu_s = time.process_time() - cpu_s
    tenth = max(len(seconds) // 10, 1)
    again = rewritten(config, series)
    size = config.path.stat().st_size
    cold, warm, counts = asked(config, rows, series)
    return {
        "rows": len(seconds) * BATCH,
        "series": series,
        "rows_per_s": rate(seconds),
        "rows_per_s_first_tenth": rate(seconds[:tenth]),
        "rows_per_s_last_tenth": rate(seconds[-tenth:]),
        "rows_per_s_mean": round(len(seconds) * BATCH / sum(seconds)),
        "rows_per_cpu_s": round(len(seconds) * BATCH / cpu_s),
        "rows_per_s_again": rate(again),
        "longest_write_ms": round(max(seconds) * 1e3, 1),
        "file_mb": round(size / 1e6),
        "bytes_per_row": round(size / (len(seconds) * BATCH), 1),
        "rows_of_an_hour": counts,
        "hour_of_a_channel_cold_ms": round(statistics.median(cold) * 1e3, 1),
        "hour_of_a_channel_cold_max_ms": round(max(cold) * 1e3, 1),
        "hour_of_a_channel_warm_ms": round(statistics.median(warm) * 1e3, 1),
    }


def rate(seconds: list[float]) -> int:
    """Rows a second of the median batch."""
    return round(BATCH / statistics.median(seconds))


def batches(rows: int, series: int) -> Iterator[Points]:
    """One after the other, as gateways in turn send them."""
    channels = min(series, CHANNELS)
    gateways = series // channels
    length_s = BATCH // channels
    draw = np.random.default_rng(1)
    names = [(f"asset{i // 10:04}", f"channel{i % 10}") for i in range(series)]
    for number in range(rows // BATCH):
        turn, gateway = divmod(number, gateways)
        first_ns = START_NS + turn * length_s * SECOND_NS
        value = draw.normal(20.0, 5.0, BATCH)
        yield Points(
            (
                Table(
                    "reading",
                    [("north", *name) for name in names[gateway * channels : (gateway + 1) * channels]],
                    np.tile(np.arange(channels, dtype=np.int32), length_s),
                    first_ns + np.repeat(np.arange(length_s) * SECOND_NS, channels),
                    {"value": value, "denoised": value + 0.1, "quality": np.zeros(BATCH)},
                ),
            )
        )


def written(config: Sqlite, rows: int, series: int) -> list[float]:
    """Seconds of each batch."""
    store = SqliteStore(config)
    seconds = []
    for number, points in enumerate(batches(rows, series)):
        since_s = time.perf_counter()
        assert store.prepare(points)() == []
        seconds.append(time.perf_counter() - since_s)
        if number % 1000 == 999:
            sys.stderr.write(f"bench_sqlite: {(number + 1) * BATCH:,} of {rows:,} rows\n")
    store.close()
    return seconds


def rewritten(config: Sqlite, series: int) -> list[float]:
    """Seconds of batches that are all stored already."""
    return written(config, 100 * BATCH, series)


def asked(config: Sqlite, rows: int, series: int) -> tuple[list[float], list[float], int]:
    """Seconds of a question for an hour of a channel: from the disk, and from memory; how many rows it brought."""
    draw = np.random.default_rng(2)
    end_ns = START_NS + rows // series * SECOND_NS
    cold: list[float] = []
    warm: list[float] = []
    counts: list[int] = []
    for _ in range(QUESTIONS):
        channel = int(draw.integers(series))
        since_ns = int(draw.integers(START_NS, max(end_ns - HOUR_NS, START_NS + 1)))
        tags = {"asset": f"asset{channel // 10:04}", "channel": f"channel{channel % 10}"}
        question = Select("reading", tags=tags, since_ns=since_ns, until_ns=since_ns + HOUR_NS)
        forget(config.path)
        for seconds in (cold, warm):
            since_s = time.perf_counter()
            reader = SqliteReader(config)
            counts.append(len(reader.select(question)))
            reader.close()
            seconds.append(time.perf_counter() - since_s)
    return cold, warm, round(statistics.median(counts))


def forget(path: Path) -> None:
    """Nothing of the file is left in the system's memory."""
    file = os.open(path, os.O_RDONLY)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(file)


if __name__ == "__main__":
    main()
