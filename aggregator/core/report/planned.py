"""The maintenance plan in words."""

from collections.abc import Callable
from zoneinfo import ZoneInfo

from aggregator.core.report.content import MaintenancePlan, Work
from aggregator.core.report.document import Cell, Section, Table
from aggregator.core.report.words import count, day, hours, money, percent, plain

_LONGEST = 1000  # characters of an explanation
_UNDONE = 20  # of those that stay undone: what a person reads
_COLUMNS = ("asset", "when", "crew", "hours", "failure prob.", "expected cost", "if left", "why")
_NUMBERS = frozenset({"hours", "failure prob.", "expected cost", "if left"})


def plan_section(plan: MaintenancePlan, name: Callable[[str, str], str], zone: ZoneInfo) -> Section:
    """`name` is how an asset is called on this page."""

    def row(work: Work) -> tuple[Cell, ...]:
        return (
            name(work.site, work.asset),
            day(work.begin_ns, zone) if work.begin_ns else "not planned",
            plain(work.crew) or "-",
            f"{work.hours:g}",
            percent(work.failure_prob),
            money(work.cost),
            money(work.undone),
            plain(f"{work.why} ({work.basis})", _LONGEST),
        )

    done = [work for work in plan.work if work.begin_ns]
    undone = [work for work in plan.work if not work.begin_ns]
    costs = f"{money(plan.cost)} {plain(plan.currency)}; without any work: {money(plan.undone)}"
    expected = f"Expected cost over the next {hours(plan.horizon_h)}: {costs}."
    blocks: list[str | Table] = [f"{count(len(done), 'asset')} planned, {len(undone)} left undone. {expected}"]
    if plan.gap > 0.5:
        blocks.append(
            f"Not proved to be the cheapest: a better plan might save up to {money(plan.gap)} {plain(plan.currency)}."
        )
    rows = [row(work) for work in (*done, *undone[:_UNDONE])]
    if rows:
        blocks.append(Table(_COLUMNS, rows, _NUMBERS, max(len(undone) - _UNDONE, 0)))
    reasons: dict[str, list[str]] = {}
    for site, asset, why in plan.unplanned:
        reasons.setdefault(why, []).append(name(site, asset))
    for why, assets in reasons.items():
        more = f" and {len(assets) - 5} more" if len(assets) > 5 else ""
        blocks.append(f"Without a forecast, so not planned: {plain(', '.join(assets[:5]))}{more} ({why}).")
    if plan.without_costs:
        blocks.append(f"{count(plan.without_costs, 'asset')} without declared costs.")
    note = (
        "Done in a window, an asset is expected to cost p x failure_cost + (1 - p) x early_cost, p being the "
        "probability that it fails before the window begins; left alone, p x failure_cost, with p until the end of "
        "the horizon. The plan is the cheapest that fits into the hours of crews and windows."
    )
    return Section("Maintenance plan", [*blocks], note)
