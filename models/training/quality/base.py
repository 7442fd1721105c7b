"""What the quality recipes share: the scale of quality, honest evaluation by blocks of time, and the fitted model.

A recipe is one file with `Params` and `fit(frames, target, params, seed=, advance=, lengths=) -> QualityModel`.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, model_validator
from sklearn.metrics import average_precision_score, roc_auc_score

from models.training.anomaly.base import Advance, Floats, check_runs, windows_of
from models.training.graph import Graph
from models.training.quality.advice import Advice, Frames
from models.training.table import DataError

BEST = 100.0  # the highest quality
FOLDS = 5  # blocks of time, each judged by a model that learnt from the others
_FEWEST = 50  # products


class QualityParams(BaseModel, extra="forbid", frozen=True):
    """What can be chosen in every quality recipe."""

    window: int = Field(1, ge=1, description="frames per product, which the model sees the mean of")
    target: Literal["score", "specification", "good", "bad"] = Field(
        "score",
        description="score: quality from 0 to 100; specification: a measure with centre and tolerance; good or bad: 1"
        " for such a product and 0 for the other, and quality is the probability that it is good",
    )
    centre: float | None = Field(None, description="where a measure is best: quality 100")
    tolerance: float | None = Field(None, gt=0, description="from the centre to where a measure is just in: quality 50")
    step: float = Field(1.0, gt=0, description="standard deviations that a channel is moved by to find its direction")
    alarm_below: float = Field(50.0, gt=0, lt=100, description="quality below which the alarm opens")

    @model_validator(mode="after")
    def _specified(self) -> Self:
        given = [name for name in ("centre", "tolerance") if getattr(self, name) is not None]
        if len(given) != (2 if self.target == "specification" else 0):
            msg = (
                f"target {self.target!r} with {given or 'neither'}: centre and tolerance go with 'specification', both"
            )
            raise ValueError(msg)
        return self

    @property
    def is_sorted(self) -> bool:
        """The target says good or bad, not how good."""
        return self.target in {"good", "bad"}


class Scores(NamedTuple):
    """float64: quality [batch], 0 to 100; contribution and direction [batch, channels]."""

    quality_score: Floats
    contribution: Floats
    direction: Floats


class Predictor(Protocol):
    """What has learnt, from frames, how much quality is missing: a small number for a good product, so exact there."""

    def predict(self, frames: Frames) -> Floats:
        """100 - quality, [n] in 0..100, of frames float32 [n, C] in the channels' units."""

    def build(self, graph: Graph, frames: str) -> str:
        """The nodes of `predict`: the name of [n, 1]."""


class QualityModel(NamedTuple):
    """A fitted model."""

    window: int
    predictor: Predictor
    advice: Advice
    alarm_below: float
    held_out: dict[str, float]  # figures of products that were not learnt from

    def score(self, windows: Floats) -> Scores:
        """The reference of the graph, of windows [n, window, C]."""
        asked = self.advice.ask(_means(windows))
        missing = self.predictor.predict(asked.reshape(-1, asked.shape[2])).reshape(asked.shape[:2])
        return Scores(BEST - missing[:, 0], *self.advice.judge(missing, self._at_reference()))

    def build(self, graph: Graph, window: str) -> tuple[str, str, str]:
        """The nodes of `score`: names of [batch, 1], [batch, C] and [batch, C]."""
        mean = graph.add("MatMul", graph.constant(np.full((1, self.window), 1 / self.window)), window)
        frames = graph.add("Reshape", mean, graph.constant([0, -1], np.int64))
        asked = self.predictor.build(graph, self.advice.build_ask(graph, frames))
        missing, contribution, direction = self.advice.build_judge(graph, asked, self._at_reference())
        return graph.add("Sub", graph.constant(BEST), missing), contribution, direction

    def _at_reference(self) -> float:
        return float(self.predictor.predict(self.advice.reference[None])[0])


