"""The readings of a step as columns that go through the stages together."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Rows(NamedTuple):
    """N readings. `denoised`: NaN where nothing may use it; `shift_ns`: keeps apart those that state one time twice."""

    time_ns: NDArray[np.int64]
    value: NDArray[np.float64]
    denoised: NDArray[np.float64]
    quality: NDArray[np.uint8]
    shift_ns: NDArray[np.int64]

    @classmethod
    def of(cls, time_ns: NDArray[np.int64], value: NDArray[np.float64], quality: NDArray[np.uint8]) -> "Rows":
        """As they come: not denoised, not moved."""
        return cls(time_ns, value, value, quality, np.zeros(len(time_ns), np.int64))

    def at(self, which: NDArray[Any]) -> "Rows":
        """Some of them: positions, or a mask [n]."""
        return Rows(*(column[which] for column in self))
