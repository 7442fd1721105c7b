"""Windows of aligned frames, as a model wants them: float32 [n, window, channels], oldest frame first.

A window ends at each frame whose cell is a multiple of the model's stride (counted from 1970, so that a
restart changes nothing). It is whole if the frames before it follow each other without a gap and no value is missing
in it; one that is not is an abstention of the model, which is counted and is not a zero. A model with a mask is told
what is missing: its frames hold the values, 0 where one is missing, then for each channel 1 where it is present,
else 0; only a window with nothing in it is not whole. Warm-up: window - 1 frames.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_agent.core.align import NEVER, Frames
from edge_agent.core.segments import grown, segments, windows

Ids = NDArray[np.intp]
Flags = NDArray[np.bool_]

AT_ONCE = 2**22  # values of windows that are laid out together: a long hold on a fast grid closes many frames in a step


class Windows(NamedTuple):
    """n windows, of which m are whole; by asset, and ascending in time for each."""

    asset: Ids  # [n]
    time_ns: NDArray[np.int64]  # [n], of the last frame
    is_whole: Flags  # [n]
    frames: NDArray[np.float32]  # [m, window, channels], with a mask twice as many columns

    @property
    def unscored(self) -> int:
        """How many cannot be scored, for values are missing."""
        return len(self.asset) - len(self.frames)


class Windowing:
    """State: per asset the last window - 1 frames and their cells."""

    def __init__(self, window: int, stride: int, channels: int, *, masked: bool = False) -> None:
        self.window, self.stride, self.width, self.masked = window, stride, channels, masked
        self.frames: NDArray[np.float64] = np.empty((0, window - 1, channels))
        self.cells: NDArray[np.int64] = np.empty((0, window - 1), np.int64)

    def grow(self, assets: int) -> None:
        """Make room for more assets."""
        self.frames = grown(self.frames, assets, np.nan)
        self.cells = grown(self.cells, assets, NEVER)

    def forget(self) -> None:
        """The grid is another one: nothing that is remembered means anything on it."""
        self.frames[:], self.cells[:] = np.nan, NEVER

    def take_over(self, other: "Windowing", assets: Ids) -> None:
        """Go on for these assets with what another of the same inputs has seen of them."""
        self.frames[assets], self.cells[assets] = other.frames[assets], other.cells[assets]

    def parts(self, closed: Frames) -> Iterator[Frames]:
        """The frames that closed, in parts for `step` of at most AT_ONCE values of windows each; none gives none."""
        size = max(AT_ONCE // (self.window * self.width), 1)
        for begin in range(0, len(closed.asset), size):
            some = slice(begin, begin + size)
            yield closed._replace(
                asset=closed.asset[some], cell=closed.cell[some], time_ns=closed.time_ns[some], hold=closed.hold[some]
            )

    def step(self, closed: Frames, channels: Ids, is_watched: Flags | None = None) -> Windows:
        """Take the frames that closed; how they are cut into parts changes nothing.

        channels: [assets, width], of each input, -1 = none yet. is_watched: [assets]; None: all are.
        """
        inputs = channels[closed.asset]
        watched = np.arange(len(closed.asset)) if is_watched is None else np.flatnonzero(is_watched[closed.asset])
        asset, cell = closed.asset[watched], closed.cell[watched]
        if not len(watched):
            columns = self.width * (2 if self.masked else 1)
            return Windows(asset, cell, np.empty(0, bool), np.empty((0, self.window, columns), np.float32))
        values = closed.lookup(inputs[watched], watched)
        grouped = segments(asset)
        frames, cells = windows(grouped, values, self.frames), windows(grouped, cell, self.cells)
        ends = cells[:, -1] % self.stride == 0
        # One not finite stands for a missing value; so does one that float32 cannot hold.
        there = np.abs(frames) <= np.finfo(np.float32).max
        enough = there.any(axis=(1, 2)) if self.masked else there.all(axis=(1, 2))
        whole = ends & (cells[:, 0] == cells[:, -1] - (self.window - 1)) & enough
        at = watched[grouped.order][ends]
        content = frames[whole]
        if self.masked:
            content = np.concatenate((np.where(there[whole], content, 0), there[whole]), axis=2)
        return Windows(closed.asset[at], closed.time_ns[at], whole[ends], content.astype(np.float32))
