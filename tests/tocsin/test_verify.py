"""The demo's judgement: what is lost, doubled or changed is counted, whatever the agent says."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.demo.metrics import parse, quantile_ms
from tocsin.demo.verify import compare
from tocsin.errors import UserError
from tocsin.plant.ledger import Ledger, read_ledger
from tocsin.plant.messages import Row

ROWS = [Row("pump-1", "speed", 1, 1480.5), Row("pump-1", "speed", 2, 1481.0), Row("pump-1", "vibration.rms", 2, 0.16)]
CREST = Row("pump-1", "vibration.crest", 2, 3.0)
ROW = st.builds(Row, st.sampled_from(["a", "b"]), st.sampled_from(["x", "v.rms"]), st.integers(0, 99), st.floats(0, 9))


def test_what_is_stored_as_published_is_neither_missing_nor_duplicated() -> None:
    assert compare(ROWS, [*ROWS, CREST]) == (3, 3, 0, 0)


def test_a_lost_row_is_missing() -> None:
    assert compare(ROWS, ROWS[1:]) == (3, 2, 1, 0)


def test_a_row_stored_twice_is_duplicated() -> None:
    assert compare(ROWS, [*ROWS, ROWS[0], CREST, CREST]) == (3, 3, 0, 2)


def test_a_row_that_nobody_published_is_duplicated() -> None:
    stranger, feature = Row("pump-1", "speed", 3, 1.0), Row("pump-2", "vibration.crest", 2, 3.0)
    assert compare(ROWS, [*ROWS, stranger, feature]) == (3, 3, 0, 2)


def test_a_changed_value_is_both() -> None:
    assert compare(ROWS, [ROWS[0]._replace(value=1480.6), *ROWS[1:]]) == (3, 2, 1, 1)


@given(st.lists(ROW, unique_by=lambda row: row[:3]), st.data())
def test_the_counts_of_any_loss_and_repetition_are_exact(rows: list[Row], data: st.DataObject) -> None:
    kept = [row for row in rows if data.draw(st.booleans())]
    again = [row for row in kept if data.draw(st.booleans())]
    assert compare(rows, [*kept, *again]) == (len(rows), len(kept), len(rows) - len(kept), len(again))


def test_a_ledger_reads_back_exactly(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.csv") as ledger:
        ledger.write(ROWS[:1])
        ledger.write(ROWS[1:])
    assert read_ledger(tmp_path / "ledger.csv") == ROWS


def test_a_file_that_is_no_ledger_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "ledger.csv"
    path.write_text("asset,channel,time_ns,value\npump-1,speed,noon,1\n")
    with pytest.raises(UserError, match=r"ledger\.csv: line 2: no row of a ledger"):
        read_ledger(path)


def test_a_quantile_lies_within_its_bucket_and_beyond_the_last_bound_is_that_bound() -> None:
    buckets = [(0.1, 0.0), (0.2, 100.0), (float("inf"), 100.0)]
    assert quantile_ms(buckets, 0.5) == 150.0
    assert quantile_ms([(0.1, 0.0), (float("inf"), 5.0)], 0.5) == 100.0
    assert quantile_ms([], 0.5) is None


def test_the_agents_metrics_are_understood() -> None:
    from edge_agent.metrics import Metrics

    metrics = Metrics()
    metrics.messages.inc(7)
    metrics.readings.inc(9)
    metrics.provider.labels("cpu").set(1)
    for broker in ("sensor", "uplink"):
        metrics.connected.labels(broker).set(1)
    metrics.latency.observe(0.04)
    from prometheus_client import generate_latest

    seen = parse(generate_latest(metrics.registry).decode())
    assert (seen.messages, seen.journaled, seen.is_connected, seen.provider) == (7, 9, True, "cpu")
    assert seen.latency_p50_ms is not None
    assert 30 < seen.latency_p50_ms < 50
