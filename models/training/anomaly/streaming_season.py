"""The season of a series, found as it comes, and how far a row is from it; in numpy and as ONNX nodes.

Now and then the shortest running mean is noted, and the last notes are kept. A running mean of the distance between
the newest note and the one so many notes before (the average magnitude difference function: Ross et al. 1974, IEEE
Transactions on Acoustics, Speech, and Signal Processing 22(5)) is near zero for lags too short for anything to have
changed, rises, and falls again wherever the series resembles itself: at its season and the multiples of it. A note is
compared with those that lie a season back, and its misfit is the distance to the nearest of them. So a season that
drifts, swells or comes a little late still fits, and of an odd one the next is not odd in turn where the longest
season holds two.

Nothing is said of times at which no season is found, nor before one was watched for half of the longest.
"""

from typing import NamedTuple

import numpy as np

from models.training.anomaly.streaming_layout import EDGES, FARTHEST, HALF, Floats32, Season
from models.training.anomaly.streaming_nodes import highest, lowest, split
from models.training.anomaly.streaming_tail import Rule, build_surprise, surprise
from models.training.graph import Graph

CLEAR = np.float32(0.25)  # at the season's lag the mean distance is less than this share of the largest
NEAR = np.float32(0.05)  # lags about as good as the best: this share of the way up to the largest


class Timing(NamedTuple):
    """When notes are taken, and how many are kept."""

    every: int  # rows
    notes: int
    tail: float  # the share of rows that the tail is fitted to
    keep: float  # of what was learned, each row

    @property
    def lags(self) -> Floats32:
        """Rows between the newest note and each one kept."""
        return (self.every * np.arange(1, self.notes + 1)).astype(np.float32)

    @property
    def gain(self) -> float:
        """Least weight of the newest distance: a mean over half of the longest season."""
        return min(1.0, 2 / self.notes)

    @property
    def rule(self) -> Rule:
        """By rows for which a season was there."""
        return Rule(self.tail, self.every * self.notes / 2)


def season_step(timing: Timing, was: Season, now: Season, mean: Floats32, rows: Floats32) -> Floats32:
    """Fill in `now`; the surprise of this row, float32 [series, 1], 0 where nothing is noted.

    Args:
        timing: the setting.
        was: the state before.
        now: views to be written.
        mean: [series, 1], the shortest running mean, with this row.
        rows: [series, 1], rows seen, with this one.
    """
    lags, every, keep = timing.lags, np.float32(timing.every), np.float32(timing.keep)
    filled = was.filled + 1
    is_due = filled >= every
    now.filled[:] = np.where(is_due, 0, filled)
    away = np.abs(mean - was.notes)
    now.notes[:] = np.where(is_due, np.concatenate((mean, was.notes[:, :-1]), 1), was.notes)
    gain = np.maximum(every / np.maximum(rows - lags, every), np.float32(timing.gain))
    is_there = is_due & (rows > lags)
    now.apart[:] = np.where(is_there, was.apart + (away - was.apart) * gain, was.apart)

    is_seen_twice = lags + lags <= rows
    most = np.where(is_seen_twice, was.apart, np.float32(0)).max(1, keepdims=True)
    has_risen = is_seen_twice & (was.apart >= HALF * most)
    is_later = is_seen_twice & (has_risen.cumsum(1) > 0)
    least = np.where(is_later, was.apart, FARTHEST).min(1, keepdims=True)
    is_season = is_later & (was.apart <= least + NEAR * (most - least)) & (least < CLEAR * most)
    misfit = np.where(is_season, away, FARTHEST).min(1, keepdims=True)
    is_told = is_due & (misfit < FARTHEST)

    novelty = np.clip(misfit, EDGES[0], EDGES[-1])
    counted = np.where(is_told, every, np.float32(0))
    now.watched[:] = was.watched * keep + counted
    now.tail[:] = was.tail * keep + np.where(novelty >= EDGES, counted, np.float32(0))
    found = surprise(timing.rule, novelty, was.tail, was.watched, now.watched)
    return np.where(is_told, found, np.float32(0))


def build_season(graph: Graph, timing: Timing, state: str, mean: str, rows: str) -> tuple[str, str]:
    """The same of a batch: `state` [batch, channels, size] is a Season; the surprise and the next state."""
    add, number = graph.add, graph.constant
    filled, notes, apart, watched, tail = split(graph, state, Season.widths(timing.notes))
    lags, every, keep, nothing = number(timing.lags), number(timing.every), number(timing.keep), number(0.0)
    filled = add("Add", filled, number(1.0))
    is_due = add("GreaterOrEqual", filled, every)
    filled_next = add("Where", is_due, nothing, filled)
    away = add("Abs", add("Sub", mean, notes))
    older, _ = split(graph, notes, [timing.notes - 1, 1])
    notes_next = add("Where", is_due, add("Concat", mean, older, axis=2), notes)
    gain = add("Div", every, add("Max", add("Sub", rows, lags), every))
    moved = add("Mul", add("Sub", away, apart), add("Max", gain, number(timing.gain)))
    is_there = add("And", is_due, add("Greater", rows, lags))
    apart_next = add("Where", is_there, add("Add", apart, moved), apart)

    is_seen_twice = add("LessOrEqual", number(2 * timing.lags), rows)
    most = highest(graph, add("Where", is_seen_twice, apart, nothing))
    has_risen = add("And", is_seen_twice, add("GreaterOrEqual", apart, add("Mul", number(HALF), most)))
    risen = add("CumSum", add("Where", has_risen, number(1.0), nothing), number(2, np.int64))
    is_later = add("And", is_seen_twice, add("Greater", risen, nothing))
    least = lowest(graph, add("Where", is_later, apart, number(FARTHEST)))
    about = add("Add", least, add("Mul", number(NEAR), add("Sub", most, least)))
    is_season = add("And", is_later, add("LessOrEqual", apart, about))
    is_season = add("And", is_season, add("Less", least, add("Mul", number(CLEAR), most)))
    misfit = lowest(graph, add("Where", is_season, away, number(FARTHEST)))
    is_told = add("And", is_due, add("Less", misfit, number(FARTHEST)))

    novelty = add("Clip", misfit, number(EDGES[0]), number(EDGES[-1]))
    counted = add("Where", is_told, every, nothing)
    watched_next = add("Add", add("Mul", watched, keep), counted)
    more = add("Where", add("GreaterOrEqual", novelty, number(EDGES)), counted, nothing)
    tail_next = add("Add", add("Mul", tail, keep), more)
    found = build_surprise(graph, timing.rule, novelty, tail, watched, watched_next)
    after = add("Concat", filled_next, notes_next, apart_next, watched_next, tail_next, axis=2)
    return add("Where", is_told, found, nothing), after
