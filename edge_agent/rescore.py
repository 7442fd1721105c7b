"""One model over recorded readings, without a configuration: what it says of each window, its shares included.

The agent's own alignment, windows and scoring; no checks, filters or alarms, which are a configuration's
(`edge_agent/replay.py` has these).
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_agent.adapters.inference import OnnxModel
from edge_agent.config import AssetRule, Inference
from edge_agent.core.align import Align, Frames, Grid
from edge_agent.core.errors import ModelFailedError
from edge_agent.core.model import Scores
from edge_agent.core.scoring import score
from edge_agent.core.segments import grown
from edge_agent.core.window import Windowing
from models.bundle import Bundle

_HOLD_S = AssetRule(match="*").hold_s


class Reading(NamedTuple):
    """One recorded value."""

    asset: str
    channel: str
    time_ns: int
    value: float


class Rescored(NamedTuple):
    """N windows that have a score, by asset and ascending in time for each."""

    asset: list[str]  # [n]
    time_ns: NDArray[np.int64]  # [n], of the last frame
    scores: Scores  # [n] and [n, channels]


class Rescore:
    """Counts while it runs: `windows` that ended, `unscored` of them, readings that came `late`.

    `hold_s`: how long a value stands in for missing ones. Raises BundleError, StartError.
    """

    def __init__(self, bundle: Bundle, hold_s: float = _HOLD_S) -> None:
        manifest = self._manifest = bundle.manifest
        self._settings = Inference(providers=("cpu",))
        self._model = OnnxModel(bundle, self._settings)
        self._period_ns = round(manifest.sample_period_s * 1e9)
        self._hold = int(hold_s / manifest.sample_period_s + 1e-9)
        self._position = {channel.name: i for i, channel in enumerate(manifest.channels)}
        self._assets: dict[str, int] = {}
        self._align = Align()
        is_masked = manifest.missing == "mask"
        self._windowing = Windowing(manifest.window, manifest.stride, len(manifest.channels), masked=is_masked)
        self._state: NDArray[np.float32] = np.zeros((0, manifest.state), np.float32)
        self.windows = self.unscored = self.late = 0
        self.seen: set[str] = set()  # inputs of the model

    def take(self, readings: Sequence[Reading]) -> Iterator[Rescored]:
        """The next readings, as good as in order of time for each asset; channels that are no inputs are left out.

        Raises ModelFailedError: the model cannot go on.
        """
        inputs = [one for one in readings if one.channel in self._position]
        if not inputs:
            return
        self.seen.update(one.channel for one in inputs)
        asset = np.array([self._assets.setdefault(one.asset, len(self._assets)) for one in inputs], np.intp)
        channel = asset * len(self._position) + np.array([self._position[one.channel] for one in inputs], np.intp)
        time_ns = np.array([one.time_ns for one in inputs], np.int64)
        value = np.array([one.value for one in inputs])
        count = len(self._assets)
        self._align.grow(count * len(self._position), count)
        self._windowing.grow(count)
        self._state = grown(self._state, count, 0)
        late, frames = self._align.step(self._grid(), channel, asset, time_ns, value)
        self.late += int(late.sum())
        yield from self._score(frames)

    def end(self) -> Iterator[Rescored]:
        """No more will come. Raises ModelFailedError."""
        yield from self._score(self._align.tick(self._grid(), self._align.listened_ns + 2))

    def _grid(self) -> Grid:
        """The same for all assets: no frame waits for late readings."""
        same = np.ones(len(self._assets), np.int64)
        return Grid(same * self._period_ns, same * 0, same, same * self._hold)

    def _score(self, frames: Frames) -> Iterator[Rescored]:
        count = len(self._assets)
        channels = np.arange(count * len(self._position)).reshape(count, -1)
        names = list(self._assets)
        for part in self._windowing.parts(frames):
            windows = self._windowing.step(part, channels)
            found = score(self._model, windows, self._state, self._settings.max_batch)
            if found.failure:
                raise ModelFailedError(found.failure)
            rows = np.flatnonzero(found.is_scored)
            self.windows += len(windows.asset)
            self.unscored += len(windows.asset) - len(rows)
            scores = found.scores
            yield Rescored(
                [names[at] for at in windows.asset[rows].tolist()],
                windows.time_ns[rows],
                Scores(
                    {name: column[rows] for name, column in scores.fields.items()},
                    None if scores.contribution is None else scores.contribution[rows],
                    None if scores.direction is None else scores.direction[rows],
                ),
            )
