"""A model in the place of another: no window is lost or scored twice, no alarm stays open for ever."""

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from edge_agent.core.entries import Configured
from edge_agent.core.model import Unfit
from tests.edge.models import Chain, Mean
from tests.edge.test_pipeline import SECOND, T0, Arrival, Rows, data, entries_of, journals
from tests.edge.test_pipeline_models import WAITS_S, Life, configured, readings

V1, V2 = {"m": "v1"}, {"m": "v2"}


def versions(kind: type[Mean] = Mean, frames: int = 3, **second: Any) -> dict[str, Mean]:
    """Two versions of the model `wear`; `second`: what is different in the second one."""
    other: dict[str, Any] = {"name": "wear", "window": frames, "channels": ("t",), "version": "2"} | second
    return {"v1": kind("wear", frames, ("t",)), "v2": kind(**other)}


def times(rows: Rows) -> Counter[tuple[object, ...]]:
    """Asset and time of each score, and what it is: whichever version gave it."""
    found: Counter[tuple[object, ...]] = Counter()
    for (series, *rest), count in rows.scores.items():
        found[series[0], *rest] += count  # type: ignore[index]
    return found


@pytest.mark.parametrize("kind", [Mean, Chain])
@given(
    arrivals=journals(),
    swaps=st.lists(st.integers(0, 20), max_size=4),
    restarts=st.frozensets(st.integers(1, 40)),
    wait_s=st.sampled_from(WAITS_S),
)
@settings(deadline=None, max_examples=20)
def test_swaps_between_versions_that_say_the_same_change_no_score_and_no_alarm(
    kind: type[Mean], arrivals: list[Arrival], swaps: list[int], restarts: frozenset[int], wait_s: float
) -> None:
    entries = entries_of(arrivals, [])
    expected = Life(versions(kind)).run(configured(V1, wait_s), *entries).end()
    journal = [configured(V1, wait_s), *entries]
    for number, at in enumerate(sorted(swaps)):
        journal.insert(1 + at + number, configured((V2, V1)[number % 2], wait_s))
    found = Life(versions(kind)).run(*journal, restarts=restarts).end()
    assert times(found) == times(expected)
    assert found.readings == expected.readings
    assert found.alarms == expected.alarms


@pytest.mark.parametrize(
    ("second", "lost"),
    [
        ({}, 0),
        ({"name": "other"}, 0),  # the inputs are the same
        ({"window": 4}, 3),
        ({"channels": ("p",)}, 2),
        ({"channels": ("t", "p")}, 2),
        ({"missing": "mask"}, 2),
        ({"sample_period_s": 2.0}, 2),
    ],
)
def test_a_model_with_the_same_inputs_needs_no_warm_up_and_another_one_does(second: dict[str, Any], lost: int) -> None:
    life = Life(versions(**second)).run(configured(V1))
    life.run(data(T0, readings("a1", [1.0] * 10)), configured(V2), data(T0, readings("a1", [1.0] * 10, 10)))
    found = sorted(int(str(row[1])) - T0 for row in life.end().scores.elements())
    at = [*range(2, 8), *range(8 + lost, 20)]  # at the swap two frames are still open
    assert found == [i * SECOND for i in at]


def test_an_alarm_that_the_old_version_opened_is_closed_by_the_new_one() -> None:
    life = Life(versions()).run(configured(V1), data(T0, readings("a1", [9.0] * 10)), configured(V2))
    life.restore()
    life.run(data(T0, readings("a1", [-9.0] * 10, 10))).end()
    opened, closed = life.results.alarms
    assert (opened.is_open, closed.is_open) == (True, False)
    assert opened.id == closed.id


@pytest.mark.parametrize(
    "after",
    [configured({}), configured({"m": "v2"}), configured({"m": "v1"}, match="x*")],
    ids=["none", "name", "asset"],
)
def test_an_alarm_closes_with_a_word_when_no_model_of_its_name_watches_the_asset_any_more(after: Configured) -> None:
    life = Life(versions(name="other")).run(configured(V1), data(T0, readings("a1", [9.0] * 10)), after)
    opened, closed = life.results.alarms[:2]
    assert (opened.code, closed.code, opened.is_open, closed.is_open) == ("wear", "wear", True, False)
    assert opened.id == closed.id
    assert closed.message == "closed without a judgement: no model wear watches this asset any more"
    again = life.run(configured(V1), data(T0, readings("a1", [9.0] * 20, 10))).results.alarms[-1]
    assert (again.code, again.is_open) == ("wear", True)
    assert again.id != opened.id


