"""What is particular to setting up each InfluxDB: policies and rights, buckets and tasks, databases."""

import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from aggregator.adapters import stores
from aggregator.adapters.keep_influx1 import Influx1Keeper
from aggregator.adapters.keep_influx3 import READINGS_TAG
from aggregator.config import Influx1, Influx2, Retention
from aggregator.ports import RetryLater, Step, StoreMisconfigured
from tests.batches import SECOND, T0
from tests.influx_apis import Api2, Api3, Reply, served
from tests.influx_servers import TOKEN, ask
from tests.influx_servers import write as put
from tests.keeping import (
    MINUTE,
    Backend,
    do_all,
    of_api,
    readings,
    stored,
    write,
)
from tests.servers import Influx1 as Influx1Server

HOSTILE_NAMES = ['it\'s "q" 7, a=b', "Pumpe ä 温度 🔥", "${1 + 1}", "%20&x;ü", ") |> to(bucket: x)"]


@pytest.fixture
def influx2(tmp_path: Path) -> Iterator[tuple[Api2, Influx2]]:
    api = Api2()
    with served(api) as url:
        config = of_api("influx2", url, tmp_path)
        assert isinstance(config, Influx2)
        yield api, config


# ---- InfluxDB 1.x


def test_the_default_policy_stays_the_default_so_that_old_rows_stay_in_sight(influx1: Influx1Server) -> None:
    database = uuid.uuid4().hex
    ask(influx1.url, f'CREATE DATABASE "{database}" WITH DURATION 30d NAME "mine"')
    put(influx1.url, database, "reading,site=s,asset=a,channel=c value=1,quality=0")
    do_all(Influx1Keeper(Influx1(kind="influx1", url=influx1.url, database=database), Retention(raw_d=0)))
    assert len(ask(influx1.url, 'SELECT "value" FROM "reading"', database)) == 1
    policies = {row[0]: (row[1], row[4]) for row in ask(influx1.url, f'SHOW RETENTION POLICIES ON "{database}"')}
    assert policies == {"mine": ("0s", True), "minutes": ("0s", False)}


def test_means_in_the_default_policy_are_not_begun(influx1: Influx1Server) -> None:
    database = uuid.uuid4().hex
    ask(influx1.url, f'CREATE DATABASE "{database}" WITH NAME "minutes"')
    with pytest.raises(StoreMisconfigured, match="no retention policy but"):
        Influx1Keeper(Influx1(kind="influx1", url=influx1.url, database=database), Retention()).plan()


def test_a_continuous_query_of_another_text_is_replaced(influx1: Influx1Server) -> None:
    database = uuid.uuid4().hex
    keeper = Influx1Keeper(Influx1(kind="influx1", url=influx1.url, database=database), Retention())
    do_all(keeper)
    other = 'SELECT mean("value") INTO "minutes"."reading_1m" FROM "reading" GROUP BY time(1m)'
    ask(influx1.url, f'DROP CONTINUOUS QUERY "reading_1m" ON "{database}"')
    ask(influx1.url, f'CREATE CONTINUOUS QUERY "reading_1m" ON "{database}" BEGIN {other} END')
    [todo] = [step for step in keeper.plan() if not step.is_done]
    assert "in place of another" in todo.what
    assert all(step.is_done for step in do_all(keeper))


@pytest.mark.parametrize("name", [*HOSTILE_NAMES, "'; DROP DATABASE other; --", '"; DROP DATABASE "other'])
def test_a_name_is_a_name_whatever_is_in_it(influx1: Influx1Server, name: str) -> None:
    ask(influx1.url, "CREATE DATABASE other")
    database = f"{name} {uuid.uuid4().hex}"
    keeper = Influx1Keeper(Influx1(kind="influx1", url=influx1.url, database=database), Retention(raw_d=1))
    assert all(step.is_done for step in do_all(keeper))
    keeper.downsample(T0, T0 + MINUTE)
    names = ask(influx1.url, "SHOW DATABASES")
    assert [database] in names
    assert ["other"] in names


def test_means_have_no_place_before_init(influx1: Influx1Server) -> None:
    database = uuid.uuid4().hex
    keeper = Influx1Keeper(Influx1(kind="influx1", url=influx1.url, database=database), Retention())
    with pytest.raises(StoreMisconfigured, match="database not found"):
        keeper.downsample(T0, T0 + MINUTE)
    ask(influx1.url, f'CREATE DATABASE "{database}"')
    with pytest.raises(StoreMisconfigured, match="aggregator init` first"):
        keeper.downsample(T0, T0 + MINUTE)


