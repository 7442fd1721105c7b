"""A real InfluxDB 1.x with name and password and with narrow limits: its own words, not those of our test server."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from aggregator.adapters import stores
from aggregator.adapters.http import Http
from aggregator.adapters.store_influx1 import connect, judge_query
from aggregator.config import Influx1
from aggregator.core.points import Points
from aggregator.core.select import Select
from aggregator.ports import Store, StoreMisconfigured, Undecided
from tests.influx_servers import http_config, token_file
from tests.servers import Influx1 as Influx1Server
from tests.store_rows import alarms, expected, readings

pytestmark = pytest.mark.integration

PASSWORD = 'pä:ss "温"'
LIMITS = {
    "INFLUXDB_HTTP_AUTH_ENABLED": "true",
    "INFLUXDB_DATA_MAX_VALUES_PER_TAG": "5",
    "INFLUXDB_HTTP_MAX_BODY_SIZE": "2000",
}


@pytest.fixture(scope="module")
def strict(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Influx1Server]:
    request.getfixturevalue("influx1")  # knows what to do where none is installed
    with pytest.MonkeyPatch.context() as patch:
        for name, value in LIMITS.items():
            patch.setenv(name, value)
        with Influx1Server(tmp_path_factory.mktemp("strict")) as server:
            first = Http(server.url, {}, 5.0, None)
            secret = PASSWORD.replace("'", "\\'")
            judged = first.request(
                "POST", "/query", {"q": f"CREATE USER fred WITH PASSWORD '{secret}' WITH ALL PRIVILEGES"}
            )
            assert judge_query(judged.status, judged.text) == [{"statement_id": 0}]
            yield server


@pytest.fixture
def config(strict: Influx1Server, tmp_path: Path) -> Influx1:
    path = token_file(tmp_path, PASSWORD)
    made = http_config("influx1", strict.url, uuid.uuid4().hex, username="fred", password_file=path)
    assert isinstance(made, Influx1)
    return made


@pytest.fixture
def store(config: Influx1) -> Store:
    return stores.open_store(config)


def stored(config: Influx1, query: str) -> list[tuple[int, object]]:
    answer = connect(config).request("POST", "/query", {"db": config.database, "epoch": "ns", "q": query})
    results = judge_query(answer.status, answer.text)
    return [(row[0], row[1]) for result in results for series in result["series"] for row in series["values"]]


def test_name_and_password_of_all_letters_are_understood(config: Influx1, store: Store) -> None:
    assert store.prepare(readings("p", [1.0, 2.0]))() == []
    assert stored(config, "SELECT value FROM reading") == expected([1.0, 2.0])
    reader = stores.open_reader(config)
    assert [row["value"] for row in reader.select(Select("reading"))] == [1.0, 2.0]
    reader.close()


def test_a_wrong_password_needs_a_person(config: Influx1, tmp_path: Path) -> None:
    wrong = config.model_copy(update={"password_file": token_file(tmp_path, "wrong")})
    with pytest.raises(StoreMisconfigured, match="HTTP 401: authorization failed"):
        stores.open_store(wrong).prepare(readings("p", [1.0]))()


def test_a_full_index_keeps_rows_of_new_series_with_their_gateways_and_stores_all_others(
    config: Influx1, store: Store
) -> None:
    for name in "abcde":
        assert store.prepare(readings(name, [1.0]))() == []
    mixed = Points((*readings("new", [1.0]).tables, *readings("a", [1.0, 2.0]).tables))
    with pytest.raises(Undecided, match="max-values-per-tag limit exceeded"):
        store.prepare(mixed)()
    assert stored(config, "SELECT value FROM reading WHERE asset = 'a'") == expected([1.0, 2.0])


def test_its_largest_request_is_found_by_halving(config: Influx1, store: Store) -> None:
    random = Random(1)  # what cannot be compressed, for it is the compressed body that is measured
    content = alarms([f"{at}: {random.randbytes(3000 if at in {3, 70} else 40).hex()}" for at in range(100)])
    refused = store.prepare(content)()
    assert [refusal.row.split('message="')[1].partition(":")[0] for refusal in refused] == ["3", "70"]
    assert all(refusal.reason == "HTTP 413: Request Entity Too Large" for refusal in refused)
    assert len(stored(config, "SELECT message FROM alarm")) == 98
