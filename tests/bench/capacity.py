"""From measured costs to the size of a plant: the tables of docs/scale.md.

    .venv/bin/python -m tests.bench.capacity             prints them
    .venv/bin/python -m tests.bench.capacity --write     puts them into docs/scale.md

The figures lie in docs/scale.jsonl: a line each of `bench_write`, `bench_fleet` and `bench_aggregators`, as --json
prints them. Everything is linear in points, batches and gateways; what that leaves out is said in the document.
"""

import json
import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from tests.bench.report import parser

ROOT = Path(__file__).parents[2]
FIGURES, DOCUMENT = ROOT / "docs" / "scale.jsonl", ROOT / "docs" / "scale.md"
BEGIN, END = "<!-- begin: tests/bench/capacity.py -->", "<!-- end -->"
BATCH_ROWS, DIGITS = 5000, "4 decimals"  # the case of bench_write that gives the cost of a point
CHANNELS_AN_ASSET, ASSETS_A_GATEWAY = 10, 8  # one reading a second of each channel
BUSY = 0.6  # how far a core is planned to be used
DAY_S = 86_400

Report = dict[str, Any]


class Costs(NamedTuple):
    """What was measured, each for one of its kind."""

    point_aggregator_us: float  # CPU time from bytes to bytes, without MQTT
    batch_aggregator_us: float  # the rest of the process's: MQTT, receipt, work on each batch
    batch_broker_us: float
    point_database_us: float
    point_up_bytes: float  # gateway to broker, and again broker to aggregator
    batch_down_bytes: float  # receipt and PUBACK, to the gateway
    point_write_bytes: float  # aggregator to database
    point_disk_bytes: float
    aggregator_mb: float  # memory without gateways
    gateway_kb: float  # memory of an aggregator for each gateway it hears of


class Plant(NamedTuple):
    """So many gateways, each with a batch each `batch_s`."""

    gateways: int
    batch_s: float


PLANTS = (Plant(100, 1), Plant(1000, 1), Plant(10_000, 1), Plant(10_000, 5))


def costs(write: Report, fleet: Report) -> Costs:
    """The cost of a point comes from the one benchmark; what is left of the other's is the cost of a batch."""
    inside = next(one for one in write["inside"] if (one["batch_rows"], one["digits"]) == (BATCH_ROWS, DIGITS))
    batches_per_s, points_per_s = fleet["batches_per_s"], fleet["points_per_s"]
    point_us = 1e6 / inside["points_per_cpu_s"]
    return Costs(
        point_us,
        (1e6 * fleet["aggregator_cores"] - points_per_s * point_us) / batches_per_s,
        1e6 * fleet["broker_cores"] / batches_per_s,
        1e6 * fleet["database_cores"] / points_per_s,
        fleet["sent_bytes_per_batch"] * fleet["batches"] / fleet["points"],
        fleet["received_bytes_per_batch"],
        inside["body_bytes_per_point"],
        fleet["disk_bytes_per_point"],
        fleet["resident_before_mb"],
        1e3 * (fleet["resident_max_mb"] - fleet["resident_before_mb"]) / fleet["gateways"],
    )


def needs(cost: Costs, plant: Plant) -> dict[str, float]:
    """What a plant of that size asks for, by the words of the table."""
    batches = plant.gateways / plant.batch_s
    points = plant.gateways * ASSETS_A_GATEWAY * CHANNELS_AN_ASSET
    aggregator_cores = (points * cost.point_aggregator_us + batches * cost.batch_aggregator_us) / 1e6
    aggregators = max(2, math.ceil(aggregator_cores / BUSY))
    return {
        "assets": plant.gateways * ASSETS_A_GATEWAY,
        "points a second": points,
        "MQTT connections": plant.gateways + aggregators,
        "MQTT messages a second, in and out (batch, receipt)": 4 * batches,
        "from gateways to the broker, MB/s": points * cost.point_up_bytes / 1e6,
        "from the broker to gateways, MB/s": batches * cost.batch_down_bytes / 1e6,
        "from aggregators to InfluxDB, MB/s": points * cost.point_write_bytes / 1e6,
        "CPU of the broker, cores": batches * cost.batch_broker_us / 1e6,
        "CPU of the aggregators, cores": aggregator_cores,
        f"aggregators, at most {BUSY:.0%} of a core each, two at least": aggregators,
        "memory of an aggregator, MB, at most": cost.aggregator_mb + plant.gateways * cost.gateway_kb / 1e3,
        "CPU of InfluxDB, cores": points * cost.point_database_us / 1e6,
        "disk of InfluxDB, GB a day": points * DAY_S * cost.point_disk_bytes / 1e9,
    }


def tables(reports: dict[str, Report]) -> str:
    """The generated part of the document."""
    fleet, write, three = (reports[name] for name in ("fleet", "write", "aggregators"))
    cost = costs(write, fleet)
    plants = [needs(cost, plant) for plant in PLANTS]
    heads = [f"{plant.gateways:,}, each {plant.batch_s:g} s" for plant in PLANTS]
    return "\n\n".join(
        (
            f"Measured on {fleet['machine']}.",
            _table(("the fleet", ""), _fleet(fleet)),
            _table(("into InfluxDB 1.x", "lines/s", "of the bare loader", "points a core-second"), _written(write)),
            _table(("three aggregators", ""), _three(three)),
            _table(("cost", "of a point", "of a batch", "of a gateway", "of an asset"), _costs(cost)),
            _table(("gateways", *heads), ((name, *(_short(one[name]) for one in plants)) for name in plants[0])),
        )
    )


