"""Linear filters as second-order sections, one behind the other: what band filters are made of.

    y_t = b0 x_t + b1 x_{t-1} + b2 x_{t-2} - a1 y_{t-1} - a2 y_{t-2}      each section

Begins in the steady state of the first reading, as if it had always been there: no transient from zero.
"""

import numpy as np

from edge_agent.core.denoise.runs import Flags, Floats, Ints, Runs, remember, remembered
from edge_agent.core.segments import grown


class SecondOrderSections:
    """State: float64 [slots, sections, 2], delays of the sections; float64 [slots], the first reading of the run.

    What is filtered is the distance from that first reading, beginning at rest. It is the same as to begin in its
    steady state, and a constant stays one to the bit.
    """

    def __init__(self, sections: Floats, *, passes_constant: bool) -> None:
        """`sections`: float64 [sections, 6], b0 b1 b2 1 a1 a2 of each; their gain at 0 Hz is 1, or else 0."""
        from scipy.signal import sosfilt  # noqa: PLC0415 - slow to import

        self._sosfilt = sosfilt
        self._sections = sections
        self._passes_constant = passes_constant
        self.delays: Floats = np.empty((0, len(sections), 2))
        self.first: Floats = np.empty(0)

    def grow(self, slots: int) -> None:
        """Make room for more slots."""
        self.delays = grown(self.delays, slots, 0.0)
        self.first = grown(self.first, slots, 0.0)

    def step(self, runs: Runs, _time_ns: Ints, value: Floats) -> tuple[Floats, Flags | None]:
        """See `Filter`."""
        delays = remembered(runs, self.delays, 0.0)
        first = np.where(runs.is_new, value[runs.starts], self.first[runs.slot])
        moved = value - first[runs.rank]
        out = np.empty_like(value)
        lengths = runs.lengths
        for length in np.unique(lengths).tolist():
            which = np.flatnonzero(lengths == length)
            at = runs.starts[which, None] + np.arange(length)
            out[at], after = self._sosfilt(self._sections, moved[at], zi=delays[which].swapaxes(0, 1))
            delays[which] = after.swapaxes(0, 1)
        remember(runs, self.delays, delays)
        remember(runs, self.first, first)
        return (out + first[runs.rank] if self._passes_constant else out), None


def group_delay(sections: Floats, frequency: float) -> float:
    """How much later the envelope of a signal at `frequency`, cycles a reading, comes out; in readings."""
    powers = np.exp(-2j * np.pi * frequency * np.arange(3))
    delays = [
        ((coefficients * np.arange(3) * powers).sum() / (coefficients * powers).sum()).real
        for section in sections
        for coefficients in (section[:3], section[3:])
    ]
    return float(sum(delays[::2]) - sum(delays[1::2]))
