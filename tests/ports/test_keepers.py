"""One suite for what sets up the stores: a plan that changes nothing, steps, and a plan with nothing left to do."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from aggregator.adapters import stores
from aggregator.config import Influx1, Retention, Sqlite
from aggregator.core import minutes
from aggregator.ports import RetryLater, StoreMisconfigured
from tests.batches import SECOND, T0
from tests.influx_apis import Api, Api2, Api3, Reply, served
from tests.influx_servers import HTTP_KINDS, TOKEN, ask, http_config
from tests.keeping import (
    MINUTE,
    Backend,
    close_to,
    do_all,
    of_api,
    readings,
    stored,
    without_zeros,
    write,
)
from tests.servers import Influx1 as Influx1Server
from tests.servers import free_port

KINDS = list(stores.KINDS)
HTTP = pytest.mark.parametrize("backend", HTTP_KINDS, indirect=True)
# An engine that computes: there is none for Flux.
ENGINES = pytest.mark.parametrize("backend", ["sqlite", "influx1", "influx3"], indirect=True)


@pytest.fixture(params=KINDS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    kind: str = request.param
    if kind == "influx1":
        server: Influx1Server = request.getfixturevalue("influx1")
        yield Backend(Influx1(kind="influx1", url=server.url, database=f'db "{uuid.uuid4()}"'), None)
        return
    if kind == "sqlite":
        yield Backend(Sqlite(kind="sqlite", path=tmp_path / "new" / "rows.db"), None)
        return
    api = Api2() if kind == "influx2" else Api3()
    with served(api) as url:
        yield Backend(of_api(kind, url, tmp_path), api)


# ---- plan, apply, plan


def test_after_all_steps_of_a_plan_nothing_is_left_to_do(backend: Backend) -> None:
    keeper = backend.keeper(raw_d=90, minutes_d=365)
    assert not keeper.plan()[0].is_done
    assert all(step.is_done for step in do_all(keeper))
    assert all(step.is_done for step in backend.keeper(raw_d=90, minutes_d=365).plan())


def test_a_plan_changes_nothing(backend: Backend) -> None:
    keeper = backend.keeper(raw_d=90)
    assert keeper.plan() == keeper.plan()
    if backend.api:
        assert backend.api.changes() == []
    elif isinstance(backend.config, Influx1):
        assert [backend.config.database] not in ask(backend.config.url, "SHOW DATABASES")
    else:
        assert isinstance(backend.config, Sqlite)
        assert not backend.config.path.parent.exists()


@HTTP
def test_a_step_that_was_done_may_be_done_again_after_an_interruption(backend: Backend) -> None:
    first = backend.keeper(raw_d=2)
    for step in first.plan()[:2]:
        first.apply(step)
    assert [step.is_done for step in first.plan()][:2].count(True) >= 1
    assert all(step.is_done for step in do_all(backend.keeper(raw_d=2)))


@HTTP
@pytest.mark.parametrize(("before", "after"), [((0, 0), (1, 365)), ((30, 7), (0.5, 0)), ((90, 1), (0, 0.25))])
def test_a_changed_retention_is_the_only_thing_to_do_and_then_done(
    backend: Backend, before: tuple[float, float], after: tuple[float, float]
) -> None:
    do_all(backend.keeper(*before))
    keeper = backend.keeper(*after)
    todo = [step for step in keeper.plan() if not step.is_done]
    assert len(todo) == 2
    for step, old, new in zip(todo, before, after, strict=True):
        assert minutes.words(minutes.retention_s(new)) in step.what
        assert ("deleted" in step.what) == (new != 0 and (old == 0 or new < old))
    assert all(step.is_done for step in do_all(keeper))


def test_a_server_that_does_not_answer_is_asked_again_later(tmp_path: Path) -> None:
    for kind in HTTP_KINDS:
        url = f"http://127.0.0.1:{free_port()}"
        config = http_config(kind, url) if kind == "influx1" else of_api(kind, url, tmp_path)
        keeper = stores.open_keeper(config, Retention())
        for work in (keeper.plan, lambda keeper=keeper: keeper.downsample(T0, T0 + MINUTE)):
            with pytest.raises(RetryLater, match="no answer"):
                work()
        keeper.close()


@pytest.mark.parametrize("kind", HTTP_KINDS)
@pytest.mark.parametrize("content", [b"<html>hello</html>", {"x": 1}, "x"])
def test_something_else_at_the_url_needs_a_person(kind: str, content: object, tmp_path: Path) -> None:
    class Other(Api):
        def answer(self, *_: object) -> Reply:
            return Reply(200, content)

    with served(other := Other()) as url:
        other.authorization = {"influx2": f"Token {TOKEN}", "influx3": f"Bearer {TOKEN}"}.get(kind)
        config = http_config(kind, url) if kind == "influx1" else of_api(kind, url, tmp_path)
        keeper = stores.open_keeper(config, Retention())
        for work in (keeper.plan, lambda: keeper.downsample(T0, T0 + MINUTE)):
            with pytest.raises(StoreMisconfigured, match="url"):
                work()
        keeper.close()


@pytest.mark.parametrize("kind", ["influx2", "influx3"])
def test_a_wrong_token_is_a_persons_matter_and_not_repeated(kind: str, tmp_path: Path) -> None:
    with served(Api2() if kind == "influx2" else Api3()) as url:
        keeper = stores.open_keeper(of_api(kind, url, tmp_path, token="other-secret"), Retention())
        with pytest.raises(StoreMisconfigured, match="token") as caught:
            keeper.plan()
    assert "other-secret" not in str(caught.value)


# ---- one-minute means


@pytest.fixture
def computing(backend: Backend) -> Backend:
    """Set up."""
    do_all(backend.keeper())
    return backend


@ENGINES
def test_the_means_are_those_of_numpy_and_computing_them_again_changes_nothing(computing: Backend) -> None:
    rows = readings()
    write(computing.config, rows)
    keeper = computing.keeper()
    keeper.downsample(T0, T0 + 1500 * SECOND)
    first = stored(computing)
    assert without_zeros(first) == close_to(rows.means())
    keeper.downsample(T0 + 7, T0 + 600 * SECOND)
    keeper.downsample(T0, T0 + 1500 * SECOND)
    assert stored(computing) == first


@ENGINES
def test_what_came_late_counts_once_the_stretch_is_computed_again(computing: Backend) -> None:
    rows = readings(seed=1)
    late = (rows.time_ns > T0 + 300 * SECOND) & (np.arange(len(rows.time_ns)) % 3 == 0)
    keeper = computing.keeper()
    for part in (rows.of(~late), rows.of(late)):
        write(computing.config, part)
        keeper.downsample(T0, T0 + 1500 * SECOND)
    assert without_zeros(stored(computing)) == close_to(rows.means())


@ENGINES
def test_a_stretch_without_readings_has_no_means(computing: Backend) -> None:
    keeper = computing.keeper()
    keeper.downsample(T0, T0 + MINUTE)
    write(computing.config, readings())
    keeper.downsample(T0 - 60 * MINUTE, T0 - 30 * MINUTE)
    assert stored(computing) == {}
