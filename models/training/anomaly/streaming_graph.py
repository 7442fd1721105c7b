"""The step of the streaming detector as ONNX nodes: what `streaming.step` does in numpy, in the same order.

Only element-wise nodes and reductions along the last axes: a row of the batch never meets another. In between each
channel has a row of its own, [batch, channels, …].
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from models.training.anomaly.base import build_shares
from models.training.anomaly.streaming_layout import (
    EDGES,
    FARTHEST,
    HALF,
    LOG_EDGES,
    LOG_SERIES,
    LOG_STEP,
    SPREAD_BEFORE,
    STRETCHES,
    USUAL_ROWS,
    Layout,
)
from models.training.graph import Graph

if TYPE_CHECKING:
    from models.training.anomaly.streaming import Params


def build_step(graph: Graph, window: str, params: "Params", layout: Layout, channels: int) -> tuple[str, str]:
    """One step, from `window` [batch, 1, channels] and `state` to `state_next`.

    Returns the names of the surprise [batch, 1], that of the most surprising channel, and the shares [batch, channels].
    """
    add, number = graph.add, graph.constant
    rows = add("Clip", window, number(-FARTHEST), number(FARTHEST))
    value = add("Transpose", rows, perm=[0, 2, 1])
    state = _shaped(graph, "state", [0, channels, layout.size])
    count, means, peaks, left, tail, births, flat = _split(graph, state, layout.widths)
    prototypes = _shaped(graph, flat, [0, 0, 1 + layout.scales, layout.prototypes])
    keep, one, nothing = number(1 - 1 / params.memory), number(1.0), number(0.0)

    count_next = add("Add", add("Mul", count, keep), one)
    gain = add("Max", number([1 / scale for scale in params.scales]), add("Div", one, count_next))
    means_next = add("Add", means, add("Mul", add("Sub", value, means), gain))
    seen = _shaped(graph, add("Concat", value, means_next, axis=2), [0, 0, 1 + layout.scales, 1])
    apart = add("Abs", add("Sub", seen, prototypes))
    distance = add("ReduceSum", apart, number([2], np.int64), keepdims=0)
    distance = add("Where", add("Greater", births, nothing), distance, number(FARTHEST))
    novelty = add("Clip", _lowest(graph, distance), number(EDGES[0]), number(EDGES[-1]))

    faded = add("Mul", births, keep)
    weakest = add("ArgMin", faded, axis=2, keepdims=1)
    is_weakest = add("Equal", weakest, number(np.arange(layout.prototypes), np.int64))
    place = add("And", is_weakest, add("Greater", novelty, _lowest(graph, faded)))
    births_next = add("Where", place, novelty, faded)
    at = _shaped(graph, place, [0, 0, 1, layout.prototypes])
    prototypes_next = _shaped(graph, add("Where", at, seen, prototypes), [0, 0, -1])

    surprise = _surprise(graph, params, (novelty, tail, count, count_next))
    is_counted = add("And", add("GreaterOrEqual", novelty, number(EDGES)), add("Greater", count, nothing))
    tail_next = add("Add", add("Mul", tail, keep), add("Where", is_counted, one, nothing))

    newest, *older = _split(graph, peaks, [1] * STRETCHES)
    newest = add("Max", newest, surprise)
    held = add("Max", newest, *older)
    left = add("Sub", left, one)
    is_over = add("LessOrEqual", left, nothing)
    begun = add("Concat", add("Mul", newest, nothing), newest, *older[:-1], axis=2)
    peaks_next = add("Where", is_over, begun, add("Concat", newest, *older, axis=2))
    longer = add("Add", number(params.hold), add("Mul", number(params.hold_share), count_next))
    left_next = add("Where", is_over, add("Div", longer, number(STRETCHES - HALF)), left)

    after = [count_next, means_next, peaks_next, left_next, tail_next, births_next, prototypes_next]
    size = number([0, channels * layout.size], np.int64)
    add("Reshape", add("Concat", *after, axis=2), size, to="state_next")
    worst = add("ReduceMax", held, axes=[1], keepdims=0)
    return worst, build_shares(graph, held, channels)


def _surprise(graph: Graph, params: "Params", given: tuple[str, str, str, str]) -> str:
    """[batch, channels, 1], from the novelty, the tail, and the count before and after."""
    add, number = graph.add, graph.constant
    novelty, tail, before, count = given
    nothing, half = number(0.0), number(HALF)
    reached = add("GreaterOrEqual", tail, add("Mul", number(params.tail), before))
    at_edge = _lowest(graph, add("Where", reached, tail, number(FARTHEST)))
    beyond = add("Where", reached, nothing, tail)
    beyond = add("ReduceSum", beyond, number([2], np.int64), keepdims=1)
    log_edge = add("Where", reached, number(LOG_EDGES), number(LOG_EDGES[0]))
    log_edge = add("ReduceMax", log_edge, axes=[2], keepdims=1)
    above = add("Add", at_edge, number(1.0))
    area = add("Mul", number(LOG_STEP), add("Add", beyond, add("Mul", half, at_edge)))
    spread = add("Div", add("Add", area, number(SPREAD_BEFORE)), above)
    excess = add("Div", add("Sub", _log(graph, novelty), log_edge), spread)
    ratio = add("Mul", add("Div", count, above), add("Div", number(USUAL_ROWS), above))
    rarity = add("Mul", half, _log(graph, ratio))
    is_told = add("GreaterOrEqual", before, number(params.learning))
    is_told = add("And", is_told, add("Greater", excess, nothing))
    return add("Where", is_told, add("Max", add("Add", excess, rarity), nothing), nothing)


def _log(graph: Graph, values: str) -> str:
    """The natural logarithm of [batch, channels, 1]; not the node Log: see LOG_SERIES."""
    add, number = graph.add, graph.constant
    one, reached = number(1.0), add("GreaterOrEqual", values, number(EDGES))
    edge, log_edge = (
        add("ReduceMax", add("Where", reached, number(each), number(each[0])), axes=[2], keepdims=1)
        for each in (EDGES, LOG_EDGES)
    )
    part = add("Div", values, edge)
    t = add("Div", add("Sub", part, one), add("Add", part, one))
    square = add("Mul", t, t)
    first, *higher = LOG_SERIES
    series = number(0.0)
    for factor in reversed(higher):
        series = add("Mul", add("Add", series, number(factor)), square)
    return add("Add", log_edge, add("Mul", t, add("Add", series, number(first))))


def _lowest(graph: Graph, values: str) -> str:
    """Along the last of three axes."""
    return graph.add("ReduceMin", values, axes=[2], keepdims=1)


def _split(graph: Graph, values: str, widths: Sequence[int]) -> list[str]:
    """Parts of the last of three axes."""

    def at(row: int) -> str:
        return graph.constant([row], np.int64)

    ends = np.cumsum(widths).tolist()
    return [
        graph.add("Slice", values, at(end - width), at(end), at(2)) for width, end in zip(widths, ends, strict=True)
    ]


def _shaped(graph: Graph, values: str, shape: Sequence[int]) -> str:
    return graph.add("Reshape", values, graph.constant(shape, np.int64))
