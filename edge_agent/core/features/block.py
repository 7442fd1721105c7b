"""A block of equally long waveforms, and what its features share: each view of it is made once."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from edge_agent.config.waveforms import WaveformRule

Samples = NDArray[np.floating]
Floats = NDArray[np.float64]
Given = Floats | dict[str, Floats] | None
"""What a feature gives: float64 [n], or several by name; NaN where it cannot be told, None where for no waveform."""

View = TypeVar("View")


class Block:
    """samples: float32 [n, samples], float64 from a simulation, `dt_ns` apart. speed_rpm: [n], NaN = not known."""

    def __init__(self, samples: Samples, dt_ns: int, rule: WaveformRule, speed_rpm: Floats) -> None:
        self.samples, self.dt_ns, self.rule, self.speed_rpm = samples, dt_ns, rule, speed_rpm
        self._views: dict[Callable[[Block], Any], Any] = {}

    @property
    def rate_hz(self) -> float:
        """Samples a second."""
        return 1e9 / self.dt_ns

    @property
    def resolution_hz(self) -> float:
        """From one line of the spectrum to the next: one over the duration."""
        count: int = self.samples.shape[-1]
        return self.rate_hz / count

    def once(self, make: Callable[["Block"], View]) -> View:
        """What `make` makes of this block, made at the first call."""
        if make not in self._views:
            self._views[make] = make(self)
        view: View = self._views[make]
        return view

    def replaced(self, samples: Samples) -> "Block":
        """The same block with other samples: what a filter made of it."""
        return Block(samples, self.dt_ns, self.rule, self.speed_rpm)
