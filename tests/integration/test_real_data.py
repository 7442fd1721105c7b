"""The public data sets through real servers, where they lie beside the project: each row once, scores beside them."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.agents import aggregator, edge, eventually, query, run_cli
from tests.servers import Influx1, Mosquitto

pytestmark = pytest.mark.realdata

DATA = Path(__file__).parents[3] / "shared/data"
_NAMES = ["unit", "cycle", "setting1", "setting2", "setting3", *(f"s{i}" for i in range(1, 22))]
# The cycle is the time, and as the age of the engine a channel too.
FD001 = ["--separator", "space", "--columns", ",".join(_NAMES), "--channels", ",".join(_NAMES[1:])]


def _needs(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"{path.name} of the public data sets is not there")
    return path


def _replayed(port: int, arguments: Sequence[str]) -> dict[str, float]:
    done = run_cli("tocsin.plant.cli", "replay", *arguments, "--port", str(port), "--pack", "--speed", "max", "--json")
    assert done.returncode == 0, done.stderr
    summary: dict[str, float] = json.loads(done.stdout)
    return summary


@pytest.mark.parametrize("kind", ["influx1", "sqlite"])
def test_skab_valve1_0_is_stored_row_by_row_with_scores_and_alarms(
    kind: str, tmp_path: Path, mosquitto: Mosquitto, influx1: Influx1
) -> None:
    data = _needs(DATA / "skab/valve1/0.csv")
    layout = ["--separator", ";", "--time-column", "datetime", "--exclude", "anomaly,changepoint"]
    bundle = tmp_path / "skab.bundle"
    trained = run_cli(
        "models.cli", "train", "anomaly", "--data", str(data), *layout,
        "--rows", "400", "--name", "skab", "-o", str(bundle),
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    lines = data.read_text().splitlines()[1:]
    stored = (
        f'kind = "sqlite"\npath = "{tmp_path}/store.db"'
        if kind == "sqlite"
        else f'kind = "influx1"\nurl = "{influx1.url}"\ndatabase = "skab"'
    )
    with Mosquitto(tmp_path / "broker") as broker:
        assert broker.port != mosquitto.port
        with edge(tmp_path, broker.port, models=[bundle]) as agent, aggregator(tmp_path, broker.port, stored) as sink:
            eventually(lambda: agent.says("connected to the sensor broker"), "agent up")
            eventually(lambda: sink.says("broker connected"), "aggregator up")
            assert _replayed(broker.port, [str(data), *layout, "--asset", "valve1"])["rows"] == len(lines)
            window = ("--asset", "valve1", "--since", "2020-01-01", "--limit", "100000")
            eventually(
                lambda: len(query(tmp_path, "series", *window, "--channel", "Current")) == len(lines), "all rows"
            )
            current = [row["value"] for row in query(tmp_path, "series", *window, "--channel", "Current")]
            assert current == [float(line.split(";")[3]) for line in lines]
            for channel in (
                "Accelerometer1RMS",
                "Pressure",
                "Temperature",
                "Thermocouple",
                "Voltage",
                "Volume Flow RateRMS",
            ):
                assert len(query(tmp_path, "series", *window, "--channel", channel)) == len(lines)
            eventually(lambda: bool(query(tmp_path, "alarms", "--all", "--asset", "valve1")), "an alarm")
            times = {row["time"] for row in query(tmp_path, "series", *window, "--channel", "anomaly_score")}
            assert len(times) > 0.9 * len(lines)


def test_every_fd001_test_unit_has_its_remaining_life_in_influxdb(
    tmp_path: Path, mosquitto: Mosquitto, influx1: Influx1
) -> None:
    train, data = _needs(DATA / "cmapss/train_FD001.txt"), _needs(DATA / "cmapss/test_FD001.txt")
    some, bundle = tmp_path / "train.txt", tmp_path / "fd001.bundle"
    lines = train.read_text().splitlines(keepends=True)  # a third of the engines: how well it predicts is not asked
    some.write_text("".join(line for line in lines if int(line.split()[0]) <= 33))
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("[model]\nfolds = 2\n")
    trained = run_cli(
        "models.cli", "train", "failure", "--data", str(some), "--layout", "cmapss",
        "--recipe", str(recipe), "--window", "30", "--name", "fd001", "-o", str(bundle),
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    cycles = Counter(line.split()[0] for line in data.read_text().splitlines())
    stored = f'kind = "influx1"\nurl = "{influx1.url}"\ndatabase = "fd001"'
    with Mosquitto(tmp_path / "broker") as broker:
        assert broker.port != mosquitto.port
        with (
            edge(tmp_path, broker.port, models=[bundle], period_s=3600) as agent,
            aggregator(tmp_path, broker.port, stored) as sink,
        ):
            eventually(lambda: agent.says("connected to the sensor broker"), "agent up")
            eventually(lambda: sink.says("broker connected"), "aggregator up")
            start = ["--time-column", "cycle", "--time-unit", "h", "--start", "2020-01-01T00:00:00Z"]
            asset = ["--asset-column", "unit", "--asset-prefix", "engine-"]
            rows = _replayed(broker.port, [str(data), *FD001, *start, *asset])["rows"]
            assert rows == sum(cycles.values())
            wanted = {f"engine-{unit}": n - 29 for unit, n in cycles.items()}  # a window is 30 cycles

            def lives() -> dict[str, int]:
                found = query(tmp_path, "health")
                return {row["asset"]: row["time"] for row in found if row["rul_h"] is not None}

            eventually(lambda: set(lives()) == set(wanted), "a remaining life for each unit")
            for unit in list(wanted)[:: max(1, len(wanted) // 5)]:
                ask = ("series", "--asset", unit, "--channel", "rul_h", "--since", "2020-01-01", "--limit", "1000")
                eventually(lambda ask=ask, unit=unit: len(query(tmp_path, *ask)) == wanted[unit], f"all of {unit}")  # type: ignore[misc]
