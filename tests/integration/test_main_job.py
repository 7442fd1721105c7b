"""The road from a sensor message to a row, with real processes, a real Mosquitto and a real InfluxDB."""

import json
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from tests.agents import aggregator, edge, eventually, query, run_cli, sqlite_rows
from tests.publishing import Publisher, publish
from tests.servers import Influx1, Mosquitto

T0_MS = 1_600_000_000_000
KNOWN = "factory/line/m1/known"
READINGS = "SELECT count(*) FROM reading"


def test_a_published_reading_becomes_a_row_with_its_quality(tmp_path: Path, broker: Mosquitto) -> None:
    store = tmp_path / "store.db"
    with (
        edge(tmp_path, broker.port) as agent,
        aggregator(tmp_path, broker.port, f'kind = "sqlite"\npath = "{store}"') as sink,
    ):
        eventually(lambda: agent.says("connected to the sensor broker"), "agent up")
        eventually(lambda: sink.says("broker connected"), "aggregator up")
        with Publisher(broker.port) as publisher:
            publisher.send("factory/line/m1/narrow", {"ts": T0_MS, "value": 5.0})
            publisher.send("factory/line/m1/narrow", {"ts": T0_MS + 1000, "value": 50.0})
            publisher.send("factory/line/m1", {"ts": T0_MS, "values": {"known_a": 1.5, "known_b": 2.5}})
            publisher.send("factory/line/m1/known_c", [{"ts": T0_MS + i, "value": float(i)} for i in range(3)])
        eventually(lambda: sqlite_rows(store, READINGS) == [(7,)], "seven readings stored")
        found = {
            (r["channel"], r["value"]): r["quality"]
            for r in query(tmp_path, "series", "--asset", "m1", "--since", "2020-01-01", "--channel", "narrow")
        }
        assert found == {("narrow", 5.0): 0.0, ("narrow", 50.0): 129.0}
        assert agent.stop() == 0
        assert sink.stop() == 0


def test_bad_input_becomes_dead_letters_and_nothing_else_is_lost(tmp_path: Path, broker: Mosquitto) -> None:
    store = tmp_path / "store.db"
    bad: dict[str, list[object]] = {
        "m1/known": [
            b"{not json",
            {"ts": T0_MS, "value": "NaN"},
            {"ts": 5, "value": 1},
            {"ts": "2200-01-01", "value": 1},
        ],
        "sensorless/strange": [{"ts": T0_MS, "value": 1}],
        "m1/known_big": [b"9" * 2_000_000],
    }
    with (
        edge(tmp_path, broker.port) as agent,
        aggregator(tmp_path, broker.port, f'kind = "sqlite"\npath = "{store}"'),
    ):
        eventually(lambda: agent.says("connected to the sensor broker"), "agent up")
        with Publisher(broker.port) as publisher:
            for i, (topic, payloads) in enumerate(bad.items()):
                for j, payload in enumerate(payloads):
                    publisher.send(f"factory/line/{topic}", payload)
                    publisher.send("factory/line/m2/known", {"ts": T0_MS + 100 * i + j, "value": 1.0})
        eventually(lambda: sqlite_rows(store, READINGS) == [(6,)], "the six good readings stored")
        done = run_cli("edge_agent.cli", "deadletters", str(tmp_path / "edge.toml"), "--json")
        reasons = sorted(letter["reason"] for letter in json.loads(done.stdout))
        assert reasons == ["json", "time_range", "time_range", "too_large", "unknown_channel", "value"]


def test_kill_minus_nine_of_either_side_loses_and_repeats_nothing(tmp_path: Path, broker: Mosquitto) -> None:
    store = tmp_path / "store.db"
    agent = edge(tmp_path, broker.port)
    sink = aggregator(tmp_path, broker.port, f'kind = "sqlite"\npath = "{store}"')
    with agent, sink:
        eventually(lambda: agent.says("connected to the sensor broker"), "agent up")
        with Publisher(broker.port) as publisher:
            for round_ in range(4):
                for i in range(250):
                    n = round_ * 250 + i
                    publisher.send(KNOWN, {"ts": T0_MS + n * 100, "value": float(n)})
                    if i == 125:
                        victim = agent if round_ % 2 else sink
                        victim.kill()
                        victim.start()
                    time.sleep(0.001)
        eventually(lambda: sqlite_rows(store, READINGS) == [(1000,)], "a thousand readings stored")
        values = [v for (v,) in sqlite_rows(store, "SELECT value FROM reading ORDER BY time")]
        assert values == [float(n) for n in range(1000)]


