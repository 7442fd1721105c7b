"""Whatever a server does, each row is in its database once, refused by it for a reason, or still ours to send.

Rows are read back from a real InfluxDB 1.x, which keeps what all three kinds of store send (tests/influx_servers.py).
"""

import gzip
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aggregator.adapters import stores
from aggregator.adapters.sending import MAX_DOUBTED_CALLS
from aggregator.config import StoreConfig
from aggregator.core.points import Points
from aggregator.ports import RetryLater, Store, StoreMisconfigured, Undecided, Write
from models.contract.batch import Refusal
from tests import influx_servers as faults
from tests.batches import SECOND, T0
from tests.influx_servers import HTTP_KINDS, Book, Fault, ask, http_config, influx_server, token_file, write
from tests.servers import Influx1 as Influx1Server
from tests.store_rows import alarms, expected, readings

DAY = 86400 * SECOND
WEEK = 7 * DAY
# Faults that blame no row, and those that do although the rows are good.
SILENT = [
    *[None, faults.BARE, faults.UNAUTHORIZED, faults.NOT_FOUND, faults.BUSY, faults.FAILED, faults.AWAY],
    *[faults.CUT, faults.LOST, faults.LOST_BEHIND_503],
]
BLAMING = [faults.PARSE, faults.TOO_LARGE, faults.PARTIAL]


class Place(NamedTuple):
    """A store, the server that it knows, and the real database behind that."""

    config: StoreConfig
    store: Store
    book: Book
    real_url: str
    database: str

    def values(self, asset: str) -> list[tuple[int, float]]:
        query = f"SELECT value FROM reading WHERE asset = '{asset}'"  # noqa: S608
        rows = ask(self.real_url, query, self.database)
        return [(row[0], row[1]) for row in rows]


@pytest.fixture(params=HTTP_KINDS)
def place(request: pytest.FixtureRequest, influx1: Influx1Server, tmp_path: Path) -> Iterator[Place]:
    yield from opened(request.param, influx1, tmp_path)


@pytest.fixture
def place3(influx1: Influx1Server, tmp_path: Path) -> Iterator[Place]:
    yield from opened("influx3", influx1, tmp_path)


def opened(kind: str, influx1: Influx1Server, folder: Path) -> Iterator[Place]:
    database = uuid.uuid4().hex
    ask(influx1.url, f'CREATE DATABASE "{database}"')
    with influx_server(influx1.url) as server:
        config = http_config(kind, server.url, database, token_file(folder))
        store = stores.open_store(config)
        yield Place(config, store, server.book, influx1.url, database)
        store.close()


def until_done(prepared: Write, prepare_again: Callable[[], Write]) -> list[Refusal]:
    """As the aggregator and a gateway do together: what is undecided is sent anew."""
    for _ in range(200):
        try:
            return prepared()
        except (RetryLater, StoreMisconfigured):
            continue
        except Undecided:
            prepared = prepare_again()
    raise AssertionError("never done")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    script=st.lists(st.sampled_from(SILENT), max_size=12),
    values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40),
)
def test_after_any_failures_each_row_is_stored_exactly_once(
    place: Place, script: list[Fault | None], values: list[float]
) -> None:
    asset = uuid.uuid4().hex
    place.book.script.extend(script)
    content = readings(asset, values)
    assert until_done(place.store.prepare(content), lambda: place.store.prepare(content)) == []
    assert place.values(asset) == expected(values)
    place.book.script.clear()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    script=st.lists(st.sampled_from([*SILENT, *BLAMING]), max_size=12),
    values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40),
)
def test_what_is_not_refused_is_stored_exactly_once_even_if_the_server_blames_good_rows(
    place: Place, script: list[Fault | None], values: list[float]
) -> None:
    asset = uuid.uuid4().hex
    place.book.script.extend(script)
    content = readings(asset, values)
    refused = until_done(place.store.prepare(content), lambda: place.store.prepare(content))
    times = {int(refusal.row.rpartition(" ")[2]) for refusal in refused}
    found = place.values(asset)
    assert set(expected(values)) - set(found) <= {row for row in expected(values) if row[0] in times}
    assert len(set(found)) == len(found)
    place.book.script.clear()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bad=st.sets(st.integers(0, 149), max_size=12))
def test_exactly_the_rows_that_the_database_refuses_are_refused_with_its_reasons(place: Place, bad: set[int]) -> None:
    # a field's type holds for a week's shard: in this one `value` is text already
    asset, other_week = uuid.uuid4().hex, T0 - 4 * WEEK
    write(place.real_url, place.database, f'reading,site=x,asset=x,channel=x value="text" {other_week}')
    values = [float(at) for at in range(150)]
    table = readings(asset, values).tables[0]
    table.time_ns[sorted(bad)] -= 4 * WEEK
    refused = place.store.prepare(Points((table,)))()
    lines = table.lines()
    assert sorted(refusal.row for refusal in refused) == sorted(lines[at].decode() for at in bad)
    assert all("field type conflict" in refusal.reason for refusal in refused)
    assert [row for row in place.values(asset) if row[0] >= T0] == [
        row for at, row in enumerate(expected(values)) if at not in bad
    ]


