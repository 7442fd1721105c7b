"""The step of the streaming detector as ONNX nodes: what `streaming.step` does in numpy, in the same order.

Only element-wise nodes and reductions along the last axes: a row of the batch never meets another. In between each
channel has a row of its own, [batch, channels, …].
"""

from typing import TYPE_CHECKING

import numpy as np

from models.training.anomaly.base import build_shares
from models.training.anomaly.streaming_layout import (
    EDGES,
    FARTHEST,
    HALF,
    STRETCHES,
)
from models.training.anomaly.streaming_nodes import lowest, shaped, split
from models.training.anomaly.streaming_season import build_season
from models.training.anomaly.streaming_tail import build_surprise
from models.training.graph import Graph

if TYPE_CHECKING:
    from models.training.anomaly.streaming import Params


def build_step(graph: Graph, window: str, params: "Params", channels: int) -> tuple[str, str]:
    """One step, from `window` [batch, 1, channels] and `state` to `state_next`.

    Returns the names of the surprise [batch, 1], that of the most surprising channel, and the shares [batch, channels].
    """
    add, number, layout = graph.add, graph.constant, params.layout
    rows = add("Clip", window, number(-FARTHEST), number(FARTHEST))
    value = add("Transpose", rows, perm=[0, 2, 1])
    state = shaped(graph, "state", [0, channels, layout.size])
    count, means, peaks, left, tail, births, flat, season = split(graph, state, layout.widths)
    prototypes = shaped(graph, flat, [0, 0, 1 + layout.scales, layout.prototypes])
    keep, one, nothing = number(1 - 1 / params.memory), number(1.0), number(0.0)

    count_next = add("Add", add("Mul", count, keep), one)
    gain = add("Max", number([1 / scale for scale in params.scales]), add("Div", one, count_next))
    means_next = add("Add", means, add("Mul", add("Sub", value, means), gain))
    seen = shaped(graph, add("Concat", value, means_next, axis=2), [0, 0, 1 + layout.scales, 1])
    apart = add("Abs", add("Sub", seen, prototypes))
    distance = add("ReduceSum", apart, number([2], np.int64), keepdims=0)
    distance = add("Where", add("Greater", births, nothing), distance, number(FARTHEST))
    novelty = add("Clip", lowest(graph, distance), number(EDGES[0]), number(EDGES[-1]))

    faded = add("Mul", births, keep)
    weakest = add("ArgMin", faded, axis=2, keepdims=1)
    is_weakest = add("Equal", weakest, number(np.arange(layout.prototypes), np.int64))
    place = add("And", is_weakest, add("Greater", novelty, lowest(graph, faded)))
    births_next = add("Where", place, novelty, faded)
    at = shaped(graph, place, [0, 0, 1, layout.prototypes])
    prototypes_next = shaped(graph, add("Where", at, seen, prototypes), [0, 0, -1])

    surprise = build_surprise(graph, params.rule, novelty, tail, count, count_next)
    is_counted = add("And", add("GreaterOrEqual", novelty, number(EDGES)), add("Greater", count, nothing))
    tail_next = add("Add", add("Mul", tail, keep), add("Where", is_counted, one, nothing))

    after_season = []
    if params.season:
        shortest, *_ = split(graph, means_next, [1] * layout.scales)
        misfit, season_next = build_season(graph, params.timing, season, shortest, count_next)
        surprise, after_season = add("Max", surprise, misfit), [season_next]

    newest, *older = split(graph, peaks, [1] * STRETCHES)
    newest = add("Max", newest, surprise)
    held = add("Max", newest, *older)
    left = add("Sub", left, one)
    is_over = add("LessOrEqual", left, nothing)
    begun = add("Concat", add("Mul", newest, nothing), newest, *older[:-1], axis=2)
    peaks_next = add("Where", is_over, begun, add("Concat", newest, *older, axis=2))
    longer = add("Add", number(params.hold), add("Mul", number(params.hold_share), count_next))
    left_next = add("Where", is_over, add("Div", longer, number(STRETCHES - HALF)), left)

    after = [count_next, means_next, peaks_next, left_next, tail_next, births_next, prototypes_next, *after_season]
    size = number([0, channels * layout.size], np.int64)
    add("Reshape", add("Concat", *after, axis=2), size, to="state_next")
    worst = add("ReduceMax", held, axes=[1], keepdims=0)
    return worst, build_shares(graph, held, channels)
