"""What only the embedded store promises: any rows and questions, and many at work on its file at once."""

import contextlib
import json
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aggregator.adapters.keep_sqlite import SqliteKeeper
from aggregator.adapters.read_sqlite import SqliteReader
from aggregator.adapters.store_sqlite import SqliteStore
from aggregator.config import Retention, Sqlite
from aggregator.core.select import Select, Where
from aggregator.ports import RetryLater, StoreMisconfigured
from models.contract.schema import MEASUREMENTS
from tests.batches import SECOND, T0
from tests.plant_rows import Stored, answer, points
from tests.sqlite_file import (
    DAY,
    HOUR,
    MINUTE,
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


# ---- any rows, any questions --------------------------------------------------------------------------------------

# Few of each, so that rows meet; minutes close together and far apart.
TIMES = st.builds(
    lambda minute, ns: T0 + minute * MINUTE + ns,
    st.sampled_from([0, 1, 40, 5000, 90_000]),
    st.sampled_from([0, 30 * SECOND, MINUTE - 1]),
)


@st.composite
def stored(draw: st.DrawFn, names: Sequence[str]) -> Stored:
    measurement = draw(st.sampled_from(names))
    schema = MEASUREMENTS[measurement]
    tags = draw(st.sampled_from([schema.tags, ("ä", *schema.tags[1:])]))
    held = draw(st.sets(st.sampled_from(schema.floats), min_size=1, max_size=3))
    fields: dict[str, float | str] = {name: float(draw(st.integers(0, 8))) for name in sorted(held)}
    fields |= {name: draw(st.sampled_from(["", "x", '"q"\n'])) for name in schema.strings}
    return Stored(measurement, tags, draw(TIMES), fields)


NAMES = st.lists(st.sampled_from(sorted(MEASUREMENTS)), min_size=1, max_size=2, unique=True)
WRITES = NAMES.flatmap(lambda names: st.lists(st.lists(stored(names), min_size=1, max_size=12), min_size=1, max_size=5))


@contextlib.contextmanager
def fresh() -> Iterator[Sqlite]:
    with tempfile.TemporaryDirectory() as folder:
        yield Sqlite(kind="sqlite", path=Path(folder) / "rows.db")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(writes=WRITES, reopened=st.booleans(), repeated=st.booleans())
def test_however_rows_come_each_is_stored_once_with_the_last_of_each_field(
    writes: list[list[Stored]], *, reopened: bool, repeated: bool
) -> None:
    with fresh() as config:
        store = SqliteStore(config)
        for rows in writes:
            put = store.prepare(points(rows))
            for _ in range(1 + repeated):
                assert put() == []
            if reopened:
                store.close()
                store = SqliteStore(config)
        store.close()
        everything = merged(writes)
        for name in MEASUREMENTS:
            for question in (Select(name), Select(name, newest=1), Select(name, oldest=1)):
                assert select(config, question) == answer(question, everything)


MOMENTS = st.none() | st.builds(int.__add__, TIMES, st.integers(-1, 1))


@st.composite
def questions(draw: st.DrawFn, name: str) -> Select:
    schema = MEASUREMENTS[name]
    tags = dict(draw(st.sampled_from([(), (("site", "ä"),), (("site", "site"),), (("site", "none"),)])))
    fields = tuple(draw(st.lists(st.sampled_from((*schema.floats, *schema.strings)), max_size=2, unique=True)))
    values = st.lists(st.integers(0, 8).map(float), min_size=1, max_size=3, unique=True).map(tuple)
    where = tuple(draw(st.lists(st.builds(Where, st.sampled_from(schema.floats), values), max_size=1)))
    kept: dict[str, Any] = draw(st.sampled_from([{}, {"newest": 1}, {"newest": 3}, {"oldest": 2}]))
    if draw(st.booleans()):
        kept = {
            "aggregates": ("mean", "min", "max", "count"),
            "by": draw(st.sampled_from([(), schema.tags[1:], schema.tags])),
            "every_ns": draw(st.sampled_from([None, MINUTE, 7 * SECOND, DAY])),
        }
        fields = (schema.floats[0],)
    limit = None if "aggregates" in kept else draw(st.sampled_from([None, 1, 4]))
    return Select(name, fields, tags, where, draw(MOMENTS), draw(MOMENTS), limit=limit, **kept)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), name=st.sampled_from(sorted(MEASUREMENTS)))
