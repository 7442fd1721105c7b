"""What the alarms of a model say."""

import numpy as np

from edge_agent.core.model import Scores
from models.manifest import Manifest

_WHY = 3  # channels that an alarm names
_SHARE = 0.1  # of the contribution, that a channel is named for
_PUSH = 0.05  # of a direction, between -1 and 1: less is no advice


class Wording:
    """One model's."""

    def __init__(self, manifest: Manifest) -> None:
        self._limit, self._channels = manifest.threshold, [channel.name for channel in manifest.channels]
        self._name = manifest.name
        self._score = self._limit.output.replace("_", " ")

    def opening(self, score: float, row: int, scores: Scores) -> str:
        """`row`: where the window stands in `scores`."""
        side = "above" if self._limit.above else "below"
        why = self._why(row, scores)
        return f"{self._score} {score:.3g} {side} {self._limit.open_at:g}{': ' if why else ''}{why}"

    def closing(self, score: float) -> str:
        """Back within the limit."""
        return f"{self._score} {score:.3g} is back within {self._limit.close_at:g}"

    def blind(self, windows: int) -> str:
        """Still open, for nothing says otherwise."""
        return f"still open, but not judged: the last {windows} windows could not be scored"

    def seeing(self, score: float) -> str:
        """Judged again, and not closed yet."""
        return f"judged again and still open: {self._score} {score:.3g}"

    def leaving(self) -> str:
        """Closed by a change of the configuration."""
        return f"closed without a judgement: no model {self._name} watches this asset any more"

    def _why(self, row: int, scores: Scores) -> str:
        """The channels that contribute most, and which way to move each."""
        push = np.zeros(len(self._channels)) if scores.direction is None else np.nan_to_num(scores.direction[row])
        has_shares = scores.contribution is not None
        weight = np.nan_to_num(scores.contribution[row]) if scores.contribution is not None else np.abs(push)
        named = [i for i in np.argsort(-weight, kind="stable")[:_WHY].tolist() if weight[i] >= _SHARE]
        return ", ".join(self._named(i, float(push[i]), float(weight[i]) if has_shares else None) for i in named)

    def _named(self, channel: int, push: float, share: float | None) -> str:
        advice = "" if abs(push) < _PUSH else "raise " if push > 0 else "lower "
        return f"{advice}{self._channels[channel]}" + ("" if share is None else f" {100 * share:.0f} %")