def test_rows_older_than_the_database_keeps_them_are_refused_and_all_others_stored(place: Place) -> None:
    ask(place.real_url, f'ALTER RETENTION POLICY autogen ON "{place.database}" DURATION 2d SHARD DURATION 1h')
    now_ns = time.time_ns() - 1000 * SECOND
    old, new = readings("p", [1.0, 2.0, 3.0], T0), readings("p", [4.0, 5.0], now_ns)
    refused = place.store.prepare(old + new)()
    assert [refusal.row.encode() for refusal in refused] == old.lines()
    assert all("points beyond retention policy" in refusal.reason for refusal in refused)
    assert place.values("p") == expected([4.0, 5.0], now_ns)


def test_rows_that_are_all_dropped_are_not_looked_for_one_by_one(place: Place) -> None:
    ask(place.real_url, f'ALTER RETENTION POLICY autogen ON "{place.database}" DURATION 2d SHARD DURATION 1h')
    assert len(place.store.prepare(readings("p", [1.0] * 90))()) == 90
    assert len(place.book.writes) == 1


def test_a_request_that_is_too_large_is_halved_and_only_a_row_that_is_too_large_alone_refused(place: Place) -> None:
    place.book.max_bytes = 2000
    content = alarms([f"{at}: " + "o" * (3000 if at in {3, 70} else 80) for at in range(100)])
    refused = place.store.prepare(content)()
    assert [refusal.row.split('message="')[1].partition(":")[0] for refusal in refused] == ["3", "70"]
    assert all(refusal.reason.startswith("HTTP 413") for refusal in refused)
    found = ask(place.real_url, "SELECT message FROM alarm", place.database)
    assert [row[1].partition(":")[0] for row in found] == [str(at) for at in range(100) if at not in {3, 70}]


def test_version_3_names_a_hundred_bad_rows_at_most_and_all_are_refused_all_the_same(place3: Place) -> None:
    place3.book.script.clear()
    write(place3.real_url, place3.database, f'reading,site=x,asset=x,channel=x value="text" {T0}')
    bad, good = readings("p", [1.0] * 250), readings("p", [2.0] * 50, T0 + 4 * WEEK)
    refused = place3.store.prepare(bad + good)()
    assert [refusal.row.encode() for refusal in refused] == bad.lines()
    assert place3.values("p") == expected([2.0] * 50, T0 + 4 * WEEK)
    assert len(place3.book.writes) == 4


def test_texts_with_newlines_do_not_make_version_3_blame_others(place3: Place) -> None:
    write(place3.real_url, place3.database, f"alarm,site=x,asset=x,code=x message=1.0 {T0 - 4 * WEEK}")
    table = alarms([f"{at}\n\n" for at in range(20)]).tables[0]
    table.time_ns[[4, 11]] -= 4 * WEEK
    refused = place3.store.prepare(Points((table,)))()
    assert [refusal.row.encode() for refusal in refused] == [table.lines()[4], table.lines()[11]]
    assert all("field type conflict" in refusal.reason for refusal in refused)
    query = f"SELECT message FROM alarm WHERE time >= {T0}"  # noqa: S608
    assert len(ask(place3.real_url, query, place3.database)) == 18


def naming(entry: str) -> Fault:
    text = f'{{"error": "partial write of line protocol occurred", "data": [{entry}]}}'
    return Fault("names", 400, text.encode())


@pytest.mark.parametrize(
    "entry",
    [
        '{"original_line": "other,", "line_number": 1, "error_message": "bad"}',
        '{"original_line": "", "line_number": 1, "error_message": "bad"}',
        '{"original_line": "reading", "line_number": 0, "error_message": "bad"}',
        '{"original_line": "reading", "line_number": 9, "error_message": "bad"}',
        '{"original_line": "reading", "line_number": "x", "error_message": "bad"}',
        '{"line_number": 1, "error_message": "bad"}',
        "17",
    ],
)
def test_a_name_that_is_surely_not_ours_refuses_nothing(place3: Place, entry: str) -> None:
    place3.book.script.append(naming(entry))
    assert place3.store.prepare(readings("p", [1.0, 2.0, 3.0]))() == []
    assert place3.values("p") == expected([1.0, 2.0, 3.0])


def test_a_number_names_nothing_where_a_row_may_be_several_lines(place3: Place) -> None:
    entry = '{"original_line": "alarm,site=north,asse", "line_number": 2, "error_message": "bad"}'
    place3.book.script.append(naming(entry))
    assert place3.store.prepare(alarms(["a\nb", "c", "d"]))() == []


@pytest.mark.parametrize("fault", [faults.HANG, faults.SLOW], ids=lambda fault: fault.name)
def test_a_server_that_hangs_is_left_in_time_and_asked_again(place: Place, fault: Fault) -> None:
    store = stores.open_store(place.config.model_copy(update={"timeout_s": 0.2}))
    place.book.script.append(fault)
    prepared = store.prepare(readings("p", [1.0]))
    with pytest.raises(RetryLater, match="no answer"):
        prepared()
    assert until_done(prepared, lambda: prepared) == []
    assert place.values("p") == expected([1.0])


