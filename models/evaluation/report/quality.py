"""Pictures of a quality model."""

from collections.abc import Iterator

import numpy as np

from models.evaluation.judging.quality import JudgedQuality
from models.evaluation.metrics import precision_recall
from models.evaluation.report.anomaly import curve
from models.evaluation.report.charts import BLUE, GREEN, GREY, HALF, ORANGE, RED, WIDE, Chart, bars, canvas, diagonal
from models.manifest import Manifest

_MOST_POINTS = 3000
_MOST_CHANNELS = 12


def charts(manifest: Manifest, judged: JudgedQuality) -> Iterator[Chart]:
    """Predicted against true quality, how well bad products are told, what pulls quality down and where to move it."""
    if not len(judged.true):
        return
    yield _scatter(judged)
    yield _distribution(judged)
    if judged.roc:
        yield curve("ROC of bad products", "false-positive rate", "true-positive rate", judged.roc, "area under it")
        found = precision_recall(judged.true < judged.alarm_below, -judged.predicted)
        yield curve("Precision and recall of bad products", "recall", "precision", found, "average precision")
    yield _advice(manifest, judged)


def _scatter(judged: JudgedQuality) -> Chart:
    at = np.linspace(0, len(judged.true) - 1, min(len(judged.true), _MOST_POINTS)).astype(np.intp)
    with canvas(HALF) as made:
        diagonal(made.axes, 0, 100)
        made.axes.scatter(judged.true[at], judged.predicted[at], s=7, color=BLUE, alpha=0.45, linewidth=0)
        made.axes.axhline(judged.alarm_below, color=RED, linestyle="--", linewidth=1)
        made.axes.set(xlabel="true quality", ylabel="predicted quality", xlim=(-2, 102), ylim=(-2, 102))
    text = "Each point a product of the test rows; below the red line the alarm opens."
    return Chart("Predicted and true quality", text, made.svg, is_wide=False)


def _distribution(judged: JudgedQuality) -> Chart:
    edges = np.linspace(0, 100, 41)
    is_bad = judged.true < judged.alarm_below
    with canvas(HALF) as made:
        for name, mask, colour in (("good", ~is_bad, GREEN), ("bad", is_bad, ORANGE)):
            if mask.any():
                share, _ = np.histogram(judged.predicted[mask], edges)
                made.axes.stairs(share / mask.sum(), edges, color=colour, label=name, linewidth=1.3)
        made.axes.axvline(judged.alarm_below, color=RED, linestyle="--", linewidth=1)
        made.axes.set(xlabel="predicted quality", ylabel="share of products")
        made.axes.legend(fontsize=8, loc="upper left")
    return Chart("Distribution of predictions", "Of products that were good, and bad.", made.svg, is_wide=False)


def _advice(manifest: Manifest, judged: JudgedQuality) -> Chart:
    """Of the worst tenth: which channels pull quality down, and which way to move them."""
    worst = judged.predicted <= np.quantile(judged.predicted, 0.1)
    names = [channel.name for channel in manifest.channels]
    share, direction = judged.contribution[worst].mean(0), judged.direction[worst].mean(0)
    order = np.argsort(-share)[:_MOST_CHANNELS]
    groups = {"share of what is missing": share[order], "direction to move it": direction[order]}
    with canvas((WIDE[0], 0.9 + 0.36 * len(order))) as made:
        bars(made.axes, [names[at] for at in order], groups, [ORANGE, BLUE])
        made.axes.axvline(0, color=GREY, linewidth=0.8)
        made.axes.set_xlim(-1.02, 1.02)
        made.axes.legend(fontsize=8, loc="lower right")
    text = "Means over the tenth with the lowest predicted quality; a direction below 0 says: lower it."
    return Chart("What pulls quality down", text, made.svg)
