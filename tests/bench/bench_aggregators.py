"""Three aggregators share one broker, and one is killed each 5 s: what is missing or there twice afterwards.

    ./run bench                                                             20 s, as a table
    .venv/bin/python -m tests.bench.bench_aggregators --seconds 60 --json   one JSON object

`kill -9`, in turn; each is started again at once. Simulated gateways, and a real agent with sensors, send their
batches again until they have a receipt. In the end InfluxDB is read back row by row.
"""

import sys
import tempfile
from pathlib import Path

from tests.bench import three
from tests.bench.machine import machine
from tests.bench.report import parser, print_json

EVERY_S = 5.0


def main() -> None:
    """Run and print."""
    options = parser(__doc__)
    options.add_argument("--seconds", type=float, default=20.0, help="of new data (20)")
    options.add_argument("--every-s", type=float, default=EVERY_S, help="between two kills (5)")
    arguments = options.parse_args()
    sys.stderr.write(f"bench_aggregators: {arguments.seconds:g} s, a kill each {arguments.every_s:g} s\n")
    with tempfile.TemporaryDirectory() as scratch:
        outcome = three.run(Path(scratch), arguments.seconds, arguments.every_s)
    if arguments.json:
        print_json("aggregators", every_s=arguments.every_s, **outcome._asdict())
        return
    sys.stdout.write(f"{three.AGGREGATORS} aggregators, a kill each {arguments.every_s:g} s; {machine()}\n")
    for name, value in outcome._asdict().items():
        sys.stdout.write(f"{name:<18} {value:>12,}\n")


if __name__ == "__main__":
    main()
