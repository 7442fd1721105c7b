"""The tables of docs/scale.md are what the measured figures give, and what the page points to is there."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.metrics import Metrics
from tests.bench import capacity
from tests.bench.capacity import Costs, Plant, costs, figures, needs, replaced, tables

ROOT = Path(__file__).parents[1]
DOC = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
WRITE = {
    "inside": [{"batch_rows": 5000, "digits": "4 decimals", "points_per_cpu_s": 500_000, "body_bytes_per_point": 12.0}]
}
FLEET = {
    "gateways": 1000,
    "batches": 60_000,
    "points": 4_800_000,
    "batches_per_s": 1000.0,
    "points_per_s": 80_000.0,
    "aggregator_cores": 0.5,
    "broker_cores": 0.05,
    "database_cores": 0.4,
    "sent_bytes_per_batch": 1600.0,
    "received_bytes_per_batch": 100.0,
    "disk_bytes_per_point": 10.0,
    "resident_before_mb": 100.0,
    "resident_max_mb": 150.0,
}
COST = [st.floats(0.01, 1000) for _ in Costs._fields]


def test_the_tables_of_the_page_are_those_that_the_figures_give() -> None:
    assert replaced(DOC, tables(figures())) == DOC, "python -m tests.bench.capacity --write"


def test_the_figures_are_of_runs_in_which_nothing_was_left_over_or_lost() -> None:
    fleet, three = figures()["fleet"], figures()["aggregators"]
    assert (fleet["without_receipt"], fleet["complaints"]) == (0, 0)
    assert (three["rows_missing"], three["rows_duplicated"], three["rows_different"], three["refused"]) == (0, 0, 0, 0)


def test_the_costs_are_what_is_left_of_a_run_for_each_of_its_kinds() -> None:
    assert costs(WRITE, FLEET) == pytest.approx(
        Costs(
            point_aggregator_us=2.0,
            batch_aggregator_us=500 - 80 * 2.0,
            batch_broker_us=50.0,
            point_database_us=5.0,
            point_up_bytes=20.0,
            batch_down_bytes=100.0,
            point_write_bytes=12.0,
            point_disk_bytes=10.0,
            aggregator_mb=100.0,
            gateway_kb=50.0,
        )
    )


def test_a_plant_of_the_measured_size_needs_what_was_measured() -> None:
    found = needs(costs(WRITE, FLEET), Plant(1000, 1))
    assert found["CPU of the aggregators, cores"] == pytest.approx(0.5)
    assert found["CPU of the broker, cores"] == pytest.approx(0.05)
    assert found["CPU of InfluxDB, cores"] == pytest.approx(0.4)
    assert found["from gateways to the broker, MB/s"] == pytest.approx(1.6)
    assert found["memory of an aggregator, MB, at most"] == pytest.approx(150)
    assert found["disk of InfluxDB, GB a day"] == pytest.approx(80_000 * 86_400 * 10 / 1e9)


@given(cost=st.builds(Costs, *COST), gateways=st.integers(1, 100_000), batch_s=st.sampled_from([0.5, 1.0, 5.0]))
def test_more_gateways_never_need_less_and_rarer_batches_never_more(cost: Costs, gateways: int, batch_s: float) -> None:
    here = needs(cost, Plant(gateways, batch_s))
    more, rarer = needs(cost, Plant(2 * gateways, batch_s)), needs(cost, Plant(gateways, 2 * batch_s))
    assert all(more[name] >= here[name] for name in here)
    assert all(rarer[name] <= here[name] for name in here)


def test_the_page_says_how_to_measure_again() -> None:
    (block,) = [block for block in re.findall(r"```\n(.*?)```", DOC, re.DOTALL) if "scale.jsonl" in block]
    (benches,) = re.findall(r"for bench in (.*); do", block)
    names = [words.split()[0] for words in re.findall(r'"([^"]+)"', benches)]
    assert set(names) == set(figures()) == {"write", "fleet", "aggregators"}
    for name in names:
        assert (ROOT / "tests" / "bench" / f"bench_{name}.py").exists()
    assert all(json.loads(line) for line in capacity.FIGURES.read_text().splitlines())


def test_what_the_page_points_to_exists() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", DOC):
        assert (ROOT / "docs" / target).exists(), target
    for place in re.findall(r"`(\d\d-[a-z]+\.yaml)`", DOC):
        assert (ROOT / "deploy" / "kubernetes" / place).exists(), place


def test_the_metrics_that_the_page_names_are_served() -> None:
    served = {sample.name for metric in Metrics().registry.collect() for sample in metric.samples}
    served |= {metric.name for metric in Metrics().registry.collect()}
    assert set(re.findall(r"tocsin_aggregator_[a-z_]+", DOC)) <= served
