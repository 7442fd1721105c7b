"""`tocsin model fetch`: readings of a store as a file that trains a model."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from aggregator.adapters import stores
from aggregator.config import Sqlite
from models.training.data import DataSection, read_data
from tests.plant_rows import points
from tests.selects import ROWS
from tocsin.model import app

DAY = ["--since", "2025-10-09T00:00", "--until", "2025-10-10T00:00"]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("store")
    store = stores.open_store(Sqlite(kind="sqlite", path=folder / "rows.db"))
    store.prepare(points(ROWS))()
    (folder / "aggregator.toml").write_text('[store]\nkind = "sqlite"\npath = "rows.db"\n')
    yield folder / "aggregator.toml"
    store.close()


def _fetch(config: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["fetch", "--config", str(config), *arguments])


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_what_the_store_holds_of_a_machine_can_be_trained_on(config: Path, tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("polars")
    out = tmp_path / f"pump{suffix}"
    done = _fetch(config, "--asset", "pump-1", "--channel", "speed", *DAY, "--out", str(out))
    assert done.exit_code == 0, done.output
    stored = [row for row in ROWS if row.measurement == "reading" and row.tags[1:] == ("pump-1", "speed")]
    section = DataSection(field="value", sample_period_s=60, hold_s=600, thin=True)
    data = read_data([out], section)
    assert [channel.name for channel in data.channels] == ["speed"]
    assert data.sources[0].rows == len(stored)
    assert data.units == ("north/pump-1", "south/pump-1")
    values = {row.fields["value"] for row in stored}
    assert set(np.concatenate([run.values[:, 0] for run in data.runs]).tolist()) <= values


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--asset", "none", *DAY, "--out", "x.csv"], "the store knows no asset 'none'"),
        (["--asset", "pump-1", "--channel", "none", *DAY, "--out", "x.csv"], "no channel 'none'; there are "),
        (["--asset", "pump-1", *DAY, "--out", "x.xls"], "the suffix names the format"),
        (
            ["--asset", "pump-1", "--since", "2020-01-02", "--until", "2020-01-01", "--out", "x.csv"],
            "does not lie before",
        ),
        (
            ["--asset", "pump-1", "--since", "2020-01-01", "--until", "2020-01-02", "--out", "x.csv"],
            "no reading of pump-1",
        ),
    ],
)
def test_each_mistake_is_named_and_nothing_is_written(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], fault: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = _fetch(config, *arguments)
    assert done.exit_code == 2
    assert fault in " ".join(done.stderr.replace("│", " ").split())
    assert list(tmp_path.iterdir()) == []
