"""The table of gateways, from states and heartbeats alone."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.core.fleet import Gateway, Life, Member, fleet, summary
from aggregator.core.views import Row
from aggregator.metrics import Metrics
from models.contract.schema import HEARTBEAT
from models.contract.state import RefusedModel, RunningModel, State

DOCS = Path(__file__).parents[2] / "docs" / "fleet.md"
SECOND = 1_000_000_000
NOW = 1_760_000_000 * SECOND
STALE_S = 60.0
NAME = ("north", "gw1")
BORN = NOW - 3600 * SECOND
ONLINE, DIED = State(online=True, since_ns=BORN), State(online=False, since_ns=BORN)
STOPPED = State(online=False, since_ns=BORN, stopped_ns=NOW - 500 * SECOND)


def beat(age_s: float, name: Gateway = NAME, **fields: float) -> Row:
    site, gateway = name
    return {"time": NOW - int(age_s * SECOND), "site": site, "gateway": gateway, **fields}


def one(state: State | None, *beats: Row) -> Member:
    (found,) = fleet({NAME: state} if state else {}, beats, NOW, STALE_S)
    return found


@pytest.mark.parametrize(
    ("state", "age_s", "life", "since_s"),
    [
        (ONLINE, 5, Life.ALIVE, 3600),
        (ONLINE, 61, Life.SILENT, 61),
        (ONLINE, None, Life.SILENT, 3600),
        (State(online=True, since_ns=NOW - 5 * SECOND), None, Life.ALIVE, 5),
        (State(online=True, since_ns=NOW - 5 * SECOND), 1000, Life.ALIVE, 5),
        (DIED, 5, Life.OFFLINE, 5),
        (DIED, 900, Life.OFFLINE, 900),
        (DIED, None, Life.OFFLINE, None),
        (STOPPED, 501, Life.STOPPED, 500),
        (STOPPED, None, Life.STOPPED, 500),
        (None, 5, Life.ALIVE, 105),
        (None, 61, Life.SILENT, 61),
    ],
)
def test_state_and_heartbeat_together_tell_who_is_alive_and_since_when(
    state: State | None, age_s: float | None, life: Life, since_s: float | None
) -> None:
    found = one(state, *([] if age_s is None else [beat(age_s, uptime_s=100.0)]))
    since = None if found.since_ns is None else (NOW - found.since_ns) / SECOND
    assert (found.life, since) == (life, since_s)


def test_without_the_store_the_brokers_word_counts_and_without_the_broker_the_heartbeats() -> None:
    (by_broker,) = fleet({NAME: ONLINE}, None, NOW, STALE_S)
    (by_store,) = fleet(None, [beat(5)], NOW, STALE_S)
    assert (by_broker.life, by_store.life) == (Life.ALIVE, Life.ALIVE)
    assert fleet(None, None, NOW, STALE_S) == []


def test_of_several_heartbeats_the_newest_counts() -> None:
    found = one(ONLINE, beat(9, lag_s=9.0), beat(1, lag_s=1.0), beat(5, lag_s=5.0))
    assert found.said["lag_s"] == 1.0


def test_it_shows_what_runs_and_warns_of_what_is_not_as_wanted() -> None:
    models = (RunningModel(name="wear", version="1.0", provider="cpu"),)
    state = State(
        online=True, since_ns=BORN, version="9.9", config_digest="abc", models=models, providers_wanted=("cuda", "cpu")
    )
    found = one(state, beat(1, provider_is_first=1.0, lost_total=3.0, lag_s=61.0, clock_is_behind=1.0))
    assert (found.version, found.models, found.providers, found.config_digest) == ("9.9", models, ("cpu",), "abc")
    assert found.is_provider_first is False, "what the state says now, not what the last heartbeat said"
    for text in ("do not run on cuda", "3 rows lost", "come late", "clock"):
        assert any(text in warning for warning in found.warnings), text


@pytest.mark.parametrize(
    ("wanted", "provider", "reason", "warnings"),
    [
        (("auto",), "cpu", "", ()),
        (
            ("auto",),
            "cpu",
            "the driver is too old",
            ("models do not run on the first wanted provider: the driver is too old",),
        ),
        (("cuda", "cpu"), "cpu", "no device", ("models do not run on cuda: no device",)),
        (("cuda", "cpu"), "cuda", "", ()),
    ],
)
def test_a_gateway_that_chooses_its_provider_itself_is_warned_of_only_with_its_own_reason(
    wanted: tuple[str, ...], provider: str, reason: str, warnings: tuple[str, ...]
) -> None:
    models = (RunningModel(name="wear", provider=provider, provider_reason=reason),)
    found = one(State(online=True, since_ns=BORN, models=models, providers_wanted=wanted), beat(1))
    assert (found.is_provider_first, found.warnings) == (not warnings, warnings)


def test_it_warns_of_models_whose_file_cannot_be_used() -> None:
    refused = (RefusedModel(name="wear", reason="cut"), RefusedModel(name="heat", reason="cut", serves="ab"))
    found = one(State(online=True, since_ns=BORN, refused_models=refused), beat(1))
    assert found.warnings == (
        "models out of service: wear",
        "models whose file cannot be used, the bundle of before serves: heat",
    )


def test_a_gateway_without_models_has_no_provider_to_warn_of() -> None:
    found = one(State(online=True, since_ns=BORN, providers_wanted=("cuda",)), beat(1))
    assert (found.is_provider_first, found.warnings) == (None, ())


def test_the_worst_come_first() -> None:
    names: list[Gateway] = [("s", letter) for letter in "abcdef"]
    states = dict(zip(names, [ONLINE, ONLINE, STOPPED, ONLINE, DIED, ONLINE], strict=True))
    beats = [
        beat(1, names[0]),
        beat(1, names[1], lag_s=9.0),
        beat(1, names[2]),
        beat(999, names[3]),
        beat(1, names[4]),
        beat(1, names[5], lost_total=1.0),
    ]
    assert "".join(member.gateway for member in fleet(states, beats, NOW, STALE_S)) == "edcfba"


names = st.tuples(st.sampled_from("st"), st.sampled_from("abcdefgh"))
cells = st.none() | st.floats(0, 1e9)
rows = st.builds(
    lambda name, age_s, fields: beat(age_s, name) | fields,
    names,
    st.floats(-1e6, 1e6),
    st.dictionaries(st.sampled_from(HEARTBEAT), cells),
)
lives = st.builds(State, online=st.booleans(), since_ns=st.integers(0, 2 * NOW), stopped_ns=st.integers(0, NOW))


@given(st.none() | st.dictionaries(names, lives), st.none() | st.lists(rows, max_size=20), st.floats(1, 1e5))
def test_each_gateway_stands_in_it_once_and_the_kinds_are_in_order(
    states: dict[Gateway, State] | None, beats: list[Row] | None, stale_s: float
) -> None:
    found = fleet(states, beats, NOW, stale_s)
    known = {*(states or {}), *((row["site"], row["gateway"]) for row in beats or [])}
    assert sorted((one.site, one.gateway) for one in found) == sorted(known)
    order = list(Life)
    ranks = [order.index(member.life) for member in found]
    assert ranks == sorted(ranks)
    assert summary(found) == {life: ranks.count(rank) for rank, life in enumerate(order)}


def table(heading: str) -> list[list[str]]:
    """The cells of the table of docs/fleet.md whose head begins so, without backticks."""
    lines = DOCS.read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().replace("`", "") for cell in line.strip("|").split("|")])
    return rows


def test_the_page_names_each_field_of_a_heartbeat_each_state_and_metrics_that_there_are() -> None:
    assert tuple(row[0] for row in table("field")) == HEARTBEAT
    assert [row[0] for row in table("state")] == list(Life)
    named = [name for row in table("metric") for name in row[0].split(", ")]
    assert set(named) <= {metric.name for metric in Metrics().registry.collect()}


def test_the_page_names_each_key_of_a_state() -> None:
    text = DOCS.read_text(encoding="utf-8")
    own = {"state_version", "site", "gateway"}  # what needs no word
    assert [key for key in State.__struct_fields__ if key not in own and f"`{key}`" not in text] == []