def test_a_question_finds_what_plain_python_finds_however_thin_the_rows_lie(data: st.DataObject, name: str) -> None:
    rows = data.draw(st.lists(stored([name]), min_size=5, max_size=25))
    asked = data.draw(st.lists(questions(name), min_size=10, max_size=10))
    with fresh() as config:
        written(config, rows)
        everything = merged([rows])
        with contextlib.closing(SqliteReader(config)) as reader:
            for question in asked:
                assert reader.select(question) == answer(question, everything)


def test_a_field_that_is_absent_leaves_the_stored_one_and_of_two_rows_in_a_write_the_later_holds(
    config: Sqlite,
) -> None:
    written(config, [reading(T0, 1.0), reading(T0, 2.0, "temp"), reading(T0, 3.0)])
    denoised = Stored("reading", ("north", "pump", "speed"), T0, {"denoised": 4.0})
    written(config, [denoised, reading(T0 + 1)])
    found = [row for row in select(config, Select("reading")) if row["time"] == T0]
    assert [(row["value"], row["denoised"], row["quality"]) for row in found] == [(3.0, 4.0, 0.0), (2.0, None, 0.0)]


def test_rows_are_found_in_each_stretch_of_a_long_way_back_or_forth(config: Sqlite) -> None:
    rows = [reading(T0 + i * MINUTE, float(i)) for i in range(200)] + [reading(T0 + 90 * DAY, 500.0)]
    written(config, rows)
    for wanted in range(0, 200, 3):
        where = (Where("value", (float(wanted), 500.0)),)
        asked = Select("reading", ("value",), where=where)
        for question in (replace(asked, newest=2), replace(asked, oldest=1), replace(asked, limit=2)):
            assert select(config, question) == answer(question, rows)
    assert len(readings(config, since_ns=T0 + 199 * MINUTE, until_ns=T0 + 90 * DAY + 1)) == 2


@pytest.mark.parametrize("every_ns", [7 * SECOND, 90 * SECOND, MINUTE, 5 * MINUTE, HOUR, None])
def test_intervals_may_be_shorter_than_a_minute_or_cut_one(config: Sqlite, every_ns: int | None) -> None:
    rows = [reading(T0 + i * SECOND, float(i), channel) for i in range(300) for channel in ("speed", "temp")]
    written(config, rows)
    question = Select("reading", ("value",), aggregates=("mean", "count"), by=("channel",), every_ns=every_ns)
    assert select(config, question) == answer(question, rows)


def test_names_that_the_schema_does_not_have_bring_no_value_and_no_rows(config: Sqlite) -> None:
    written(config, [reading(T0)])
    assert select(config, Select("no such measurement")) == []
    assert select(config, Select("reading", tags={"no such tag": "x"})) == []
    assert select(config, Select("reading", where=(Where('no" such', (1.0,)),))) == []
    assert select(config, Select("reading", ('no" such',))) == []
    assert select(config, Select("reading", ("value", 'no" such')))[0]['no" such'] is None


# ---- many at work on one file -------------------------------------------------------------------------------------

CHILD = """
import sys
from pathlib import Path
from aggregator.adapters.store_sqlite import SqliteStore
from aggregator.config import Sqlite
from tests.batches import SECOND, T0
from tests.plant_rows import Stored, points

store = SqliteStore(Sqlite(kind="sqlite", path=Path(sys.argv[1])))
for number in range(int(sys.argv[2]), 10**9):
    tags = [("north", "pump", f"channel{i}") for i in range(40)]
    rows = [Stored("reading", one, T0 + number * SECOND, {"value": float(number)}) for one in tags]
    assert store.prepare(points(rows))() == []
    print(number, flush=True)
"""
ROWS = 40


