"""How surprising a novelty is, told by the tail of a series' own novelties so far; in numpy and as ONNX nodes.

The upper tail of the logarithm of a series' novelty is taken to be exponential (Hill 1975, Annals of Statistics 3(5)),
and the surprise is the negative logarithm of the tail's probability, in nats. A series that is watched for longer has
more chances to surprise: half the logarithm of its rows is taken off.

The tail is a histogram: how many rows were at least as novel as each of `EDGES`.
"""

from typing import NamedTuple

import numpy as np

from models.training.anomaly.streaming_layout import (
    EDGES,
    FARTHEST,
    HALF,
    LOG_EDGES,
    LOG_SERIES,
    LOG_STEP,
    SPREAD_BEFORE,
    USUAL_ROWS,
    Floats32,
)
from models.training.anomaly.streaming_nodes import highest, lowest
from models.training.graph import Graph


class Rule(NamedTuple):
    """What a tail is fitted to, and when."""

    share: float  # of the rows, the most novel
    learning: float  # rows before the first surprise


def surprise(rule: Rule, novelty: Floats32, tail: Floats32, before: Floats32, count: Floats32) -> Floats32:
    """In nats, 0 while learning; float32 [series, 1].

    Args:
        rule: the setting.
        novelty: [series, 1], between the first and the last edge.
        tail: [series, EDGES], of the rows seen before.
        before: [series, 1], how many they are.
        count: [series, 1], they and this one.
    """
    reached = tail >= np.float32(rule.share) * before
    at_edge = np.where(reached, tail, FARTHEST).min(1, keepdims=True)
    beyond = np.where(reached, np.float32(0), tail).sum(1, keepdims=True)
    log_edge = np.where(reached, LOG_EDGES, LOG_EDGES[0]).max(1, keepdims=True)
    # The mean excess of a logarithm over an edge is the integral of what lies beyond; here by trapezoids.
    spread = (LOG_STEP * (beyond + HALF * at_edge) + SPREAD_BEFORE) / (at_edge + 1)
    excess = (_log(novelty) - log_edge) / spread
    # The logarithm of count / (at_edge + 1), less half that of count / USUAL_ROWS.
    rarity = HALF * _log(count / (at_edge + 1) * (USUAL_ROWS / (at_edge + 1)))
    is_told = (before >= rule.learning) & (excess > 0)
    return np.where(is_told, np.maximum(excess + rarity, 0), np.float32(0))


def build_surprise(graph: Graph, rule: Rule, novelty: str, tail: str, before: str, count: str) -> str:
    """The same of a batch: [batch, channels, 1], and the tail [batch, channels, EDGES]."""
    add, number = graph.add, graph.constant
    nothing, half = number(0.0), number(HALF)
    reached = add("GreaterOrEqual", tail, add("Mul", number(rule.share), before))
    at_edge = lowest(graph, add("Where", reached, tail, number(FARTHEST)))
    beyond = add("Where", reached, nothing, tail)
    beyond = add("ReduceSum", beyond, number([2], np.int64), keepdims=1)
    log_edge = highest(graph, add("Where", reached, number(LOG_EDGES), number(LOG_EDGES[0])))
    above = add("Add", at_edge, number(1.0))
    area = add("Mul", number(LOG_STEP), add("Add", beyond, add("Mul", half, at_edge)))
    spread = add("Div", add("Add", area, number(SPREAD_BEFORE)), above)
    excess = add("Div", add("Sub", _build_log(graph, novelty), log_edge), spread)
    ratio = add("Mul", add("Div", count, above), add("Div", number(USUAL_ROWS), above))
    rarity = add("Mul", half, _build_log(graph, ratio))
    is_told = add("GreaterOrEqual", before, number(rule.learning))
    is_told = add("And", is_told, add("Greater", excess, nothing))
    return add("Where", is_told, add("Max", add("Add", excess, rarity), nothing), nothing)


def _log(values: Floats32) -> Floats32:
    """The natural logarithm of values [series, 1] that lie between the edges."""
    reached = values >= EDGES
    part = values / np.where(reached, EDGES, EDGES[0]).max(1, keepdims=True)
    t = (part - 1) / (part + 1)
    square = t * t
    first, *higher = LOG_SERIES
    series = np.zeros_like(t)
    for factor in reversed(higher):
        series = (series + factor) * square
    log_edge = np.where(reached, LOG_EDGES, LOG_EDGES[0]).max(1, keepdims=True)
    logarithm: Floats32 = log_edge + t * (series + first)
    return logarithm


def _build_log(graph: Graph, values: str) -> str:
    """The same of [batch, channels, 1]; not the node Log: see LOG_SERIES."""
    add, number = graph.add, graph.constant
    one, reached = number(1.0), add("GreaterOrEqual", values, number(EDGES))
    edge, log_edge = (
        highest(graph, add("Where", reached, number(each), number(each[0]))) for each in (EDGES, LOG_EDGES)
    )
    part = add("Div", values, edge)
    t = add("Div", add("Sub", part, one), add("Add", part, one))
    square = add("Mul", t, t)
    first, *higher = LOG_SERIES
    series = number(0.0)
    for factor in reversed(higher):
        series = add("Mul", add("Add", series, number(factor)), square)
    return add("Add", log_edge, add("Mul", t, add("Add", series, number(first))))
