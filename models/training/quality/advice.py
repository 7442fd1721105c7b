"""Which channels pull the quality down, and which way to move each: the model asked again about moved frames.

Contribution: what a channel costs, between its value and the reference, once with all others as they are and once with
all others at the reference; half the sum of both, as Shapley values weigh the two ends (Štrumbelj & Kononenko 2014,
Knowledge and Information Systems 41). Two faults that each spoil the product alone are both seen.

Direction: the model at one step up and one step down, never further out of the range of the training frames; the
better of both, as the share of the missing quality that the step wins back. 0 where a step wins less than a point.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.training.anomaly.base import Floats, build_shares, column, shares_of
from models.training.graph import Graph

Frames = NDArray[np.float32]

LEAST = 1.0  # points of quality, of 100: what costs or wins less does not matter


class Advice(NamedTuple):
    """Per channel, in its units, float32 [C]."""

    reference: Frames  # the median of the better products
    step: Frames
    low: Frames  # of the training frames
    high: Frames

    @property
    def rows(self) -> int:
        """What the model is asked for one frame: itself, and 4 moved ones a channel."""
        return 1 + 4 * len(self.reference)

    def ask(self, frames: Frames) -> Frames:
        """[n, rows, C] of frames [n, C].

        The frame itself; each channel at the reference; the reference but for each channel; each a step up, and down.
        """
        own, here = np.eye(len(self.reference), dtype=bool), frames[:, None]
        up = np.maximum(here, np.minimum(here + self.step, self.high))
        down = np.minimum(here, np.maximum(here - self.step, self.low))
        moved = [(self.reference, here), (here, self.reference), (up, here), (down, here)]
        return np.concatenate([here, *(np.where(own, inside, outside) for inside, outside in moved)], axis=1)

    def judge(self, missing: Floats, at_reference: float) -> tuple[Floats, Floats]:
        """Contribution and direction, [n, C] each, from what the rows of `ask` miss in quality, [n, rows]."""
        here, rest = missing[:, :1], missing[:, 1:].reshape(len(missing), 4, -1)
        restored, spoilt, up, down = rest.transpose(1, 0, 2)
        costs = np.maximum(0, ((here - restored) + (spoilt - at_reference)) / 2) + LEAST / rest.shape[2]
        won = here - np.minimum(up, down)
        signed = np.where(up <= down, won, -won) / np.maximum(here, LEAST)
        return shares_of(costs), np.where(won >= LEAST, signed, 0.0)

    def build_ask(self, graph: Graph, frames: str) -> str:
        """The nodes of `ask`: [n * rows, C] of [n, C]."""
        channels = len(self.reference)
        here = graph.add("Unsqueeze", frames, graph.constant([1], np.int64))
        own = graph.constant(np.eye(channels, dtype=bool), bool)
        reference, step, low, high = (graph.constant(each) for each in self)
        up = graph.add("Max", here, graph.add("Min", graph.add("Add", here, step), high))
        down = graph.add("Min", here, graph.add("Max", graph.add("Sub", here, step), low))
        moved = [(reference, here), (here, reference), (up, here), (down, here)]
        asked = graph.add("Concat", here, *(graph.add("Where", own, *pair) for pair in moved), axis=1)
        return graph.add("Reshape", asked, graph.constant([-1, channels], np.int64))

    def build_judge(self, graph: Graph, missing: str, at_reference: float) -> tuple[str, str, str]:
        """The nodes of `judge`, from [n * rows, 1]: what the frames miss, [n, 1], contribution and direction."""
        channels = len(self.reference)
        table = graph.add("Reshape", missing, graph.constant([-1, self.rows], np.int64))
        here = graph.add("Gather", table, graph.constant([0], np.int64), axis=1)
        asked = graph.add("Gather", table, graph.constant(range(1, self.rows), np.int64), axis=1)
        moved = graph.add("Reshape", asked, graph.constant([0, 4, channels], np.int64))
        restored, spoilt, up, down = (
            graph.add("Gather", moved, graph.constant(at, np.int64), axis=1) for at in range(4)
        )
        least, zero = graph.constant(LEAST), graph.constant(0.0)
        both = graph.add(
            "Add", graph.add("Sub", here, restored), graph.add("Sub", spoilt, graph.constant(at_reference))
        )
        half = graph.add("Max", zero, graph.add("Mul", both, graph.constant(0.5)))
        costs = graph.add("Add", half, graph.constant(LEAST / channels))
        won = graph.add("Sub", here, graph.add("Min", up, down))
        signed = graph.add("Where", graph.add("LessOrEqual", up, down), won, graph.add("Neg", won))
        share = graph.add("Div", signed, graph.add("Max", here, least))
        direction = graph.add("Where", graph.add("GreaterOrEqual", won, least), share, zero)
        return here, build_shares(graph, column(graph, costs), channels), direction