def test_a_user_without_rights_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFLUXDB_HTTP_AUTH_ENABLED", "true")
    with Influx1Server(tmp_path / "influx") as server:
        ask(server.url, "CREATE USER root WITH PASSWORD 'word' WITH ALL PRIVILEGES")
        keepers = {}
        for user, password in (("root", "word"), ("plain", "word"), ("root", "wrong")):
            file = tmp_path / f"{user}-{password}"
            file.write_text(password)
            config = Influx1(kind="influx1", url=server.url, database="d", username=user, password_file=file)
            keepers[file.name] = Influx1Keeper(config, Retention())
        keepers["root-word"].apply(Step("user", "CREATE USER plain WITH PASSWORD 'word'", is_done=False))
        with pytest.raises(StoreMisconfigured, match="not authorized to execute statement 'CREATE DATABASE"):
            do_all(keepers["plain-word"])
        with pytest.raises(StoreMisconfigured, match="authorization failed"):
            keepers["root-wrong"].plan()
        assert all(step.is_done for step in do_all(keepers["root-word"]))


def test_means_that_would_be_deleted_at_once_are_left_out(influx1: Influx1Server) -> None:
    config = Influx1(kind="influx1", url=influx1.url, database=uuid.uuid4().hex)
    backend = Backend(config, None)
    keeper = backend.keeper(minutes_d=1)
    do_all(keeper)
    write(config, readings())  # of long ago: 1.x would refuse its means
    keeper.downsample(T0, T0 + 1500 * SECOND)
    assert stored(backend) == {}


# ---- InfluxDB 2.x


def test_a_token_without_a_right_is_told_which(influx2: tuple[Api2, Influx2]) -> None:
    api, config = influx2
    places = {"orgs": "read:orgs", "buckets": "read:buckets", "tasks": "read:tasks"}
    for place, right in places.items():
        api.refusals = {("GET", f"/api/v2/{place}"): Reply(401, {"code": "unauthorized", "message": "no"})}
        with pytest.raises(StoreMisconfigured, match=rf"the token lacks {right}; an all-access token"):
            stores.open_keeper(config, Retention()).plan()
    for place, right in {"buckets": "write:buckets", "dbrps": "write:dbrp", "tasks": "write:tasks"}.items():
        api.has_virtual_mappings = False
        api.refusals = {("POST", f"/api/v2/{place}"): Reply(403, {"code": "forbidden", "message": "no"})}
        with pytest.raises(StoreMisconfigured, match=rf"the token lacks {right}; an all-access token"):
            do_all(stores.open_keeper(config, Retention()))


def test_a_bucket_that_the_token_does_not_see_is_not_taken_for_missing(influx2: tuple[Api2, Influx2]) -> None:
    api, config = influx2
    do_all(stores.open_keeper(config, Retention()))
    api.refusals = {("GET", "/api/v2/buckets"): Reply(200, {"buckets": []})}
    with pytest.raises(StoreMisconfigured, match=r"already exists .*permission read:buckets"):
        do_all(stores.open_keeper(config, Retention()))


def test_an_unknown_organization_is_named(influx2: tuple[Api2, Influx2]) -> None:
    config = influx2[1].model_copy(update={"org": "other"})
    with pytest.raises(StoreMisconfigured, match='organization name "other" not found'):
        stores.open_keeper(config, Retention()).plan()


def test_a_server_without_buckets_says_how_to_set_up_influxdb_3(tmp_path: Path) -> None:
    api = Api3()
    api.authorization = f"Token {TOKEN}"
    with served(api) as url, pytest.raises(StoreMisconfigured, match=r'store\.kind = "influx3"'):
        stores.open_keeper(of_api("influx2", url, tmp_path), Retention()).plan()


def test_a_busy_server_is_asked_again_later(influx2: tuple[Api2, Influx2]) -> None:
    api, config = influx2
    api.refusals = {("GET", "/api/v2/buckets"): Reply(503, {"code": "unavailable", "message": "busy"})}
    with pytest.raises(RetryLater, match="HTTP 503: busy"):
        stores.open_keeper(config, Retention()).plan()