def test_an_alarm_that_closes_without_a_judgement_closes_behind_its_last_word_though_the_sender_is_ahead() -> None:
    limit = {"output": "anomaly_score", "open_at": 5.0, "close_at": 0.0, "blind_after": 2}
    life = Life({"v1": Mean("wear", 1, ("t",), threshold=limit)}).run(configured(V1))
    life.run(data(T0, [*readings("a1", [9.0] * 5), *readings("a1", [1.0] * 10, 5, "p")]))
    life.run(configured({}, arrival_ns=T0 + SECOND)).end()
    opened, blind, closed = life.results.alarms
    assert [alarm.is_open for alarm in life.results.alarms] == [True, True, False]
    assert opened.time_ns < blind.time_ns < closed.time_ns


def test_an_alarm_of_a_version_that_may_not_be_run_any_more_is_closed_by_the_next_one() -> None:
    models: dict[str, Any] = dict(versions())
    life = Life(models).run(configured(V1), data(T0, readings("a1", [9.0] * 10)))
    models["v1"] = Unfit(models["v1"].manifest, "its signer is trusted no more")
    life.restore()
    life.run(data(T0, readings("a1", [9.0] * 3, 10)), configured(V2), data(T0, readings("a1", [-9.0] * 10, 13))).end()
    opened, closed = life.results.alarms
    assert (opened.is_open, closed.is_open) == (True, False)
    assert opened.id == closed.id
    assert life.counts["unscored_out_of_service"] == 3


def test_an_alarm_outlives_a_change_of_the_grid() -> None:
    life = Life(versions(frames=1)).run(configured(V1), data(T0, readings("a1", [9.0] * 10)))
    life.run(configured(V1, period_s=2.0), data(T0, readings("a1", [-9.0] * 20, 10))).end()
    assert life.alarms == [("a1", "wear", True), ("a1", "wear", False)]


@pytest.mark.parametrize(
    ("second", "remembers"), [({}, True), ({"name": "other"}, False), ({"state": 2}, False), ({"window": 2}, True)]
)
def test_what_a_model_remembers_is_the_next_ones_if_its_name_and_size_are(
    second: dict[str, Any], remembers: bool
) -> None:
    life = Life(versions(Chain, 1, **second)).run(configured(V1), data(T0, readings("a1", [8.0] * 12)), configured(V2))
    new = [row for row in life.end().scores if row[0][2] == "2"]  # type: ignore[index]
    first = min(new, key=lambda row: int(str(row[1])))
    assert (float.fromhex(str(first[2]).partition("=")[2]) > 12) is remembers  # 8 + half of nearly 16, or of nothing


def test_a_model_that_other_assets_keep_hands_one_asset_over_and_takes_it_back() -> None:
    def begin(a1: str) -> Configured:
        both = configured({"m": "v1", "n": "v2"})
        rules = [{"match": "a1", "models": [a1]}, {"match": "a2", "models": ["m"]}, {"match": "a3", "models": ["n"]}]
        return with_rules(both, rules)

    life = Life(versions()).run(begin("m"))
    for number, path in enumerate(["n", "m", "n"]):
        for asset in ("a1", "a2", "a3"):
            life.run(data(T0, readings(asset, [9.0] * 6, 6 * number)))
        life.run(begin(path))
    life.run(data(T0, readings("a1", [-9.0] * 6, 18)))
    found = life.end()
    assert sorted(int(str(row[1])) - T0 for row in found.scores if row[0][0] == "a1") == [  # type: ignore[index]
        i * SECOND for i in range(2, 24)
    ]
    mine = [alarm for alarm in life.results.alarms if alarm.asset == "a1"]
    assert [alarm.is_open for alarm in mine] == [True, False]
    assert mine[0].id == mine[1].id


def with_rules(entry: Configured, rules: list[dict[str, Any]]) -> Configured:
    config = json.loads(entry.config)
    config["assets"] = [config["assets"][0] | rule for rule in rules]
    return replace(entry, config=json.dumps(config))
