"""The choice of the maintenance plan, against every assignment there is."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.core import plan as plan_module
from aggregator.core.plan import Job, Plan, plan

amounts = st.integers(0, 20).map(float) | st.floats(0, 1e6)


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[Job], list[float]]:
    slots = draw(st.lists(st.sampled_from([0.5, 2.0, 4.0, 8.0]), max_size=3))
    jobs = [
        Job(
            f"pump-{i}",
            draw(st.sampled_from([0.5, 1.0, 3.0, 4.0, 9.0])),
            tuple(draw(amounts | st.just(math.inf)) for _ in slots),
            draw(amounts),
        )
        for i in range(draw(st.integers(0, 5)))
    ]
    return jobs, slots


def cost_of(jobs: list[Job], slots: dict[str, int | None]) -> float:
    at = {job.name: slots[job.name] for job in jobs}
    return sum(job.undone if (slot := at[job.name]) is None else job.costs[slot] for job in jobs)


def is_possible(jobs: list[Job], hours: list[float], slots: dict[str, int | None]) -> bool:
    return all(sum(job.hours for job in jobs if slots[job.name] == at) <= room for at, room in enumerate(hours))


def cheapest(jobs: list[Job], hours: list[float]) -> float:
    names = [job.name for job in jobs]
    choices = product([None, *range(len(hours))], repeat=len(jobs))
    every = (dict(zip(names, choice, strict=True)) for choice in choices)
    return min(cost_of(jobs, one) for one in every if is_possible(jobs, hours, one))


@settings(max_examples=150, deadline=None)
@given(cases())
def test_no_assignment_costs_less_and_capacity_is_never_exceeded(case: tuple[list[Job], list[float]]) -> None:
    jobs, hours = case
    found = plan(jobs, hours)
    assert is_possible(jobs, hours, found.slots)
    best = cheapest(jobs, hours)
    assert cost_of(jobs, found.slots) == pytest.approx(best, rel=1e-6, abs=1e-6)
    assert found.cost == pytest.approx(best, rel=1e-6, abs=1e-6)
    assert found.bound <= found.cost


@settings(max_examples=50, deadline=None)
@given(cases(), st.randoms(use_true_random=False))
def test_the_order_in_which_jobs_are_given_changes_nothing(case: tuple[list[Job], list[float]], random: object) -> None:
    jobs, hours = case
    mixed = list(jobs)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert plan(mixed, hours) == plan(jobs, hours)


@settings(max_examples=50, deadline=None)
@given(cases())
def test_without_a_solver_the_plan_keeps_to_the_hours_and_says_what_may_be_missing(
    case: tuple[list[Job], list[float]],
) -> None:
    jobs, hours = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan_module, "milp", _gives_up)
        found = plan(jobs, hours)
    assert is_possible(jobs, hours, found.slots)
    best = cheapest(jobs, hours)
    assert best <= found.cost * (1 + 1e-9) + 1e-9
    assert found.bound <= best * (1 + 1e-9) + 1e-9


def _gives_up(*_: object, **__: object) -> object:
    class Nothing:
        x = None
        mip_dual_bound = None

    return Nothing()


def test_a_solver_out_of_time_leaves_a_plan_and_its_gap() -> None:
    jobs = [Job(f"a{i:02}", 1 + i % 3, (10.0 * i, 11.0 * i + 1), 40.0 + 17 * i) for i in range(40)]
    found = plan(jobs, [9.0, 9.0], time_limit_s=1e-9)
    assert is_possible(jobs, [9.0, 9.0], found.slots)
    assert found.cost < sum(job.undone for job in jobs)
    assert found.bound <= plan(jobs, [9.0, 9.0]).cost


def test_of_many_pairs_the_best_are_weighed_and_the_plan_is_next_to_the_cheapest() -> None:
    rng = np.random.default_rng(3)
    jobs = []
    for i in range(60):
        failure, early = rng.uniform(3000, 40_000), rng.uniform(300, 3000)
        before = np.sort(rng.uniform(0, 0.9, 31))
        costs = before[:30] * failure + (1 - before[:30]) * early
        jobs.append(Job(f"a{i:02}", float(rng.integers(1, 7)), tuple(costs.tolist()), float(before[30] * failure)))
    hours = [8.0] * 30
    found = plan(jobs, hours)
    assert is_possible(jobs, hours, found.slots)
    saved = sum(job.undone for job in jobs) - found.cost
    assert 0 <= found.gap < 0.02 * saved
    assert found.cost == pytest.approx(cost_of(jobs, found.slots))
    assert plan(jobs[::-1], hours) == found


def test_without_jobs_or_without_slots_nothing_is_done() -> None:
    assert plan([], [8.0]) == Plan({}, 0.0, 0.0)
    assert plan([Job("a", 1, (), 7.0)], []) == Plan({"a": None}, 7.0, 7.0)


def test_what_costs_nothing_is_not_worth_work() -> None:
    assert plan([Job("a", 1, (0.0,), 0.0)], [8.0]).slots == {"a": None}


def test_of_jobs_that_differ_in_name_only_the_first_is_done() -> None:
    jobs = [Job(name, 4, (1.0,), 9.0) for name in ("c", "a", "b")]
    assert plan(jobs, [8.0]).slots == {"a": 0, "b": 0, "c": None}
    jobs = [Job(name, 8, (1.0, 2.0), 9.0) for name in ("c", "a", "b")]
    assert plan(jobs, [8.0, 8.0]).slots == {"a": 0, "b": 1, "c": None}


def test_hours_that_only_just_fit_do_fit() -> None:
    jobs = [Job(f"a{i}", 0.1, (0.0,), 1.0) for i in range(10)]
    assert set(plan(jobs, [1.0]).slots.values()) == {0}
    assert list(plan(jobs, [0.99]).slots.values()).count(0) == 9