def numbered(number: int) -> list[Stored]:
    return [reading(T0 + number * SECOND, float(number), f"channel{i}") for i in range(ROWS)]


def test_a_writer_that_is_killed_keeps_each_write_that_it_has_acknowledged(config: Sqlite) -> None:
    after = 0
    chance = random.Random(5)
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", CHILD, config.path, str(after)], stdout=subprocess.PIPE) as child:
            assert child.stdout
            child.stdout.readline()
            time.sleep(chance.uniform(0, 0.05))
            child.kill()
            acknowledged = after + len(child.stdout.read().splitlines())
        rows = readings(config)
        counts = [sum(row["value"] == number for row in rows) for number in range(acknowledged + 3)]
        assert set(counts[: acknowledged + 1]) == {ROWS}
        assert set(counts[acknowledged + 1 :]) <= {0, ROWS}  # the last one may be stored or not, never in part
        assert len(select(config, Select("reading", newest=1))) == ROWS
        after = acknowledged + 1


def test_readers_see_whole_writes_only_and_hold_up_no_writer(config: Sqlite) -> None:
    store = SqliteStore(config)
    write(store, numbered(0))
    done = threading.Event()
    seen: list[list[int]] = [[], []]

    def look(counts: list[int]) -> None:
        with contextlib.closing(SqliteReader(config)) as reader:
            while not done.is_set():
                counts.append(len(reader.select(Select("reading"))))

    readers = [threading.Thread(target=look, args=(counts,)) for counts in seen]
    for each in readers:
        each.start()
    try:
        for number in range(1, 60):
            assert write(store, numbered(number)) == []
    finally:
        done.set()
        for each in readers:
            each.join()
    for counts in seen:
        assert counts == sorted(counts)
        assert all(count % ROWS == 0 for count in counts)
    assert len(readings(config)) == 60 * ROWS


