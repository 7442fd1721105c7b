"""Pictures of a model of remaining life."""

from collections.abc import Iterator

import numpy as np

from models.evaluation.judging.failure import JudgedFailure, JudgedUnit
from models.evaluation.metrics import Reliability
from models.evaluation.report.charts import BLUE, GREY, HALF, ORANGE, Chart, canvas, diagonal

_MOST_POINTS = 3000
_UNITS = 4  # whose lives are shown


def charts(judged: JudgedFailure) -> Iterator[Chart]:
    """Lives of some units, predicted against true life, coverage by life left, and the reliability of probabilities."""
    if not judged.units:
        return
    by_error = sorted(
        judged.units, key=lambda unit: float(abs(unit.rul_h - np.minimum(unit.true_h, judged.cap_h)).mean())
    )
    places = sorted({round(at) for at in np.linspace(0, len(by_error) - 1, _UNITS)})
    for at in places:
        yield _life(by_error[at], judged.cap_h, f"{at + 1} of {len(by_error)}, the best first")
    yield _scatter(judged)
    yield _coverage(judged)
    if judged.reliability:
        yield _reliability(judged.reliability, judged.horizon_h)


def _life(unit: JudgedUnit, cap_h: float, place: str) -> Chart:
    age = unit.true_h[0] - unit.true_h
    with canvas(HALF) as made:
        made.axes.fill_between(age, unit.low_h, unit.high_h, color=BLUE, alpha=0.22, linewidth=0, label="interval")
        made.axes.plot(age, unit.rul_h, color=BLUE, label="predicted")
        made.axes.plot(age, unit.true_h, color=ORANGE, linestyle="--", label="true")
        made.axes.set(xlabel="hours since the first window", ylabel="life left, h")
        made.axes.set_ylim(0, 1.7 * cap_h)
        made.axes.legend(fontsize=8, loc="lower left")
    return Chart(f"Life of unit {unit.unit}", f"By its mean error {place}.", made.svg, is_wide=False)


def _scatter(judged: JudgedFailure) -> Chart:
    true, predicted = judged.of("true_h"), judged.of("rul_h")
    at = np.linspace(0, len(true) - 1, min(len(true), _MOST_POINTS)).astype(np.intp)
    top = 1.3 * judged.cap_h
    with canvas(HALF) as made:
        diagonal(made.axes, 0, judged.cap_h)
        made.axes.scatter(true[at], predicted[at], s=6, color=BLUE, alpha=0.35, linewidth=0)
        made.axes.set(xlabel="true life left, h", ylabel="predicted life left, h", xlim=(0, top), ylim=(0, None))
    text = f"Each point a window of a unit that was not learnt from; the model tells at most {judged.cap_h:g} h."
    return Chart("Predicted and true life", text, made.svg, is_wide=False)


def _coverage(judged: JudgedFailure) -> Chart:
    true = judged.asked("true_h")
    inside = (judged.asked("low_h") <= true) & (true <= judged.asked("high_h"))
    edges = np.linspace(0, max(float(true.max()), 1.0), 11)
    at = np.clip(np.digitize(true, edges) - 1, 0, 9)
    count = np.bincount(at, minlength=10)
    share = np.bincount(at, inside, 10) / np.maximum(count, 1)
    with canvas(HALF) as made:
        middle = (edges[:-1] + edges[1:]) / 2
        made.axes.bar(middle[count > 0], share[count > 0], 0.085 * edges[-1], color=BLUE, alpha=0.8)
        made.axes.axhline(float(inside.mean()), color=ORANGE, linestyle="--", linewidth=1)
        made.axes.set(xlabel="true life left, h", ylabel="share within the interval", ylim=(0, 1.02))
    text = f"The interval holds the true life in {inside.mean():.0%} of windows (dashed), from a third of each life on."
    return Chart("Coverage of the interval", text, made.svg, is_wide=False)


def _reliability(told: Reliability, horizon_h: float) -> Chart:
    with canvas(HALF) as made:
        diagonal(made.axes, 0, 1)
        size = 12 + 120 * told.cases / told.cases.max()
        made.axes.plot(told.predicted, told.observed, color=GREY, linewidth=0.8)
        made.axes.scatter(told.predicted, told.observed, s=size, color=BLUE, linewidth=0)
        made.axes.set(
            xlabel="predicted probability", ylabel="share that failed", xlim=(-0.03, 1.03), ylim=(-0.03, 1.03)
        )
    text = f"Failure within {horizon_h:g} h; on the diagonal it means what it says. Brier score {told.brier:.3f}."
    return Chart("Reliability of the probability", text, made.svg, is_wide=False)
