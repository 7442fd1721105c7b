"""Windows that wait to be scored, so that those of many assets become one batch.

Invariant: what is taken by name is in one order, in whatever steps it was added, and however assets are numbered.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from edge_agent.core.window import Windows

MOST = 2**23  # values of windows that wait, 32 MiB; each window counts as one more


class Waiting:
    """State: the windows. `window` frames of `columns` values each."""

    def __init__(self, window: int, columns: int) -> None:
        self._none = Windows(
            np.empty(0, np.intp), np.empty(0, np.int64), np.empty(0, bool), np.empty((0, window, columns), np.float32)
        )
        self._parts: list[Windows] = []
        self._values = 0

    def add(self, windows: Windows) -> None:
        """More of them."""
        if len(windows.asset):
            self._parts.append(windows)
            self._values += windows.frames.size + len(windows.asset)

    @property
    def is_full(self) -> bool:
        """More must not wait: they are to be scored now."""
        return self._values >= MOST

    def take(self, names: Sequence[str] | None = None) -> Windows:
        """All of them, by asset and time; none wait then. `names` of assets: by these, not by their numbers."""
        windows, is_grouped = self._joined(), len(self._parts) < 2
        self._parts, self._values = [], 0
        if is_grouped and names is None:
            return windows
        used, which = np.unique(windows.asset, return_inverse=True)
        place = np.arange(len(used))
        if names is not None:
            place[np.argsort(np.array([names[i] for i in used.tolist()], str))] = np.arange(len(used))
        order = np.lexsort((windows.time_ns, place[which]))
        frame = (np.cumsum(windows.is_whole) - 1)[order]
        is_whole = windows.is_whole[order]
        return Windows(windows.asset[order], windows.time_ns[order], is_whole, windows.frames[frame[is_whole]])

    def _joined(self) -> Windows:
        if len(self._parts) < 2:
            return self._parts[0] if self._parts else self._none
        return Windows(*map(np.concatenate, zip(*self._parts, strict=True)))

    def snapshot(self) -> list[Any]:
        """The columns of `Windows`."""
        return list(self._joined())

    def restore(self, saved: list[Any]) -> None:
        """The reverse."""
        asset, time_ns, is_whole, frames = saved
        self._parts, self._values = [], 0
        self.add(Windows(asset.astype(np.intp), time_ns, is_whole, frames))