def _fleet(fleet: Report) -> list[tuple[str, str]]:
    return [
        ("gateways, one batch a second each", f"{fleet['gateways']:,}"),
        ("minutes", f"{fleet['minutes']:g}"),
        ("points a second", f"{fleet['points_per_s']:,.0f}"),
        ("series", f"{fleet['series']:,}"),
        ("lag p50, p99, max, ms", f"{fleet['lag_p50_ms']:g}, {fleet['lag_p99_ms']:g}, {fleet['lag_max_ms']:g}"),
        ("batches without receipt at the end", f"{fleet['without_receipt']:,}"),
        ("memory of the aggregator, highest, MB", f"{fleet['resident_max_mb']:g}"),
        ("its slope, MB a minute", f"{fleet['resident_slope_mb_per_min']:g}"),
        (
            "cores: aggregator, broker, InfluxDB",
            f"{fleet['aggregator_cores']:.2f}, {fleet['broker_cores']:.2f}, {fleet['database_cores']:.2f}",
        ),
    ]


def _written(write: Report) -> list[tuple[str, str, str, str]]:
    whole = [
        (
            f"{one['connections']} connection{'s'[: one['connections'] - 1]}, batches of {one['batch_rows']:,}",
            f"{one['lines_per_s']:,}",
            f"{one['ratio']:.0%}",
            f"{one['process_points_per_cpu_s']:,}",
        )
        for one in write["written"]
    ]
    inside = [
        (f"without MQTT, batches of {one['batch_rows']:,}, {one['digits']}", "", "", f"{one['points_per_cpu_s']:,}")
        for one in write["inside"]
    ]
    return whole + inside


def _three(three: Report) -> list[tuple[str, str]]:
    return [
        (f"`kill -9`, one each {three['every_s']:g} s for {three['seconds']:g} s", f"{three['kills']}"),
        ("rows", f"{three['rows']:,}"),
        ("missing", f"{three['rows_missing']}"),
        ("duplicated", f"{three['rows_duplicated']}"),
        ("different", f"{three['rows_different']}"),
        ("batches sent again", f"{three['sent_again']:,}"),
    ]


def _costs(cost: Costs) -> list[tuple[str, ...]]:
    """A gateway is one batch a second; an asset takes its share of it."""
    gateway_points, asset_points = ASSETS_A_GATEWAY * CHANNELS_AN_ASSET, CHANNELS_AN_ASSET

    def row(name: str, point: float, batch: float, unit_scale: float = 1.0) -> tuple[str, ...]:
        gateway = (gateway_points * point + batch) * unit_scale
        return (name, _short(point), _short(batch), _short(gateway), _short(gateway * asset_points / gateway_points))

    return [
        row("CPU of aggregators, µs", cost.point_aggregator_us, cost.batch_aggregator_us),
        row("CPU of the broker, µs", 0, cost.batch_broker_us),
        row("CPU of InfluxDB, µs", cost.point_database_us, 0),
        row("gateway to broker, bytes", cost.point_up_bytes, 0),
        row("broker to gateway, bytes", 0, cost.batch_down_bytes),
        row("aggregator to InfluxDB, bytes", cost.point_write_bytes, 0),
        row("disk of InfluxDB, bytes", cost.point_disk_bytes, 0),
    ]


def _short(value: float) -> str:
    """Three digits that count; whole numbers as they are."""
    if float(value).is_integer() or value >= 1000:
        return f"{value:,.0f}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{digits}f}"


def _table(head: tuple[str, ...], body: Iterable[tuple[str, ...]]) -> str:
    rule = "|---|" + "---:|" * (len(head) - 1)
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, *body)]
    return "\n".join([lines[0], rule, *lines[1:]]).replace("|  |", "| |").replace("|  |", "| |")


def figures(path: Path = FIGURES) -> dict[str, Report]:
    """The last report of each benchmark in the file."""
    return {report["bench"]: report for report in map(json.loads, path.read_text(encoding="utf-8").splitlines())}


def replaced(document: str, part: str) -> str:
    """The document with a new generated part."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{part}\n\n{END}{after}"


def main() -> None:
    """Print, or write."""
    options = parser(__doc__)
    options.add_argument("--write", action="store_true", help=f"into {DOCUMENT.relative_to(ROOT)}")
    arguments = options.parse_args()
    reports = figures()
    if arguments.json:
        cost = costs(reports["write"], reports["fleet"])
        plants = [plant._asdict() | needs(cost, plant) for plant in PLANTS]
        sys.stdout.write(json.dumps({"costs": cost._asdict(), "plants": plants}) + "\n")
        return
    if arguments.write:
        DOCUMENT.write_text(replaced(DOCUMENT.read_text(encoding="utf-8"), tables(reports)), encoding="utf-8")
        return
    sys.stdout.write(tables(reports) + "\n")


if __name__ == "__main__":
    main()
