"""The maintenance plan: which asset in which window, in money, and each decision in a line.

Done in a window, an asset costs p x failure_cost + (1 - p) x early_cost, p being the probability that it fails before
the window begins; left alone, it costs p x failure_cost with p until the horizon. See `plan.py` for the choice.
"""

import math
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from aggregator.config.maintenance import AssetCosts, Maintenance
from aggregator.core.plan import Job, fits, plan
from aggregator.core.report import failing
from aggregator.core.report.content import Asset, MaintenancePlan, Work
from aggregator.core.report.windows import Opening, openings
from aggregator.core.report.words import day, hours, money, percent

_HOUR_NS = 3_600_000_000_000
_MANY_SKILLS = "no crew with the skill {needs!r} has a window before the horizon"


class _Case(NamedTuple):
    """One asset that can be planned."""

    asset: Asset
    rule: AssetCosts
    job: Job
    failure_prob: float  # until the horizon
    basis: str


def maintenance_plan(assets: Iterable[Asset], config: Maintenance, now_ns: int, zone: ZoneInfo) -> MaintenancePlan:
    """From what is known at `now_ns`; times in its sentences are of `zone`."""
    slots = openings(config, now_ns)
    ahead_h = np.array([(slot.begin_ns - now_ns) / _HOUR_NS for slot in slots])
    skills = {crew.name: crew.skills for crew in config.crews}
    cases: list[_Case] = []
    unplanned: list[tuple[str, str, str]] = []
    without_costs = 0
    for asset in assets:
        rule = next((rule for rule in config.assets if _fits(rule.match, asset)), None)
        if rule is None:
            without_costs += 1
            continue
        known = _before(asset, config, np.append(ahead_h, config.horizon_h))
        if known is None:
            unplanned.append((*asset.key, _unknown(asset)))
            continue
        before, basis = known
        costs = before * rule.failure_cost + (1 - before) * rule.early_cost
        can = [rule.needs is None or rule.needs in skills[slot.crew] for slot in slots]
        possible = tuple(float(cost) if able else math.inf for cost, able in zip(costs, can, strict=False))
        horizon = float(before[-1])
        job = Job("/".join(asset.key), rule.hours, possible, horizon * rule.failure_cost)
        cases.append(_Case(asset, rule, job, horizon, basis))
    chosen = plan([case.job for case in cases], [slot.hours for slot in slots], config.solver_time_s)
    tell = _Teller(slots, zone, config.currency)
    work = [tell.work(case, chosen.slots[case.job.name]) for case in cases]
    return MaintenancePlan(
        work=tuple(sorted(work, key=_order)),
        unplanned=tuple(unplanned),
        without_costs=without_costs,
        cost=chosen.cost,
        undone=sum(case.job.undone for case in cases),
        gap=chosen.gap,
        horizon_h=config.horizon_h,
        currency=config.currency,
    )


def _fits(pattern: str, asset: Asset) -> bool:
    return fnmatchcase("/".join(asset.key) if "/" in pattern else asset.name, pattern)


def _before(asset: Asset, config: Maintenance, ahead_h: NDArray[np.float64]) -> tuple[NDArray[np.float64], str] | None:
    """The probability of a failure before each time, and whose word that is; None = nobody's."""
    if math.isfinite(asset.failure_prob) and config.failure_prob_horizon_h is not None:
        within_h = config.failure_prob_horizon_h
        basis = f"the model gives {percent(asset.failure_prob)} within {hours(within_h)}, at a constant hazard"
        return failing.of_probability(asset.failure_prob, within_h, ahead_h), basis
    if asset.forecast is not None:
        life = asset.forecast
        basis = f"remaining life {hours(life.low_h)} to {hours(life.high_h)} (80 %, {failing.shape(life)})"
        return failing.of_forecast(life, ahead_h), basis
    return None


def _unknown(asset: Asset) -> str:
    if math.isfinite(asset.failure_prob):
        return "a failure probability, but failure_prob_horizon_h is not set: nobody knows within which time"
    return "no model says when it may fail"


class _Teller:
    """Decisions in words."""

    def __init__(self, slots: Sequence[Opening], zone: ZoneInfo, currency: str) -> None:
        self._slots, self._zone, self._currency = slots, zone, currency

    def work(self, case: _Case, slot: int | None) -> Work:
        """What was decided for one asset, and why."""
        return Work(
            site=case.asset.site,
            asset=case.asset.name,
            begin_ns=self._slots[slot].begin_ns if slot is not None else 0,
            crew=self._slots[slot].crew if slot is not None else "",
            hours=case.rule.hours,
            cost=case.job.undone if slot is None else case.job.costs[slot],
            undone=case.job.undone,
            failure_prob=case.failure_prob,
            basis=case.basis,
            why=self._left(case) if slot is None else self._done(case, slot),
        )

    def _done(self, case: _Case, slot: int) -> str:
        costs, chosen = case.job.costs, self._slots[slot]
        parts = [f"saves {self._money(case.job.undone - costs[slot])} in expectation against leaving it"]
        fitting = [
            at for at, one in enumerate(self._slots) if math.isfinite(costs[at]) and fits(case.job.hours, one.hours)
        ]
        cheapest = min(fitting, key=lambda at: (costs[at], at))
        if costs[cheapest] < costs[slot] - 0.5:
            less = self._money(costs[slot] - costs[cheapest])
            parts.append(f"{self._day(cheapest)} would cost {less} less, but its hours save more elsewhere")
        later = next((at for at in fitting if self._slots[at].begin_ns > chosen.begin_ns), None)
        if later is not None and later != cheapest and costs[later] >= costs[slot]:
            parts.append(f"waiting until {self._day(later)} costs {self._money(costs[later] - costs[slot])} more")
        elif later is None:
            parts.append("no later window before the horizon")
        return "; ".join(parts)

    def _left(self, case: _Case) -> str:
        job, rule = case.job, case.rule
        able = [at for at, cost in enumerate(job.costs) if math.isfinite(cost)]
        if not self._slots:
            return "no window before the horizon"
        if not able:
            return _MANY_SKILLS.format(needs=rule.needs)
        fitting = [at for at in able if fits(job.hours, self._slots[at].hours)]
        if not fitting:
            longest = max(self._slots[at].hours for at in able)
            return f"takes {hours(rule.hours)}, the longest window has {hours(longest)}"
        best = min(fitting, key=lambda at: (job.costs[at], at))
        saving = job.undone - job.costs[best]
        if saving > 0:
            return (
                f"capacity: {self._day(best)} would save {self._money(saving)} in expectation, "
                "but its hours save more elsewhere"
            )
        risk = f"{percent(case.failure_prob)} x {self._money(rule.failure_cost)}"
        return f"not worth it: the risk of {risk} is {self._money(-saving)} less than the cheapest window costs"

    def _day(self, slot: int) -> str:
        return day(self._slots[slot].begin_ns, self._zone)

    def _money(self, amount: float) -> str:
        return f"{money(amount)} {self._currency}"


def _order(work: Work) -> tuple[object, ...]:
    return not work.begin_ns, work.begin_ns, work.crew, work.cost - work.undone, -work.undone, work.site, work.asset
