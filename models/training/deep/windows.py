"""Windows of several runs, cut when they are asked for: in memory lie the frames alone."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.training.anomaly.base import Floats

_AT_ONCE = 1024  # windows


class Windows(NamedTuple):
    """All windows of all runs, none across two; W frames, C channels."""

    frames: NDArray[np.float32]  # [rows of all runs, C]
    starts: NDArray[np.int64]  # [windows]: row of the first frame of each
    length: int  # W

    def take(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """The windows of these numbers, [n, W, C], oldest frame first."""
        found: NDArray[np.float32] = self.frames[self.starts[numbers][:, None] + np.arange(self.length)]
        return found

    def thin(self, most: int) -> "Windows":
        """Every k-th window, so that there are at most so many; neighbours say nearly the same."""
        return self._replace(starts=self.starts[:: -(-len(self.starts) // most)])

    def parts(self) -> Iterator[NDArray[np.float32]]:
        """All windows, in parts that fit in memory."""
        numbers = np.arange(len(self.starts))
        return (self.take(numbers[start : start + _AT_ONCE]) for start in range(0, len(numbers), _AT_ONCE))


def gather(runs: Sequence[Floats], length: int) -> Windows:
    """Every window of `length` frames of runs [rows, C], oldest first; a shorter run has none."""
    firsts = np.cumsum([0, *(len(run) for run in runs)])
    starts = [first + np.arange(max(0, len(run) - length + 1)) for first, run in zip(firsts, runs, strict=False)]
    return Windows(np.concatenate(runs).astype(np.float32), np.concatenate(starts), length)