def test_a_database_that_is_away_delays_rows_and_loses_none(
    tmp_path: Path, broker: Mosquitto, influx1: Influx1
) -> None:
    assert influx1.is_up()
    with Influx1(tmp_path / "influx") as database:
        sink = aggregator(tmp_path, broker.port, f'kind = "influx1"\nurl = "{database.url}"\ndatabase = "away"')
        with edge(tmp_path, broker.port) as agent, sink:
            eventually(lambda: agent.says("connected to the uplink broker"), "agent up")
            eventually(lambda: sink.says("broker connected"), "aggregator up")
            database.kill()
            publish(broker.port, [(KNOWN, {"ts": T0_MS + n * 1000, "value": float(n)}) for n in range(50)])
            eventually(lambda: sink.says("store not available"), "the aggregator misses it")
            database.start()
            ask = ("series", "--asset", "m1", "--channel", "known", "--since", "2020-01-01", "--limit", "1000")
            eventually(lambda: len(query(tmp_path, *ask)) == 50, "fifty rows in InfluxDB")
            assert [row["value"] for row in query(tmp_path, *ask)] == [float(n) for n in range(50)]


def test_sighup_takes_over_a_good_configuration_and_refuses_a_bad_one(tmp_path: Path, broker: Mosquitto) -> None:
    store = tmp_path / "store.db"
    with (
        edge(tmp_path, broker.port) as agent,
        aggregator(tmp_path, broker.port, f'kind = "sqlite"\npath = "{store}"'),
    ):
        eventually(lambda: agent.says("connected to the sensor broker"), "agent up")
        path = tmp_path / "edge.toml"
        good = path.read_text()
        path.write_text(good.replace("[0, 10]", "[10, 0]"))
        agent.signal(signal.SIGHUP)
        eventually(lambda: agent.says("the new configuration is refused"), "refused")
        path.write_text(good.replace("[0, 10]", "[0, 100]"))
        agent.signal(signal.SIGHUP)
        eventually(lambda: agent.says("configuration reloaded"), "taken over")
        publish(broker.port, [("factory/line/m1/narrow", {"ts": T0_MS, "value": 50.0})])
        eventually(
            lambda: sqlite_rows(store, "SELECT value, quality FROM reading") == [(50.0, 0.0)], "good by the new range"
        )


def _pump_csv(path: Path) -> int:
    """A small file in the layout of SKAB: a pump whose channels move together, until row 500."""
    rng = np.random.default_rng(7)
    load = np.convolve(rng.normal(size=720), np.ones(20) / 20, "same")
    values = np.column_stack([load, 2 * load, -load, 0.5 * load]) + rng.normal(scale=0.05, size=(720, 4))
    values[500:, 1] += 8.0
    rows = [
        f"2020-03-09 10:{s // 60 % 60:02d}:{s % 60:02d};" + ";".join(f"{v:.5f}" for v in row) + f";{int(s >= 500)}.0"
        for s, row in enumerate(values)
    ]
    path.write_text("\n".join(["datetime;Current;Pressure;Flow Rate;Voltage;anomaly", *rows]) + "\n")
    return len(rows)


@pytest.mark.parametrize("kind", ["influx1", "sqlite"])
def test_a_replayed_pump_file_is_in_the_store_with_scores_and_an_alarm_that_names_the_channel(
    kind: str, tmp_path: Path, broker: Mosquitto, influx1: Influx1
) -> None:
    n = _pump_csv(tmp_path / "pump.csv")
    layout = ["--separator", ";", "--time-column", "datetime", "--exclude", "anomaly"]
    bundle = tmp_path / "pump.bundle"
    trained = run_cli(
        "models.cli", "train", "anomaly", "--data", str(tmp_path / "pump.csv"), *layout,
        "--rows", "400", "--window", "1", "--name", "pump", "-o", str(bundle),
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    store = (
        f'kind = "sqlite"\npath = "{tmp_path}/store.db"'
        if kind == "sqlite"
        else f'kind = "influx1"\nurl = "{influx1.url}"\ndatabase = "pump"'
    )
    with edge(tmp_path, broker.port, models=[bundle]) as agent, aggregator(tmp_path, broker.port, store) as sink:
        eventually(lambda: agent.says("connected to the sensor broker"), "agent up")
        eventually(lambda: sink.says("broker connected"), "aggregator up")
        replayed = run_cli(
            "tocsin.plant.cli", "replay", str(tmp_path / "pump.csv"), *layout,
            "--port", str(broker.port), "--asset", "pump-1", "--pack", "--speed", "max", "--json",
        )  # fmt: skip
        assert json.loads(replayed.stdout)["rows"] == n, replayed.stderr
        since = ("--asset", "pump-1", "--since", "2020-01-01", "--limit", "10000")
        eventually(lambda: len(query(tmp_path, "series", *since, "--channel", "anomaly_score")) == n, "a score a row")
        for channel in ("Current", "Pressure", "Flow Rate", "Voltage"):
            assert len(query(tmp_path, "series", *since, "--channel", channel)) == n
        (alarm,) = query(tmp_path, "alarms", "--all", "--asset", "pump-1")
        assert "Pressure" in alarm["message"]
    offline = run_cli("edge_agent.cli", "check", str(tmp_path / "edge.toml"), "--json")
    assert json.loads(offline.stdout) == {"ok": True, "models": ["pump 1"], "warnings": []}
