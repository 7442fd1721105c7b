"""What rows that were held out say against a model; each is told with the figures that it rests on, and with a cure."""

from collections.abc import Iterator, Mapping

from scipy import stats

from models.evaluation.metrics import Alarms
from models.training.anomaly.calibrate import WEEK_S, Budget
from models.training.figures import counted

_MOST_IN_ALARM = 0.05  # of the time in which nothing was wrong
_CHANCE = 0.1  # of as many false alarms though the budget is kept
_LEARNT = 0.95  # of the error of always saying the mean: more is not learnt
_SHORT = 0.05  # of the coverage


def of_alarms(found: Alarms, budget: Budget, *, has_labels: bool, follow: float | None = None) -> Iterator[str]:
    """Alarms of the test part while nothing was wrong. `follow`: of the recipe, where its method has it."""
    if not found.well_s:
        return
    labels = "" if has_labels else "; without labels all of the time counts as healthy"
    share, weeks = found.well_open_s / found.well_s, found.well_s / WEEK_S
    if share > _MOST_IN_ALARM:
        already = f", and before {found.already_open} of {counted(found.events, 'event')} began"
        cure = "learn from data with all that is usual"
        if follow is not None and follow < 1:
            cure = f"normal follows a slow drift with model.follow above {follow:g}, 1 one as in training; else {cure}"
        yield (
            f"an alarm is open in {share:.0%} of the healthy test time{already if found.already_open else ''}: "
            f"the machine leaves the normal that was learnt; {cure}{labels}"
        )
    asked = budget.alarms_per_week
    if stats.poisson.sf(found.false_alarms - 1, asked * weeks) < _CHANCE:
        yield (
            f"{counted(found.false_alarms, 'false alarm')} in the test part, {found.false_alarms / weeks:.3g} a week, "
            f"where {asked:g} was asked for: the limit needs more normal data{labels}"
        )


def of_lives(
    figures: Mapping[str, float], tested: Mapping[str, float], coverage: float, machines: int
) -> Iterator[str]:
    """What machines that were held out (`figures`) and that judge (`tested`) say of a model of remaining life."""
    error, of_mean, held = (figures[f"held_out_{name}"] for name in ("rmse_h", "rmse_of_mean_h", "coverage"))
    if error > _LEARNT * of_mean:
        yield (
            f"lives of machines that were held out are told no better (off by {error:.3g} h) than by always saying "
            f"the mean (off by {of_mean:.3g} h): these inputs say little of how long a machine lasts"
        )
    shares = {"were held out": held, "judge": tested.get("test_coverage", 1.0)}
    short = [
        f"{share:.0%} of those of machines that {which}" for which, share in shares.items() if share < coverage - _SHORT
    ]
    if short:
        yield (
            f"intervals meant for {coverage:.0%} of lives held {' and '.join(short)}: "
            f"{counted(machines, 'machine')} to learn from may be too few to tell how wide they have to be"
        )