def test_a_call_after_a_failure_goes_on_where_it_stopped(place: Place) -> None:
    values = [float(at) for at in range(12_000)]
    prepared = place.store.prepare(readings("p", values))
    place.book.script.extend([None, faults.AWAY])
    with pytest.raises(RetryLater):
        prepared()
    assert prepared() == []
    assert [written.lines for written in place.book.writes] == [5000, 5000, 5000, 2000]
    assert place.values("p") == expected(values)


def test_whoever_calls_again_after_success_does_not_believe_it_and_all_is_sent_again(place: Place) -> None:
    lie = Fault("a lie", 204)
    prepared = place.store.prepare(readings("p", [1.0, 2.0]))
    place.book.script.append(lie)
    assert prepared() == []
    assert place.values("p") == []
    assert prepared() == []
    assert place.values("p") == expected([1.0, 2.0])


def test_a_bare_400_is_no_reason_to_refuse_and_in_the_end_the_gateways_keep_their_rows(place: Place) -> None:
    place.book.always = faults.BARE
    prepared = place.store.prepare(readings("p", [1.0] * 5000))
    for _ in range(MAX_DOUBTED_CALLS - 1):
        with pytest.raises(RetryLater, match="wal error"):
            prepared()
    with pytest.raises(Undecided, match="wal error"):
        prepared()
    assert len(place.book.writes) <= 70 * MAX_DOUBTED_CALLS
    place.book.always = None
    assert prepared() == []
    assert len(place.values("p")) == 5000


def test_rows_that_a_bare_400_keeps_out_leave_the_others_stored(place: Place) -> None:
    place.book.shuns = b"value=7.0"
    with pytest.raises(Undecided, match="wal error"):
        place.store.prepare(readings("p", [float(at) for at in range(2000)]))()
    assert place.values("p") == [row for row in expected([float(at) for at in range(2000)]) if row[1] != 7.0]


def test_a_full_index_leaves_rows_of_new_series_with_their_gateways_and_asks_once(place: Place) -> None:
    full = "partial write: max-series-per-database limit exceeded: (1000000) dropped=2"
    place.book.script.append(Fault("full", 400, full, is_stored=True))
    with pytest.raises(Undecided, match="max-series"):
        place.store.prepare(readings("p", [1.0, 2.0]))()
    assert len(place.book.writes) == 1


def test_writes_at_the_same_time_use_as_many_connections_as_are_wanted(place: Place) -> None:
    wanted = 3
    store = stores.open_store(place.config.model_copy(update={"connections": wanted}))
    place.book.together = threading.Barrier(wanted)
    names = [uuid.uuid4().hex for _ in range(5 * wanted)]
    prepared = [store.prepare(readings(name, [1.0, 2.0])) for name in names]
    with ThreadPoolExecutor(wanted) as threads:
        for at in range(0, len(names), wanted):  # in between all connections rest
            assert list(threads.map(lambda one: one(), prepared[at : at + wanted])) == [[]] * wanted
    assert len({written.port for written in place.book.writes}) == wanted
    assert all(place.values(name) == expected([1.0, 2.0]) for name in names)


def test_bodies_are_compressed(place: Place) -> None:
    rows = readings("p", [1.0] * 500)
    place.store.prepare(rows)()
    [written] = place.book.writes
    assert gzip.decompress(written.packed).split(b"\n") == rows.lines()
    assert len(written.packed) < len(gzip.decompress(written.packed)) / 5


def test_an_empty_write_asks_nothing(place: Place) -> None:
    assert place.store.prepare(Points())() == []
    assert place.book.writes == []


def test_a_missing_database_is_made_once(influx1: Influx1Server) -> None:
    name = f'it\'s "{uuid.uuid4().hex}" = ä'
    store = stores.open_store(http_config("influx1", influx1.url, name))
    with ThreadPoolExecutor(2) as threads:
        one, two = (threads.submit(store.prepare(readings(asset, [1.0]))) for asset in "pq")
        assert one.result() == two.result() == []
    assert ask(influx1.url, "SELECT value FROM reading", name) == [[T0, 1.0], [T0, 1.0]]


def test_a_missing_database_is_not_made_when_that_is_not_wanted(influx1: Influx1Server) -> None:
    name = uuid.uuid4().hex
    config = http_config("influx1", influx1.url, name, create_database=False)
    with pytest.raises(StoreMisconfigured, match="database not found"):
        stores.open_store(config).prepare(readings("p", [1.0]))()
    assert [name] not in ask(influx1.url, "SHOW DATABASES")


@pytest.mark.parametrize("place", HTTP_KINDS[1:], indirect=True)
def test_a_wrong_token_needs_a_person(place: Place, tmp_path: Path) -> None:
    config = place.config.model_copy(update={"token_file": token_file(tmp_path, "wrong")})
    with pytest.raises(StoreMisconfigured, match="unauthorized"):
        stores.open_store(config).prepare(readings("p", [1.0]))()
