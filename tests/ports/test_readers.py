"""One suite for the reading side of all stores: each question, from each store, has the same answer."""

import uuid
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings

from aggregator.adapters import stores
from aggregator.config import Sqlite, StoreConfig
from aggregator.core.questions import Questions
from aggregator.core.select import Select
from aggregator.ports import Reader
from models.contract.schema import MEASUREMENTS
from tests.batches import SECOND, T0
from tests.influx_servers import ask as ask_real
from tests.influx_servers import http_config, influx_server, token_file
from tests.plant_rows import END, HOSTILE, answer, points
from tests.selects import ORACLE, QUESTIONS, ROWS, selects
from tests.servers import Influx1 as Influx1Server


@pytest.fixture(scope="module", params=list(stores.KINDS))
def config(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreConfig]:
    """A store of each kind; what speaks as 2.x and 3.x is a real 1.x behind."""
    kind: str = request.param
    folder = tmp_path_factory.mktemp("readers")
    if kind == "sqlite":
        yield Sqlite(kind="sqlite", path=folder / "rows.db")
        return
    database = uuid.uuid4().hex
    real: Influx1Server = request.getfixturevalue("influx1")
    ask_real(real.url, f'CREATE DATABASE "{database}"')
    with influx_server(real.url) as server:
        token = None if kind == "influx1" else token_file(folder)
        yield http_config(kind, server.url, database, token)


@pytest.fixture(scope="module")
def reader(config: StoreConfig) -> Iterator[Reader]:
    store = stores.open_store(config)
    assert store.prepare(points(ROWS))() == []
    reader = stores.open_reader(config)
    yield reader
    reader.close()
    store.close()


@pytest.fixture(scope="module")
def asked(reader: Reader) -> Questions:
    return Questions(reader)


@pytest.mark.parametrize("name", QUESTIONS)
def test_each_named_question_has_the_same_answer_from_each_store(asked: Questions, name: str) -> None:
    ask = QUESTIONS[name]
    assert ask(asked) == ask(ORACLE)


def test_columns_come_in_the_same_order_from_every_store(asked: Questions) -> None:
    for ask in QUESTIONS.values():
        assert [list(row) for row in ask(asked)] == [list(row) for row in ask(ORACLE)]


def test_whole_times_and_counts_have_the_types_that_are_promised(asked: Questions) -> None:
    [row] = asked.means("pump-1", "speed", T0, T0 + SECOND)[:1]
    assert {name: type(cell) for name, cell in row.items() if name in {"time", "count", "mean"}} == {
        "time": int,
        "count": float,
        "mean": float,
    }


def test_a_row_is_held_or_not_by_its_tags_and_its_exact_time(asked: Questions) -> None:
    for row in (ROWS[0], *(row for row in ROWS if row.measurement == "alarm"), ROWS[-1]):
        tags = dict(zip(MEASUREMENTS[row.measurement].tags, row.tags, strict=True))
        assert asked.holds(row.measurement, tags, row.time_ns)
        assert not asked.holds(row.measurement, tags, row.time_ns + 1)
        assert not asked.holds(row.measurement, {**tags, "site": "elsewhere"}, row.time_ns)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_a_name_and_nothing_else(asked: Questions, name: str) -> None:
    [row] = asked.latest(name)
    assert (row["asset"], row["channel"]) == (name, name)
    assert len(asked.series(name, name, T0, END)) == 1
    assert len(asked.means(name, name, T0, END)) == 1


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(question=selects())
def test_any_select_means_what_it_says(reader: Reader, question: Select) -> None:
    assert reader.select(question) == answer(question, ROWS)
