"""Files of the embedded store that an earlier or a later version made."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from aggregator.adapters.keep_sqlite import SqliteKeeper
from aggregator.adapters.read_sqlite import SqliteReader
from aggregator.adapters.store_sqlite import SqliteStore
from aggregator.config import Retention, Sqlite
from aggregator.core.select import Select
from aggregator.ports import StoreMisconfigured
from models.contract.schema import MEASUREMENTS
from tests.batches import SECOND, T0
from tests.plant_rows import Stored, answer
from tests.sqlite_file import (
    HOUR,
    merged,
    reading,
    readings,
    select,
    tables,
    write,
    written,
)


@pytest.fixture
def config(tmp_path: Path) -> Sqlite:
    return Sqlite(kind="sqlite", path=tmp_path / "rows.db")


VERSION_1 = """
CREATE TABLE reading_series (id_of_series INTEGER PRIMARY KEY, site TEXT NOT NULL, asset TEXT NOT NULL,
    channel TEXT NOT NULL, newest INTEGER NOT NULL, UNIQUE (site, asset, channel));
CREATE TABLE reading (time INTEGER, series INTEGER, value REAL, denoised REAL, quality REAL,
    PRIMARY KEY (time, series)) WITHOUT ROWID;
CREATE TABLE inference_series (id_of_series INTEGER PRIMARY KEY, site TEXT NOT NULL, asset TEXT NOT NULL,
    model TEXT NOT NULL, version TEXT NOT NULL, newest INTEGER NOT NULL, UNIQUE (site, asset, model, version));
CREATE TABLE inference (time INTEGER, series INTEGER, anomaly_score REAL, failure_prob REAL, health REAL, rul_h REAL,
    PRIMARY KEY (time, series)) WITHOUT ROWID;
CREATE TABLE alarm_series (id_of_series INTEGER PRIMARY KEY, site TEXT NOT NULL, asset TEXT NOT NULL,
    code TEXT NOT NULL, newest INTEGER NOT NULL, UNIQUE (site, asset, code));
CREATE TABLE alarm (time INTEGER, series INTEGER, is_open REAL, severity REAL, id TEXT, message TEXT,
    PRIMARY KEY (time, series)) WITHOUT ROWID;
"""


def of_version_1(config: Sqlite) -> list[Stored]:
    """Makes the file, its writer still at work, and says what is in it."""
    rows = [reading(T0 + i * SECOND, float(i), channel) for i in range(300) for channel in ("speed", "temp")]
    rows.append(Stored("inference", ("north", "pump", "wear", "1"), T0, {"health": 0.5}))
    alarm: dict[str, float | str] = {"is_open": 1.0, "severity": 0.5, "id": "i", "message": "hot\n'n\" loud"}
    rows.append(Stored("alarm", ("north", "pump", "hot"), T0 + 5, alarm))
    with contextlib.closing(sqlite3.connect(config.path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(VERSION_1)
        for name in ("reading", "inference", "alarm"):
            series = sorted({row.tags for row in rows if row.measurement == name})
            for number, tags in enumerate(series, 7):
                newest = max(row.time_ns for row in rows if row.measurement == name and row.tags == tags)
                marks = ", ".join("?" * (len(tags) + 2))
                connection.execute(f"INSERT INTO {name}_series VALUES ({marks})", (number, *tags, newest))  # noqa: S608
            for row in rows:
                if row.measurement == name:
                    columns = ", ".join(("time", "series", *row.fields))
                    cells = (row.time_ns, series.index(row.tags) + 7, *row.fields.values())
                    marks = ", ".join("?" * len(cells))
                    connection.execute(f"INSERT INTO {name} ({columns}) VALUES ({marks})", cells)  # noqa: S608
        connection.commit()
    return rows


def test_a_file_of_the_earlier_version_is_carried_over_when_it_is_written(config: Sqlite) -> None:
    rows = of_version_1(config)
    more = [reading(T0 + 299 * SECOND, 5.5, "temp"), reading(T0 + HOUR, 7.0, "new")]
    written(config, more)
    everything = merged([rows, more])
    for name in MEASUREMENTS:
        for question in (Select(name), Select(name, newest=2), Select(name, oldest=1)):
            assert select(config, question) == answer(question, everything)
    assert tables(config, "PRAGMA user_version") == [(2,)]
    assert tables(config, "PRAGMA integrity_check") == [("ok",)]
    written(config, more)
    assert len(readings(config)) == 601


def test_a_file_of_the_earlier_version_is_not_read_before_that(config: Sqlite) -> None:
    of_version_1(config)
    with pytest.raises(StoreMisconfigured, match=r"earlier version.*tocsin aggregator init"):
        SqliteReader(config)
    keeper = SqliteKeeper(config, Retention())
    todo = [step for step in keeper.plan() if not step.is_done]
    assert "rows of the earlier table reading" in [step.what for step in todo]
    for step in todo:
        keeper.apply(step)
    assert all(step.is_done for step in keeper.plan())
    assert len(readings(config)) == 600


def test_a_carrying_over_that_fails_leaves_the_file_as_it_was(config: Sqlite) -> None:
    of_version_1(config)
    tables(config, "CREATE TABLE inference_rows (not_ours)")
    before = tables(config, "SELECT name FROM sqlite_schema ORDER BY 1")
    with pytest.raises(StoreMisconfigured):
        write(SqliteStore(config), [reading(T0)])
    assert tables(config, "SELECT name FROM sqlite_schema ORDER BY 1") == before
    assert tables(config, "SELECT count(*) FROM reading") == [(600,)]


def test_a_file_of_a_later_version_is_left_alone(config: Sqlite) -> None:
    written(config, [reading(T0)])
    tables(config, "PRAGMA user_version=3")
    with pytest.raises(StoreMisconfigured, match="version 3"):
        write(SqliteStore(config), [reading(T0)])
    with pytest.raises(StoreMisconfigured, match="version 3"):
        SqliteReader(config)


def test_a_field_that_the_schema_has_gained_is_added_to_the_file(config: Sqlite) -> None:
    result = Stored("inference", ("north", "pump", "wear", "1"), T0, {"health": 0.5, "rul_high_h": 9.0})
    written(config, [result])
    tables(config, "DROP VIEW inference")
    tables(config, "ALTER TABLE inference_rows DROP COLUMN rul_high_h")
    with pytest.raises(StoreMisconfigured, match="not complete"):
        SqliteReader(config)
    written(config, [result])
    assert select(config, Select("inference")) == answer(Select("inference"), [result])
