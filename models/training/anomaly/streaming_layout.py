"""What the streaming detector remembers of a channel, and the numbers that its two forms share; all float32."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats32 = NDArray[np.float32]

# Edges of the histogram of novelty, half octaves apart: about 1e-12 to 1e18 in whatever unit a channel has.
_HALF_OCTAVES = np.arange(-80, 121)
EDGES: Floats32 = (2.0 ** (_HALF_OCTAVES / 2)).astype(np.float32)
LOG_EDGES: Floats32 = np.log(EDGES.astype(float)).astype(np.float32)
LOG_STEP = np.float32(np.log(2) / 2)
# ln((1 + t) / (1 - t)) = 2 t + 2/3 t³ + …, to 3e-8 over a half octave. A library's logarithm may round the last few
# numbers of an array unlike the ones before, and so a score would depend on its place in a batch.
LOG_SERIES: Floats32 = (2 / np.arange(1, 8, 2)).astype(np.float32)

FARTHEST = np.float32(1e30)  # the distance to a prototype that is not there; values beyond count as this far out
STRETCHES = 3  # a surprise is held until the stretch of rows it fell in and those after it are over
SPREAD_BEFORE = np.float32(0.1)  # the spread of a tail as if one row had shown it before any did
HALF = np.float32(0.5)
USUAL_ROWS = np.float32(1000)  # of a series whose length neither adds to a surprise nor takes from it


class Season(NamedTuple):
    """Views of what is remembered of a season [series, size], in order; empty where none is looked for."""

    filled: Floats32  # [series, 1], rows since the last note
    notes: Floats32  # [series, notes], running means noted, the last one first
    apart: Floats32  # [series, notes], mean distance of a note from the one so many before
    watched: Floats32  # [series, 1], rows for which there was a season
    tail: Floats32  # [series, EDGES], how many of them misfitted it at least that much

    @staticmethod
    def widths(notes: int) -> tuple[int, ...]:
        """Of each part, in order."""
        return (1, notes, notes, 1, len(EDGES)) if notes else (0, 0, 0, 0, 0)


class Parts(NamedTuple):
    """Views of a state [series, size], in order."""

    rows: Floats32  # [series, 1], rows seen; it fades, so it ends at the memory
    means: Floats32  # [series, scales], running means
    peaks: Floats32  # [series, STRETCHES], highest surprise of this stretch, the one before and so on
    left: Floats32  # [series, 1], rows left of this stretch
    tail: Floats32  # [series, EDGES], how many rows were at least that novel
    births: Floats32  # [series, prototypes], how novel each was when it came; 0: there is none
    prototypes: Floats32  # [series, 1 + scales, prototypes], rows as they were seen
    season: Season


class Layout(NamedTuple):
    """How many running means, prototypes and notes of a season there are."""

    scales: int
    prototypes: int
    notes: int

    @property
    def widths(self) -> tuple[int, ...]:
        """Of each part, in order."""
        season = sum(Season.widths(self.notes))
        seen = (1 + self.scales) * self.prototypes
        return (1, self.scales, STRETCHES, 1, len(EDGES), self.prototypes, seen, season)

    @property
    def size(self) -> int:
        """Of a channel's state."""
        return sum(self.widths)

    def parts(self, state: Floats32) -> Parts:
        """Views of a state [series, size]."""
        rows, means, peaks, left, tail, births, seen, last = np.split(state, np.cumsum(self.widths[:-1]), axis=1)
        prototypes = seen.reshape(len(state), 1 + self.scales, self.prototypes)
        season = Season(*np.split(last, np.cumsum(Season.widths(self.notes)[:-1]), axis=1))
        return Parts(rows, means, peaks, left, tail, births, prototypes, season)
