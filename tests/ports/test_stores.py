"""One suite for all stores of the table: what one promises, each must keep."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from aggregator.adapters import stores
from aggregator.config import Influx1, Sqlite, StoreConfig
from aggregator.core.points import Points
from aggregator.core.questions import Questions
from aggregator.ports import Store, StoreMisconfigured
from models.contract.batch import Refusal
from tests.batches import SECOND, T0, alarm, batch, points_of
from tests.influx_servers import TOKEN, ask, http_config, influx_server
from tests.servers import Influx1 as Influx1Server

FOREVER = 2**63 - 2


class Backend(NamedTuple):
    """A fresh, empty database."""

    config: StoreConfig
    store: Store
    reader: Callable[[], Questions]


@pytest.fixture(params=list(stores.KINDS))
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    kind: str = request.param
    if kind == "sqlite":
        yield from opened(Sqlite(kind="sqlite", path=tmp_path / "new" / "rows.db"))
        return
    real: Influx1Server = request.getfixturevalue("influx1")
    database = uuid.uuid4().hex
    if kind == "influx1":
        yield from opened(Influx1(kind="influx1", url=real.url, database=f'db "{database}"'))
        return
    ask(real.url, f'CREATE DATABASE "{database}"')
    token = tmp_path / "token"
    token.write_text(f"{TOKEN}\n")
    with influx_server(real.url) as server:
        yield from opened(http_config(kind, server.url, database, token))


def opened(config: StoreConfig) -> Iterator[Backend]:
    store = stores.open_store(config)
    readers: list[Questions] = []

    def reader() -> Questions:
        readers.append(Questions(stores.open_reader(config)))
        return readers[-1]

    yield Backend(config, store, reader)
    for each in readers:
        each.close()
    store.close()


def written(store: Store, content: Points) -> list[Refusal]:
    return store.prepare(content)()


def test_what_was_written_is_read_back_the_same_from_every_store(backend: Backend) -> None:
    assert written(backend.store, points_of(batch([1.0, 2.5, 1e-7]))) == []
    reader = backend.reader()
    common = {"site": "north", "asset": "pump-7", "channel": "vibration", "quality": 65.0}
    assert reader.series("pump-7", "vibration", T0, FOREVER, 10) == [
        {"time": T0, **common, "value": 1.0, "denoised": None},
        {"time": T0 + SECOND, **common, "value": 2.5, "denoised": 2.5},
        {"time": T0 + 2 * SECOND, **common, "value": 1e-7, "denoised": 1e-7},
    ]
    assert reader.latest() == [{"time": T0 + 2 * SECOND, **common, "value": 1e-7, "denoised": 1e-7}]
    model = {"time": T0, "site": "north", "asset": "pump-7", "model": "wear", "version": "1.0"}
    bounds = {"rul_low_h": None, "rul_high_h": None, "quality_score": None}
    assert reader.health() == [
        {**model, "anomaly_score": 3.5, "failure_prob": None, "health": 0.25, "rul_h": None, **bounds}
    ]
    assert reader.series("pump-7", "health", T0, FOREVER, 10) == [{**model, "value": 0.25}]
    assert reader.series("pump-7", "rul_h", T0, FOREVER, 10) == []


def test_columns_come_in_the_same_order_from_every_store(backend: Backend) -> None:
    written(backend.store, points_of(batch([1.0])))
    assert list(backend.reader().latest()[0]) == ["time", "site", "asset", "channel", "value", "denoised", "quality"]


def test_writing_again_changes_nothing(backend: Backend) -> None:
    content = points_of(batch([1.0, 2.0, 3.0], alarms=[alarm(T0, is_open=True)]))
    written(backend.store, content)
    before = everything(backend.reader())
    written(backend.store, content)
    written(backend.store, content + content)
    assert everything(backend.reader()) == before


def everything(reader: Questions) -> list[object]:
    series = reader.series("pump-7", "vibration", 0, FOREVER, 1000)
    return [series, reader.latest(), reader.health(), reader.alarms(open_only=False)]


def test_an_interval_is_closed_below_and_open_above_and_the_limit_keeps_the_newest(backend: Backend) -> None:
    written(backend.store, points_of(batch([0.0, 1.0, 2.0, 3.0])))
    reader = backend.reader()
    inside = reader.series("pump-7", "vibration", T0 + SECOND, T0 + 3 * SECOND, 10)
    assert [row["value"] for row in inside] == [1.0, 2.0]
    assert [row["value"] for row in reader.series("pump-7", "vibration", T0, FOREVER, 2)] == [2.0, 3.0]


def test_special_characters_in_tags_survive(backend: Backend) -> None:
    names = [("Pumpe ä, 7=x", "temp °C"), ('it\'s "q"', "a\\b"), ("温度", "%20&x;")]
    written(backend.store, points_of(batch([1.0, 2.0, 3.0], series=names)))
    reader = backend.reader()
    assert sorted((row["asset"], row["channel"]) for row in reader.latest()) == sorted(names)
    for value, (asset, channel) in enumerate(names, start=1):
        assert [row["value"] for row in reader.series(asset, channel, T0, FOREVER, 10)] == [float(value)]
        assert [row["channel"] for row in reader.latest(asset)] == [channel]


def test_an_alarm_is_open_since_its_opening_until_it_closes(backend: Backend) -> None:
    written(backend.store, points_of(batch([1.0], alarms=[alarm(T0, is_open=True), alarm(T0 + SECOND, is_open=True)])))
    [state] = backend.reader().alarms()
    assert (state["since"], state["time"], state["severity"]) == (T0, T0 + SECOND, 0.8)
    assert state["message"] == 'it says "ouch", twice\nand \\ once'
    written(backend.store, points_of(batch([1.0], alarms=[alarm(T0 + 2 * SECOND, is_open=False)])))
    reader = backend.reader()
    assert reader.alarms() == []
    [closed] = reader.alarms(open_only=False)
    assert (closed["since"], closed["is_open"]) == (T0, 0.0)


def test_the_newest_version_of_a_model_speaks_for_it(backend: Backend) -> None:
    newer = batch([1.0], start_ns=T0 + SECOND)
    newer.inferences.series = [("pump-7", "wear", "2.0")]
    written(backend.store, points_of(newer))
    written(backend.store, points_of(batch([1.0])))
    assert [row["version"] for row in backend.reader().health()] == ["2.0"]


def test_an_empty_database_answers_with_nothing(backend: Backend) -> None:
    written(backend.store, points_of(batch([1.0])))
    reader = backend.reader()
    assert reader.alarms() == []
    assert reader.latest("no such machine") == []
    assert reader.series("pump-7", "no such channel", 0, FOREVER, 10) == []


def test_many_more_rows_than_fit_into_one_request_are_all_stored(backend: Backend) -> None:
    written(backend.store, points_of(batch([float(i) for i in range(12_000)])))
    assert len(backend.reader().series("pump-7", "vibration", 0, FOREVER, 20_000)) == 12_000


def test_an_error_inside_a_200_is_an_error(influx1: Influx1Server) -> None:
    reader = Questions(stores.open_reader(Influx1(kind="influx1", url=influx1.url, database=uuid.uuid4().hex)))
    with pytest.raises(StoreMisconfigured, match="database not found"):
        reader.latest()


def test_a_file_that_is_no_database_needs_a_person(tmp_path: Path) -> None:
    path = tmp_path / "rows.db"
    path.write_bytes(b"this is no database at all" * 100)
    with pytest.raises(StoreMisconfigured, match="not a database"):
        written(stores.open_store(Sqlite(kind="sqlite", path=path)), points_of(batch([1.0])))


def test_asking_a_file_that_does_not_exist_needs_a_person(tmp_path: Path) -> None:
    with pytest.raises(StoreMisconfigured):
        stores.open_reader(Sqlite(kind="sqlite", path=tmp_path / "none.db"))
