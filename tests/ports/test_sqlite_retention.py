"""How long the embedded store keeps rows, and its one-minute means."""

from pathlib import Path
from statistics import fmean

import pytest

from aggregator.adapters.keep_sqlite import SqliteKeeper
from aggregator.adapters.store_sqlite import SqliteStore
from aggregator.config import Retention, Sqlite
from aggregator.core.select import Select
from aggregator.core.views import Row
from aggregator.ports import StoreMisconfigured
from tests.batches import SECOND, T0
from tests.plant_rows import points
from tests.sqlite_file import (
    DAY,
    HOUR,
    MINUTE,
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


def test_rows_that_are_too_old_are_refused_with_the_reason_and_the_others_stored(config: Sqlite) -> None:
    now_ns = T0 + 100 * DAY
    store = SqliteStore(config, Retention(raw_d=30), lambda: now_ns)
    old = [reading(now_ns - 30 * DAY - 1, 1.0), reading(now_ns - 99 * DAY, 2.0, "gone")]
    refused = write(store, [old[0], reading(now_ns, 3.0), old[1], reading(now_ns - 30 * DAY, 4.0)])
    assert sorted(refusal.row for refusal in refused) == sorted(line.decode() for line in points(old).lines())
    assert {refusal.reason for refusal in refused} == {"older than retention.raw_d: rows are kept for 30d"}
    assert [row["value"] for row in readings(config)] == [4.0, 3.0]
    assert tables(config, "SELECT channel FROM reading_series") == [("speed",)]
    assert len(write(store, old)) == 2


def test_what_has_become_too_old_is_removed_in_portions_as_rows_are_written(config: Sqlite) -> None:
    now_ns = [T0]
    store = SqliteStore(config, Retention(raw_d=1), lambda: now_ns[0])
    write(store, [reading(T0 + i * SECOND, float(i)) for i in range(-3000, 0)])
    now_ns[0] = T0 + 2 * DAY
    left = []
    for i in range(5):
        write(store, [reading(now_ns[0] + i, 0.0, "new")])
        left.append(len(readings(config, tags={"channel": "speed"})))
    assert left == [2000, 1000, 0, 0, 0]
    assert len(readings(config)) == 5
    assert readings(config, tags={"channel": "speed"}, newest=1) == []


def test_rows_are_kept_without_retention_and_just_inside_of_it(config: Sqlite) -> None:
    rows = [reading(T0 - 23 * HOUR - i * MINUTE, float(i)) for i in range(60)]
    for retention in (Retention(), Retention(raw_d=1)):
        store = SqliteStore(config, retention, lambda: T0)
        assert write(store, [*rows, reading(T0)]) == []
        assert write(store, [reading(T0, 2.0)]) == []
        store.close()
        assert len(readings(config)) == 61


def test_a_clock_that_is_far_ahead_here_or_at_a_gateway_makes_no_row_too_old(config: Sqlite) -> None:
    written(config, [reading(T0)])
    ahead_here = SqliteStore(config, Retention(raw_d=1), lambda: T0 + 1000 * DAY)
    assert write(ahead_here, [reading(T0 + HOUR)]) == []
    ahead_here.close()
    store = SqliteStore(config, Retention(raw_d=1), lambda: T0 + HOUR)
    assert write(store, [reading(T0 + 1000 * DAY), reading(T0 + 2 * HOUR)]) == []
    assert write(store, [reading(T0 + 3 * HOUR)]) == []
    assert len(readings(config)) == 5


def test_rows_stay_an_hour_longer_than_they_would_be_taken(config: Sqlite) -> None:
    written(config, [reading(T0), reading(T0 + 30 * MINUTE)])
    store = SqliteStore(config, Retention(raw_d=1), lambda: T0 + 2 * DAY)
    write(store, [reading(T0 + DAY + 80 * MINUTE, 9.0)])
    assert [row["time"] for row in readings(config)] == [T0 + 30 * MINUTE, T0 + DAY + 80 * MINUTE]


# ---- one-minute means ---------------------------------------------------------------------------------------------


def means(config: Sqlite) -> list[Row]:
    return select(config, Select("reading_1m"))


def test_the_means_of_a_minute_are_those_of_its_readings_that_are_not_bad(config: Sqlite) -> None:
    minute = T0 - T0 % MINUTE
    rows = [
        reading(minute + i * 7 * SECOND, float(i), channel, quality=[0.0, 70.0, 129.0][i % 3])
        for i in range(40)
        for channel in ("speed", "temp")
    ]
    written(config, rows)
    keeper = SqliteKeeper(config, Retention())
    for _ in range(2):
        keeper.downsample(minute, minute + HOUR)
        found = means(config)
        assert len(found) == 10
        for row in found:
            mine = [r for r in rows if r.tags[2] == row["channel"] and 0 <= r.time_ns - int(row["time"] or 0) < MINUTE]
            good = [float(r.fields["value"]) for r in mine if float(r.fields["quality"]) < 128]
            assert row["mean"] == pytest.approx(fmean(good))
            assert (row["min"], row["max"], row["n"]) == (min(good), max(good), len(good))
            assert row["bad"] == len(mine) - len(good)


def test_readings_that_come_late_count_when_their_stretch_is_computed_again(config: Sqlite) -> None:
    minute = T0 - T0 % MINUTE
    keeper = SqliteKeeper(config, Retention())
    written(config, [reading(minute, 1.0), reading(minute + MINUTE, 5.0)])
    keeper.downsample(minute + 1, minute + 2)  # a part of a minute stands for all of it
    assert [(row["time"], row["mean"]) for row in means(config)] == [(minute, 1.0)]
    written(config, [reading(minute + 59 * SECOND, 3.0), reading(minute + 2 * MINUTE, 0.0, quality=200.0)])
    keeper.downsample(minute, minute + 3 * MINUTE)
    assert [(row["mean"], row["n"], row["bad"]) for row in means(config)] == [(2.0, 2, 0), (5.0, 1, 0), (None, 0, 1)]


def test_means_outlive_their_readings_by_their_own_retention(config: Sqlite) -> None:
    retention = Retention(raw_d=1, minutes_d=10)
    written(config, [reading(T0 + i * MINUTE) for i in range(3)])
    keeper = SqliteKeeper(config, retention)
    keeper.downsample(T0, T0 + HOUR)
    later = SqliteStore(config, retention, lambda: T0 + 5 * DAY)
    write(later, [reading(T0 + 5 * DAY)])
    keeper.downsample(T0, T0 + DAY)
    assert len(readings(config)) == 1
    assert len(means(config)) == 3
    much_later = SqliteStore(config, retention, lambda: T0 + 11 * DAY)
    write(much_later, [reading(T0 + 11 * DAY)])
    assert means(config) == []


def test_the_rest_of_a_minute_that_is_being_removed_does_not_change_its_mean(config: Sqlite) -> None:
    retention = Retention(raw_d=1)
    minute = T0 - T0 % MINUTE
    written(config, [reading(minute + i, float(i)) for i in range(3000)])
    keeper = SqliteKeeper(config, retention)
    keeper.downsample(minute, minute + MINUTE)
    before = means(config)
    store = SqliteStore(config, retention, lambda: T0 + 5 * DAY)
    write(store, [reading(T0 + 5 * DAY)])
    assert len(readings(config)) == 2001
    keeper.downsample(minute, minute + MINUTE)
    assert means(config) == before
    assert before[0]["n"] == 3000


def test_the_keeper_makes_the_file_and_says_how_long_rows_are_kept(config: Sqlite) -> None:
    keeper = SqliteKeeper(config, Retention(raw_d=30))
    with pytest.raises(StoreMisconfigured, match="no such file"):
        keeper.downsample(0, T0)
    first, *kept = keeper.plan()
    assert not config.path.exists()
    assert not first.is_done
    assert [step.what for step in kept] == [
        "readings and all other rows are kept for 30d",
        "one-minute means are kept for ever",
    ]
    keeper.apply(first)
    assert all(step.is_done for step in keeper.plan())
    assert readings(config) == []
    keeper.close()