def fit_quality(
    frames: Floats,
    target: Floats,
    params: QualityParams,
    learn: Callable[[Frames, Floats, Advance], Predictor],
    *,
    advance: Advance,
    lengths: Sequence[int] | None = None,
) -> QualityModel:
    """Learn from products in order of time, and judge by blocks of time.

    Args:
        frames: [n, C], finite, in the channels' units.
        target: [n], measured at the end of each frame; NaN where it was not.
        params: settings; they say what in the target is good.
        learn: from means of windows, [m, C], and 100 - quality, [m] in 0..100, to a predictor.
        advance: told how much is done, of how much.
        lengths: rows of each run that the frames consist of, in order; windows never span two. None: one run.

    Raises:
        DataError: too few products, values that are not finite, or a target that params do not fit.
    """
    products = _products(frames, target, params.window, lengths)
    missing = BEST - quality_of(products.target, params)
    if missing.min() == missing.max():
        msg = "target: every product is as good as the other; there is nothing to learn"
        raise DataError(msg)

    def part(number: int) -> Advance:
        return lambda done, of: advance(number * of + done, (FOLDS + 1) * of)

    held_out = np.empty(len(missing))
    for fold, block in enumerate(np.array_split(np.arange(len(missing)), FOLDS)):
        # A window shares rows with its neighbours: those that reach into the block are not learnt from.
        first, last = products.rows[block[[0, -1]]]
        apart = (products.rows <= first - params.window) | (products.rows >= last + params.window)
        known = missing[apart]
        if len(known) and known.min() < known.max():
            held_out[block] = learn(products.x[apart], known, part(fold)).predict(products.x[block])
        else:  # all that differ lie in this block: nothing could be learnt from the others
            held_out[block] = known.mean() if len(known) else 0.0
    predictor = learn(products.x, missing, part(FOLDS))
    advance(1, 1)
    advice = _advice(products.x, missing, params.step)
    return QualityModel(params.window, predictor, advice, params.alarm_below, _figures(missing, held_out))


class _Products(NamedTuple):
    """Those with a target; `rows`: in which row of the frames each ends."""

    x: Frames
    target: Floats
    rows: NDArray[np.int64]


def _products(frames: Floats, target: Floats, window: int, lengths: Sequence[int] | None) -> _Products:
    bounds = np.cumsum([0, *(lengths if lengths is not None else [len(frames)])])
    if frames.ndim != 2 or target.shape != frames.shape[:1] or bounds[-1] != len(frames):
        msg = f"frames {frames.shape}, target {target.shape}, {bounds[-1]} rows in runs: [n, C] and [n] are needed"
        raise DataError(msg)
    runs = [frames[low:high] for low, high in pairwise(bounds)]
    check_runs(runs, window, least=_FEWEST)
    x = np.concatenate([_means(windows) for windows in windows_of(runs, window)])
    rows = np.concatenate([np.arange(low + window - 1, high) for low, high in pairwise(bounds)])
    measured = ~np.isnan(target[rows])
    if measured.sum() < _FEWEST:
        msg = f"{measured.sum()} products with a target; at least {_FEWEST} are needed"
        raise DataError(msg)
    return _Products(x[measured], target[rows][measured], rows[measured])


def quality_of(target: Floats, params: QualityParams) -> Floats:
    """From 0 to 100. With a specification: 100 at its centre, 50 at its limits, near 0 far outside.

    Raises:
        DataError: a target out of the range that `params.target` allows.
    """
    if params.centre is not None and params.tolerance is not None:
        quality: Floats = BEST / (1 + ((target - params.centre) / params.tolerance) ** 2)
    else:
        is_allowed = np.isin(target, (0, 1)) if params.is_sorted else (target >= 0) & (target <= BEST)
        if not is_allowed.all():
            allowed = "0 and 1" if params.is_sorted else "0 to 100, or model.target = 'specification',"
            msg = f"target: {target[~is_allowed][0]:g}; with model.target = {params.target!r} {allowed} is allowed"
            raise DataError(msg)
        if params.target == "score" and np.isin(target, (0, 1)).all():
            msg = (
                "target: only 0 and 1, which of 100 are both bad: model.target = 'good' or 'bad' says what 1 stands for"
            )
            raise DataError(msg)
        quality = {"score": target, "good": BEST * target}.get(params.target, BEST - BEST * target)
    return quality


def _means(windows: Floats) -> Frames:
    found: Frames = windows.astype(np.float32).mean(1)
    return found


def _advice(x: Frames, missing: Floats, step: float) -> Advice:
    better = x[missing <= np.median(missing)]
    low, high = np.quantile(x, (0.01, 0.99), axis=0)
    parts = (np.median(better, axis=0), step * x.astype(np.float64).std(0), low, high)
    return Advice(*(part.astype(np.float32) for part in parts))


def _figures(missing: Floats, held_out: Floats) -> dict[str, float]:
    """Error in points of quality, and 1 - its square over that of always saying the mean; how bad products rank."""
    error, spread = ((missing - held_out) ** 2).mean(), missing.var()
    figures = {"held_out_rmse": float(np.sqrt(error)), "held_out_explained": float(1 - error / spread)}
    bad = missing > BEST / 2
    if 0 < bad.sum() < len(bad):
        figures["held_out_roc_auc"] = float(roc_auc_score(bad, held_out))
        figures["held_out_pr_auc"] = float(average_precision_score(bad, held_out))
        figures["bad_share"] = float(bad.mean())
    return figures