def test_each_bucket_is_mapped_for_influxql_where_the_server_does_not_by_itself(
    influx2: tuple[Api2, Influx2],
) -> None:
    api, config = influx2
    do_all(stores.open_keeper(config, Retention()))
    assert api.mappings == []
    api.has_virtual_mappings = False
    do_all(stores.open_keeper(config, Retention()))
    assert [(one["database"], one["default"]) for one in api.mappings] == [("tocsin", True), ("tocsin_minutes", True)]
    assert [one["bucketID"] for one in api.mappings] == [one["id"] for one in api.buckets]


def test_a_bucket_behind_many_others_is_found(influx2: tuple[Api2, Influx2]) -> None:
    api, config = influx2
    for i in range(145):
        api.answer("POST", "/api/v2/buckets", {}, f'{{"orgID": "x", "name": "b{i}", "retentionRules": []}}'.encode())
    assert all(step.is_done for step in do_all(stores.open_keeper(config, Retention())))
    assert len(api.buckets) == 147


def test_a_task_of_another_text_or_at_rest_is_put_right(influx2: tuple[Api2, Influx2]) -> None:
    api, config = influx2
    keeper = stores.open_keeper(config, Retention())
    do_all(keeper)
    wanted = dict(api.tasks[0])
    for change in ({"flux": "old"}, {"status": "inactive"}):
        api.tasks[0] |= change
        assert [step.is_done for step in keeper.plan()].count(False) == 1
        do_all(keeper)
        assert api.tasks == [wanted]


def test_flux_is_asked_for_whole_minutes_that_cover_the_stretch_once(influx2: tuple[Api2, Influx2]) -> None:
    api, config = influx2
    stores.open_keeper(config, Retention()).downsample(T0, T0 + 25 * MINUTE)
    found = [re.findall(r"range\(start: time\(v: (\d+)\), stop: time\(v: (\d+)\)\)", text) for text in api.flux]
    edges = [(int(start), int(stop)) for [(start, stop)] in found]
    assert (edges[0][0], edges[-1][1]) == (T0 - T0 % MINUTE, T0 + 25 * MINUTE + MINUTE - T0 % MINUTE)
    assert [stop for _, stop in edges[:-1]] == [start for start, _ in edges[1:]]
    assert all(text.count("(") == text.count(")") and 'to(bucket: "tocsin_minutes")' in text for text in api.flux)


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_bucket_is_a_text_in_flux_whatever_its_name(name: str, tmp_path: Path) -> None:
    api = Api2()
    with served(api) as url:
        keeper = stores.open_keeper(of_api("influx2", url, tmp_path, name), Retention())
        assert all(step.is_done for step in do_all(keeper))
    quoted = re.sub(r'(["\\]|\$(?={))', r"\\\1", name)
    assert f'from(bucket: "{quoted}")' in api.tasks[0]["flux"]
    assert f'to(bucket: "{quoted}_minutes")' in api.tasks[0]["flux"]
    assert [one["name"] for one in api.buckets] == [name, f"{name}_minutes"]


# ---- InfluxDB 3


def test_the_readings_behind_a_mean_tell_which_of_a_minutes_rows_holds(tmp_path: Path) -> None:
    api = Api3()
    with served(api) as url:
        backend = Backend(of_api("influx3", url, tmp_path), api)
        do_all(backend.keeper())
        write(backend.config, readings())
        backend.keeper().downsample(T0, T0 + 1500 * SECOND)
    for row in api.rows["tocsin_minutes"].values():
        assert int(row.tags[3]) == sum(float(row.fields.get(name, 0)) for name in ("n", "bad"))
    assert READINGS_TAG == "readings"


@pytest.mark.parametrize(
    ("asked", "reply", "said"),
    [
        (("GET", "/api/v3/configure/database"), Reply(403), "admin token"),
        (("POST", "/api/v3/configure/database"), Reply(409, {"error": "it exists"}), "it exists .the name is taken"),
        (("GET", "/api/v3/configure/database"), Reply(404, b"404 page not found"), "is this an InfluxDB 3"),
        (("POST", "/api/v3/configure/database"), Reply(422, {"error": "5 databases at most"}), "5 databases at most"),
    ],
)
def test_what_influxdb_3_refuses_is_told_with_the_cure(
    asked: tuple[str, str], reply: Reply, said: str, tmp_path: Path
) -> None:
    api = Api3()
    api.refusals = {asked: reply}
    with served(api) as url, pytest.raises(StoreMisconfigured, match=said):
        do_all(stores.open_keeper(of_api("influx3", url, tmp_path), Retention()))
