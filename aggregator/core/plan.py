"""Which job to do in which slot: the least expected cost within the hours of each slot.

    minimise    sum of costs[slot] over the jobs done + sum of `undone` over the others
    such that   each job is done at most once, and the jobs of a slot take no more than its hours

A generalised assignment problem, solved exactly by HiGHS (Huangfu, Hall: Parallelizing the dual revised simplex
method, 2018). Only pairs that save something are offered to the solver, so nothing is done for nothing. Of many pairs
it gets those of the least reduced cost in the linear relaxation (the problem's core: Balas, Zemel 1980). Should it run
out of nodes or time, the better of its best plan and a greedy one is taken. `bound` says what may be missing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import coo_array, vstack

NODES = 2000  # a limit that, unlike time, gives the same plan on each machine
CORE = 1000  # pairs; more are first thinned to those that the linear relaxation finds best
_PRECISION = 0.002  # of the savings, where they were thinned
_MINUTES = 60


@dataclass(frozen=True)
class Job:
    """Work on one asset."""

    name: str
    hours: float
    costs: tuple[float, ...]  # expected, when it is done in each slot; inf = cannot be done there
    undone: float  # expected, when it is left


@dataclass(frozen=True)
class Plan:
    """`slots` has the job's slot by name, None = left undone; no plan costs less than `bound`."""

    slots: dict[str, int | None]
    cost: float
    bound: float

    @property
    def gap(self) -> float:
        """How much a better plan might save, at most."""
        return max(self.cost - self.bound, 0.0)


def plan(jobs: Sequence[Job], hours: Sequence[float], time_limit_s: float = 10.0) -> Plan:
    """The plan for `jobs` (distinct names, finite `undone`) in slots of so many `hours`, whatever the jobs' order.

    Hours count in whole minutes: those of a job are rounded up, those of a slot down.
    """
    jobs = sorted(jobs, key=lambda job: job.name)
    room = np.array([_rounded_down(slot) for slot in hours], dtype=np.int64)
    minutes = np.array([_rounded_up(job.hours) for job in jobs], dtype=np.int64)
    undone = np.array([job.undone for job in jobs])
    costs = np.array([job.costs for job in jobs], dtype=np.float64).reshape(len(jobs), len(room))
    savings = undone[:, None] - costs
    scale = max(float(np.abs(undone).max(initial=0.0)), 1e-300)
    job, slot = np.nonzero((savings > 1e-12 * scale) & (minutes[:, None] <= room))
    if not len(job):
        return Plan({one.name: None for one in jobs}, float(undone.sum()), float(undone.sum()))
    saving = savings[job, slot]
    taken, most = _solve(job, slot, saving, minutes, room, time_limit_s)
    greedy = _greedy(job, slot, saving, minutes, room)
    if taken is None or saving[greedy].sum() > saving[taken].sum() + 1e-9 * scale:
        taken = greedy
    chosen = np.full(len(jobs), -1)
    chosen[job[taken]] = slot[taken]
    _alike_by_name(jobs, chosen)
    cost = float(undone.sum() - saving[taken].sum())
    slots = {one.name: int(at) if at >= 0 else None for one, at in zip(jobs, chosen, strict=True)}
    return Plan(slots, cost, min(cost, float(undone.sum()) - most))


def fits(job_hours: float, slot_hours: float) -> bool:
    """Whether a job of so many hours finds room in an empty slot of so many."""
    return _rounded_up(job_hours) <= _rounded_down(slot_hours)


def _rounded_up(hours: float) -> int:
    return math.ceil(round(hours * _MINUTES, 6))


def _rounded_down(hours: float) -> int:
    return math.floor(round(hours * _MINUTES, 6))


def _solve(
    job: np.ndarray, slot: np.ndarray, saving: np.ndarray, minutes: np.ndarray, room: np.ndarray, time_limit_s: float
) -> tuple[np.ndarray | None, float]:
    """The pairs taken (None = none found in time), and what no plan can save more than."""
    pairs = np.arange(len(job))
    unit = float(saving.max())  # HiGHS' tolerances are absolute
    once = coo_array((np.ones(len(job)), (job, pairs)), shape=(job.max() + 1, len(job)))
    within = coo_array((minutes[job].astype(float), (slot, pairs)), shape=(len(room), len(job)))
    limits, matrix = np.concatenate((np.ones(job.max() + 1), room)), vstack((once, within)).tocsc()
    most, core, precision = _relaxed(job, saving), pairs, 0.0
    if len(pairs) > CORE:
        relaxed = linprog(-saving / unit, matrix, limits, bounds=(0, 1), options={"time_limit": time_limit_s})
        if relaxed.status == 0:
            most, precision = min(most, -relaxed.fun * unit), _PRECISION
            reduced = -saving / unit - matrix.T @ relaxed.ineqlin.marginals
            core = np.sort(np.argsort(reduced, kind="stable")[:CORE])
    found = milp(
        -saving[core] / unit,
        integrality=np.ones(len(core)),
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(matrix[:, core], ub=limits),
        options={"time_limit": time_limit_s, "node_limit": NODES, "mip_rel_gap": precision},
    )
    bound = found.mip_dual_bound
    if len(core) == len(pairs) and bound is not None and np.isfinite(bound):
        most = -float(bound) * unit
    if found.x is None:
        return None, most
    taken = core[found.x > 0.5]
    # what the solver's tolerance lets through counts for nothing: capacity is never exceeded
    used = np.bincount(slot[taken], minutes[job[taken]], len(room))
    return (taken if (used <= room).all() else None), most


def _relaxed(job: np.ndarray, saving: np.ndarray) -> float:
    """Every job in its best slot, as if hours had no end."""
    best = np.zeros(job.max() + 1)
    np.maximum.at(best, job, saving)
    return float(best.sum())


def _greedy(job: np.ndarray, slot: np.ndarray, saving: np.ndarray, minutes: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Pairs by what an hour of theirs saves, as long as there is room."""
    left, done, taken = room.copy(), set(), []
    for pair in np.argsort(-saving / np.maximum(minutes[job], 1), kind="stable").tolist():
        if job[pair] not in done and minutes[job[pair]] <= left[slot[pair]]:
            left[slot[pair]] -= minutes[job[pair]]
            done.add(job[pair])
            taken.append(pair)
    return np.array(taken, dtype=np.int64)


def _alike_by_name(jobs: Sequence[Job], chosen: np.ndarray) -> None:
    """Among jobs that differ in their name only, the first ones get the first slots."""
    alike: dict[tuple[object, ...], list[int]] = {}
    for at, job in enumerate(jobs):
        alike.setdefault((job.hours, job.costs, job.undone), []).append(at)
    for places in alike.values():
        slots = chosen[places]
        chosen[places] = slots[np.lexsort((slots, slots < 0))]
