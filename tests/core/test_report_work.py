"""The maintenance plan in money: what is decided, and what is said of it."""

import math
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from aggregator.config import Maintenance
from aggregator.core.report.content import Asset, Forecast, MaintenancePlan
from aggregator.core.report.work import maintenance_plan

UTC = ZoneInfo("UTC")
HOUR = 3600 * 10**9
MONDAY_NOON = 1_772_452_800 * 10**9  # 2026-03-02T12:00Z
NIGHTS: dict[str, Any] = {
    "failure_prob_horizon_h": 24.0,
    "crews": [{"name": "night", "skills": ["mechanics"]}],
    "windows": [{"begin": "Tue,Thu 12:00", "hours": 8}],
    "assets": [{"match": "pump-*", "failure_cost": 10_000, "early_cost": 1000, "hours": 5, "needs": "mechanics"}],
}


def asset(name: str, *, failure_prob: float = math.nan, life: Forecast | None = None) -> Asset:
    return Asset("n", name, "ok", 0.1, "", 90.0, (), 0.1, 0.1, 0, (), failure_prob, life, 1)


def planned(*assets: Asset, **config: Any) -> MaintenancePlan:
    return maintenance_plan(assets, Maintenance.model_validate(NIGHTS | config), MONDAY_NOON, UTC)


def test_the_expected_costs_are_those_of_the_formula() -> None:
    found = planned(asset("pump-1", failure_prob=0.1))
    [work] = found.work
    assert work.begin_ns == MONDAY_NOON + 24 * HOUR
    assert work.cost == pytest.approx(0.1 * 10_000 + 0.9 * 1000)
    assert work.undone == pytest.approx((1 - 0.9**7) * 10_000)
    assert (found.cost, found.undone) == pytest.approx((work.cost, work.undone))
    more = (1 - 0.9**3) * 9000 - 0.1 * 9000
    assert work.why == (
        f"saves {work.undone - work.cost:,.0f} EUR in expectation against leaving it; "
        f"waiting until Thu 2026-03-05 12:00 costs {more:,.0f} EUR more"
    )
    assert work.basis == "the model gives 10 % within 24 h, at a constant hazard"


def test_the_first_window_goes_to_the_asset_that_loses_most_by_waiting() -> None:
    likely, less = asset("pump-2", failure_prob=0.3), asset("pump-1", failure_prob=0.1)
    first, second = planned(less, likely).work
    assert (first.asset, second.asset) == ("pump-2", "pump-1")
    assert "no later window" not in first.why
    assert "Tue 2026-03-03 12:00 would cost 1,539 EUR less, but its hours save more elsewhere" in second.why
    assert "no later window before the horizon" in second.why


def test_what_does_not_fit_stays_undone_for_want_of_hours() -> None:
    found = planned(*(asset(f"pump-{i}", failure_prob=0.1 + i / 10) for i in range(3)))
    *_, left = found.work
    assert (left.asset, left.begin_ns, left.crew) == ("pump-0", 0, "")
    assert left.why.startswith("capacity: Tue 2026-03-03 12:00 would save 3,317 EUR in expectation, but its hours")


def test_what_is_unlikely_to_fail_is_not_worth_work() -> None:
    [left] = planned(asset("pump-1", failure_prob=0.001)).work
    assert left.begin_ns == 0
    assert left.why == "not worth it: the risk of 0.7 % x 10,000 EUR is 939 EUR less than the cheapest window costs"


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"windows": []}, "no window before the horizon"),
        ({"windows": [{"begin": "2026-05-01", "hours": 8}]}, "no window before the horizon"),
        ({"windows": [{"begin": "Tue 12:00", "hours": 4}]}, "takes 5.0 h, the longest window has 4.0 h"),
        (
            {
                "crews": [{"name": "day"}, {"name": "night", "skills": ["mechanics"]}],
                "windows": [{"begin": "Tue 12:00", "hours": 8, "crews": ["day"]}],
            },
            "no crew with the skill 'mechanics' has a window before the horizon",
        ),
    ],
)
def test_why_nothing_can_be_planned_is_said(config: dict[str, Any], why: str) -> None:
    [left] = planned(asset("pump-1", failure_prob=0.5), **config).work
    assert (left.begin_ns, left.why) == (0, why)


def test_a_window_that_rounding_made_too_short_is_long_enough_in_whole_minutes() -> None:
    """0.3 h of which 0.1 h have passed leave 0.19999999999999998 h."""
    rules = [{"match": "*", "failure_cost": 10_000, "early_cost": 1000, "hours": 0.2}]
    windows = [{"begin": "2026-03-02T11:54", "hours": 0.3}]
    [work] = planned(asset("pump-1", failure_prob=0.9), assets=rules, windows=windows).work
    assert work.begin_ns == MONDAY_NOON


def test_a_window_that_is_too_short_in_whole_minutes_is_not_called_taken() -> None:
    rules = [{"match": "*", "failure_cost": 10_000, "early_cost": 1000, "hours": 0.999}]
    windows = [{"begin": "Tue 12:00", "hours": 0.9995}]
    [left] = planned(asset("pump-1", failure_prob=0.9), assets=rules, windows=windows).work
    assert left.why == "takes 1.0 h, the longest window has 1.0 h"


def test_an_asset_of_which_no_model_says_when_it_may_fail_is_listed_and_not_planned() -> None:
    found = planned(asset("pump-1"), asset("pump-2", failure_prob=0.5), failure_prob_horizon_h=None)
    assert found.work == ()
    assert found.unplanned == (
        ("n", "pump-1", "no model says when it may fail"),
        ("n", "pump-2", "a failure probability, but failure_prob_horizon_h is not set: nobody knows within which time"),
    )


def test_a_remaining_life_will_do_where_there_is_no_probability() -> None:
    [work] = planned(asset("pump-1", life=Forecast(50.0, 24.0, 96.0, "the model's interval"))).work
    assert work.begin_ns == MONDAY_NOON + 24 * HOUR
    assert work.cost == pytest.approx(0.1 * 10_000 + 0.9 * 1000)
    assert work.basis == "remaining life 24 h to 96 h (80 %, log-normal)"


def test_an_asset_without_declared_costs_is_counted() -> None:
    assert planned(asset("fan-1", failure_prob=0.5)).without_costs == 1
    rules = [{"match": "n/fan-?", "failure_cost": 0, "early_cost": 0, "hours": 1}]
    found = planned(asset("fan-1", failure_prob=0.5), assets=rules)
    assert (found.without_costs, found.cost, found.work[0].begin_ns) == (0, 0.0, 0)
