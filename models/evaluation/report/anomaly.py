"""Pictures of an anomaly model."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from models.evaluation.judging.anomaly import JudgedAnomaly, JudgedRun
from models.evaluation.metrics import Curve
from models.evaluation.report.charts import BLUE, GREEN, GREY, HALF, ORANGE, RED, WIDE, Chart, bars, canvas, thinned
from models.manifest import Manifest
from models.training.anomaly.calibrate import Calibration

Floats = NDArray[np.float64]
_MOST_RUNS = 4  # pictures of scores over time
_MOST_CHANNELS = 12
_METHODS = {
    "conformal": "the conformal quantile of held-out maxima",
    "tail": "a generalised Pareto tail fitted to held-out maxima",
    "exponential": "an exponential tail fitted to held-out maxima",
}


def charts(
    manifest: Manifest, judged: JudgedAnomaly, calibration: Calibration, held_out: Sequence[Floats], *, has_times: bool
) -> Iterator[Chart]:
    """Score over time, its distribution and tail, shares; with labels ROC, precision against recall, and delays."""
    longest = sorted(judged.runs, key=lambda run: -len(run.score))[:_MOST_RUNS]
    for run in longest:
        yield _over_time(run, has_times=has_times)
    yield _distribution(judged, calibration, held_out)
    yield _tail(calibration, held_out)
    if judged.roc and judged.precision_recall:
        yield curve("ROC", "false-positive rate", "true-positive rate", judged.roc, "area under the curve")
        yield curve("Precision and recall", "recall", "precision", judged.precision_recall, "average precision")
    if judged.alarms.events:
        yield _delays(judged)
    if judged.runs:
        yield _shares(manifest, judged)


def _over_time(run: JudgedRun, *, has_times: bool) -> Chart:
    start = int(run.time_ns[0])
    unit, scale_ns = _time_scale(int(run.time_ns[-1] - start))
    time = (run.time_ns - start) / scale_ns
    with canvas(WIDE) as made:
        axes = made.axes
        bands = (
            (run.wrong, 1.0, ORANGE, 0.22, "labelled as wrong"),
            (run.is_open, 0.03, RED, 1.0, "alarm open"),
        )
        for flags, height, colour, alpha, label in bands:
            if flags is not None and flags.any():
                band = axes.fill_between(
                    time, 0, height, where=flags, step="mid", linewidth=0, color=colour, alpha=alpha
                )
                band.set_transform(axes.get_xaxis_transform())
                band.set_label(label)
        axes.plot(*thinned(time, np.maximum(run.score, 1e-3)), color=BLUE, label="anomaly score", linewidth=1)
        axes.axhline(1.0, color=RED, linestyle="--", linewidth=1, label="limit")
        if run.score.max() > 10:
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        axes.margins(x=0)
        axes.set_xlabel(f"{unit} since {_start(start)}" if has_times else f"{unit} since the first row")
        axes.set_ylabel("score")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, fontsize=8, borderaxespad=0.2)
    return Chart(f"Score over time: {run.unit}", "On rows that the model was not fitted on; 1 is the limit.", made.svg)


def _distribution(judged: JudgedAnomaly, calibration: Calibration, held_out: Sequence[Floats]) -> Chart:
    groups = {"held-out, settles the limit": (np.concatenate(held_out) / calibration.limit, GREY)}
    scores = np.concatenate([*(run.score for run in judged.runs), np.empty(0)])
    wrong = np.concatenate([*(run.wrong for run in judged.runs if run.wrong is not None), np.empty(0)]).astype(np.bool_)
    if len(wrong) == len(scores) and wrong.any():
        groups |= {"test, well": (scores[~wrong], BLUE), "test, labelled as wrong": (scores[wrong], ORANGE)}
    elif len(scores):
        groups["test"] = (scores, BLUE)
    everything = np.concatenate([values for values, _ in groups.values()])
    low = max(float(np.quantile(everything, 0.001)), 1e-4)
    edges = np.geomspace(low, max(float(everything.max()), 2.0) * 1.01, 60)
    with canvas(HALF) as made:
        for name, (values, colour) in groups.items():
            share, _ = np.histogram(np.maximum(values, low), edges)
            made.axes.stairs(share / max(len(values), 1), edges, color=colour, label=name, fill=False, linewidth=1.3)
        made.axes.axvline(1.0, color=RED, linestyle="--", linewidth=1)
        made.axes.set_xscale("log")
        made.axes.set_xlabel("anomaly score; 1 = limit")
        made.axes.set_ylabel("share of windows")
        made.axes.legend(fontsize=8)
    return Chart("Distribution of scores", "Well apart from the limit, or near it?", made.svg, is_wide=False)


def _tail(calibration: Calibration, held_out: Sequence[Floats]) -> Chart:
    """How often held-out scores go beyond a value, up to the limit."""
    scores = np.sort(np.concatenate(held_out))[::-1] / calibration.limit
    share = np.arange(1, len(scores) + 1) / len(scores)
    keep = np.unique(np.geomspace(1, len(scores), 300).astype(np.intp)) - 1
    with canvas(HALF) as made:
        made.axes.plot(scores[keep], share[keep], color=BLUE, label="held-out windows")
        made.axes.plot([scores[0], 1.0], [share[0], share[0]], color=GREY, linestyle=":", label="not seen")
        made.axes.axvline(1.0, color=RED, linestyle="--", linewidth=1, label="limit")
        made.axes.set_yscale("log")
        made.axes.set_xlim(left=0)
        made.axes.set_xlabel("anomaly score; 1 = limit")
        made.axes.set_ylabel("share of windows beyond")
        made.axes.legend(fontsize=8, loc="lower left")
    text = (
        f"The limit is {_METHODS[calibration.method]}, for {calibration.alarms_per_week:g} false alarms a week; "
        f"{calibration.held_out_blocks} stretches that do not depend on each other support it."
    )
    return Chart("The tail up to the limit", text, made.svg, is_wide=False)


def curve(title: str, x: str, y: str, found: Curve, area: str) -> Chart:
    """A ROC, or precision against recall."""
    with canvas(HALF) as made:
        made.axes.plot(found.x, found.y, color=BLUE)
        if x.startswith("false"):
            made.axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1)
        made.axes.set(xlim=(-0.01, 1.01), ylim=(0, 1.02), xlabel=x, ylabel=y)
    return Chart(title, f"Of windows; {area} {found.area:.3f}.", made.svg, is_wide=False)


def _delays(judged: JudgedAnomaly) -> Chart:
    counted = judged.alarms
    delays = np.sort(counted.delays_s)
    share = np.arange(1, len(delays) + 1) / counted.events
    with canvas(HALF) as made:
        made.axes.step(np.concatenate(([0.0], delays)), np.concatenate(([0.0], share)), where="post", color=GREEN)
        made.axes.set(ylim=(0, 1.02), xlabel="delay after the event's first window, s", ylabel="share of events found")
        made.axes.set_xlim(left=0, right=max(float(delays.max(initial=0)), 1.0) * 1.05)
    missed = counted.events - counted.found - counted.already_open
    text = f"{counted.found} of {counted.events} events found, {missed} missed"
    text += f"; in {counted.already_open} an alarm was open before they began, which is no finding."
    return Chart("Detection delay", text, made.svg, is_wide=False)


def _shares(manifest: Manifest, judged: JudgedAnomaly) -> Chart:
    names = [channel.name for channel in manifest.channels]
    share = np.concatenate([run.share for run in judged.runs])
    beyond = np.concatenate([run.score for run in judged.runs]) >= 1.0
    order = np.argsort(-(share[beyond].mean(0) if beyond.any() else share.mean(0)))[:_MOST_CHANNELS]
    groups = {"below the limit": share[~beyond].mean(0)[order]} if not beyond.all() else {}
    if beyond.any():
        groups["beyond it"] = share[beyond].mean(0)[order]
    with canvas((WIDE[0], 0.9 + 0.32 * len(order))) as made:
        bars(made.axes, [names[at] for at in order], groups, [GREY, ORANGE])
        made.axes.set_xlabel("mean share of the score")
        made.axes.legend(fontsize=8, loc="lower right")
    return Chart("Which channels the score comes from", "Mean over windows; rows of shares add to 1.", made.svg)


def _time_scale(span_ns: int) -> tuple[str, float]:
    for name, seconds in (("days", 86_400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if span_ns > 3 * seconds * 1e9:
            return name, seconds * 1e9
    return "seconds", 1e9


def _start(time_ns: int) -> str:
    return f"{np.datetime64(time_ns, 'ns').astype('datetime64[s]')}Z"
