"""A hundred swaps of a model in a real agent under load: what becomes of the windows, and how long a swap takes.

    ./run bench            a table
    ./run bench --json     one JSON object

Ten assets send a hundred frames a second each; the file of their model is exchanged for another version, and the agent
gets SIGHUP, as soon as it has taken over the one before. A swap lasts from the signal until the journal has the new
model: reading, checking, loading and trying it, beside the old one that serves. Every window is then looked for in the
outbox: each must have one score, of one of the versions.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

from tests import swaps
from tests.agents import edge, eventually
from tests.bench.machine import machine
from tests.bench.report import print_json, wants_json
from tests.servers import Mosquitto
from tests.swaps import Load, judged, scored, swap, write_version

SWAPS, ASSETS, RATE_HZ = 100, 10, 100.0


def main() -> None:
    """Swap, and print what became of it."""
    as_json = wants_json(__doc__)
    with tempfile.TemporaryDirectory() as scratch, Mosquitto(Path(scratch) / "broker") as broker:
        folder = Path(scratch)
        versions, bundle = (folder / "1.bundle", folder / "2.bundle"), folder / "model.bundle"
        for number, path in enumerate(versions, 1):
            write_version(path, str(number))
        bundle.write_bytes(versions[0].read_bytes())
        period_s = swaps.PERIOD_MS / 1000
        with edge(folder, broker.port, models=[bundle], extra=swaps.SMALL_BATCHES, period_s=period_s) as agent:
            eventually(lambda: agent.says("connected to the sensor broker"), "agent up")
            took_s = []
            with Load(broker.port, ASSETS, RATE_HZ) as load:
                for number in range(1, SWAPS + 1):
                    if not number % 10:
                        sys.stderr.write(f"bench_swap: {number} of {SWAPS} swaps\n")
                    took_s.append(swap(agent, versions, number, bundle))
            expected = ASSETS * (load.frames - swaps.WINDOW)
            eventually(lambda: sum(scored(folder)[0].values()) >= expected, f"{expected} windows", every_s=0.5)
            agent.stop()
        found = judged(folder, ASSETS, load.frames)
    median_ms, slowest_ms = (round(1000 * float(np.quantile(took_s, q)), 1) for q in (0.5, 1.0))
    if as_json:
        print_json("swap", swaps=SWAPS, median_ms=median_ms, slowest_ms=slowest_ms, **found._asdict())
        return
    sys.stdout.write(f"{SWAPS} swaps of a model under load; {machine()}\n")
    sys.stdout.write(f"{found.windows:,} windows: {found.lost} lost, {found.twice} scored twice\n")
    parts = ", ".join(f"{count:,} by version {version}" for version, count in found.by_version.items())
    sys.stdout.write(f"scored: {parts}\n")
    sys.stdout.write(f"a swap: {median_ms} ms (median), {slowest_ms} ms at most\n")


if __name__ == "__main__":
    main()
