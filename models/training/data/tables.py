"""What a file says, before it is put on the grid."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.training.data.grid import Readings

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_NO_READINGS = Readings(np.empty(0, np.intp), np.empty(0, np.int64), np.empty(0))


class Machine(NamedTuple):
    """One machine, or one run to failure: its readings, or, where there are no times, its rows."""

    unit: str
    names: tuple[str, ...]  # of the columns, in the order of `Read.columns`
    readings: Readings = _NO_READINGS
    table: Floats = np.empty((0, 0))  # [rows, columns], NaN where there is nothing

    def times(self) -> dict[str, Ints]:
        """The times of each channel that has any."""
        by_channel = {name: self.readings.time_ns[self.readings.channel == at] for at, name in enumerate(self.names)}
        return {name: times for name, times in by_channel.items() if len(times)}


class Read(NamedTuple):
    """One file. Columns of a machine: the channels, then the label and the target where there are such."""

    channels: tuple[str, ...]
    machines: tuple[Machine, ...]
    has_times: bool
    rows: int
    has_label: bool = False
    has_target: bool = False
    refused: int = 0  # readings that no live model would have seen
    words: tuple[str, ...] = ()  # columns that are no inputs, for they hold no numbers