def test_a_locked_file_means_later_and_the_same_write_then_succeeds(config: Sqlite) -> None:
    patient = config.model_copy(update={"timeout_s": 0.01})
    store = SqliteStore(patient)
    write(store, [reading(T0)])
    put = store.prepare(points([reading(T0 + SECOND, 2.0, "new")]))
    with contextlib.closing(sqlite3.connect(config.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(RetryLater, match="locked"):
            put()
    assert put() == []
    assert [row["value"] for row in readings(config)] == [1.0, 2.0]


def test_a_write_that_failed_half_way_leaves_nothing_and_is_whole_when_it_is_repeated(config: Sqlite) -> None:
    store = SqliteStore(config)
    write(store, [reading(T0)])
    tables(
        config,
        "CREATE TRIGGER fault BEFORE INSERT ON reading_rows WHEN new.value = 3 BEGIN SELECT RAISE(ABORT, 'no'); END",
    )
    put = store.prepare(points([reading(T0 + i * SECOND, float(i), f"new {i}") for i in range(1, 4)]))
    with pytest.raises(StoreMisconfigured, match="no"):
        put()
    assert len(readings(config)) == 1
    assert len(tables(config, "SELECT * FROM reading_series")) == 1
    tables(config, "DROP TRIGGER fault")
    # other series take the ids that the failed write had
    write(store, [reading(T0 + 9 * SECOND, 9.0, "other")])
    assert put() == []
    assert {row["channel"]: row["value"] for row in readings(config, newest=1)} == {
        "speed": 1.0,
        "other": 9.0,
        **{f"new {i}": float(i) for i in range(1, 4)},
    }


@pytest.mark.parametrize("instead", [True, False])
def test_a_file_that_is_moved_away_or_replaced_is_not_written_any_more(config: Sqlite, *, instead: bool) -> None:
    other = config.model_copy(update={"path": config.path.with_name("other.db")})
    written(other, [reading(T0, 7.0, "other")])  # with the id that the first file gives to another series
    store = SqliteStore(config)
    put = store.prepare(points([reading(T0)]))
    put()
    config.path.rename(config.path.with_name("away.db"))
    if instead:
        other.path.rename(config.path)
    assert put() == []
    found = {row["channel"]: row["value"] for row in readings(config)}
    assert found == {"speed": 1.0} | ({"other": 7.0} if instead else {})


def test_a_full_disk_means_later(config: Sqlite) -> None:
    store = SqliteStore(config)
    write(store, [reading(T0)])
    assert store._connection  # noqa: SLF001 - the limit is of a connection
    store._connection.execute("PRAGMA max_page_count = 1")  # noqa: SLF001
    put = store.prepare(points([reading(T0 + i) for i in range(5000)]))
    with pytest.raises(RetryLater, match="full"):
        put()
    store._connection.execute("PRAGMA max_page_count = 1000000")  # noqa: SLF001
    assert put() == []
    assert len(readings(config)) == 5000


# ---- texts of people ----------------------------------------------------------------------------------------------


def test_people_ask_for_a_measurement_by_its_name_its_tags_and_its_fields(config: Sqlite) -> None:
    written(config, [reading(T0, 1.0), reading(T0 + MINUTE, 2.0, "temp"), reading(T0 + HOUR, 3.0)])
    SqliteKeeper(config, Retention()).downsample(T0, T0 + DAY)
    with contextlib.closing(SqliteReader(config)) as reader:
        assert reader.raw("SELECT time, value FROM reading WHERE asset = 'pump' AND channel = 'temp'", "sql") == [
            {"time": T0 + MINUTE, "value": 2.0}
        ]
        within = f"minute BETWEEN {T0 // MINUTE} AND {T0 // MINUTE + 10}"
        assert reader.raw(f"SELECT avg(value) AS mean, count(*) AS n FROM reading WHERE {within}") == [  # noqa: S608
            {"mean": 1.5, "n": 2}
        ]
        assert reader.raw("SELECT channel, mean FROM reading_1m ORDER BY time DESC LIMIT 1") == [
            {"channel": "speed", "mean": 3.0}
        ]
        assert reader.raw("SELECT x'beef' AS bytes") == [{"bytes": "beef"}]


@pytest.mark.parametrize(
    "text",
    [
        "SELEC 1",
        "SELECT nothing FROM reading",
        "SELECT 1; SELECT 2",
        "SELECT ?",
        "DELETE FROM reading_rows",
        "DROP TABLE reading_rows",
        "PRAGMA user_version = 7",
        "ATTACH '{folder}/other.db' AS other",
        "VACUUM INTO '{folder}/copy.db'",
        "SELECT load_extension('{folder}/x.so')",
        "\ud800",
        "SELECT 1\0",
    ],
)
def test_a_text_that_is_wrong_or_would_change_something_changes_nothing(config: Sqlite, text: str) -> None:
    written(config, [reading(T0)])
    with contextlib.closing(SqliteReader(config)) as reader:
        with pytest.raises(ValueError, match=r"."):
            reader.raw(text.replace("{folder}", str(config.path.parent)))
        with pytest.raises(ValueError, match="allowed: sql"):
            reader.raw("SELECT 1", "flux")
        with pytest.raises(ValueError, match="only texts that change nothing"):
            reader.raw("BEGIN")
        assert len(reader.select(Select("reading"))) == 1
    assert {path.name.removeprefix("rows.db") for path in config.path.parent.iterdir()} <= {"", "-wal", "-shm"}
    assert tables(config, "PRAGMA user_version") == [(2,)]


def test_all_of_an_answer_can_be_written_as_json(config: Sqlite) -> None:
    written(config, [reading(T0)])
    with contextlib.closing(SqliteReader(config)) as reader:
        assert json.loads(json.dumps(reader.raw("SELECT *, x'00', NULL FROM reading")))
