"""What goes wrong in the plant, where and when."""

from collections.abc import Iterable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

FaultKind = Literal["bearing_wear", "cavitation", "fouling", "stuck_sensor"]
Floats = NDArray[np.float64]

_EXPONENT = 3.0  # a bearing's vibration grows by e^3 = 20 from the first pit to the end


class Fault(NamedTuple):
    """One fault of one asset. Times count from the start of the plant."""

    asset: str
    kind: FaultKind
    start_s: float
    growth_s: float = 1.0
    channel: str = ""  # only for a stuck sensor: which one

    def severity(self, times_s: Floats) -> Floats:
        """How far the fault has grown at each time, 0 (none) to 1 (full). Bearing wear grows exponentially."""
        linear = np.clip((times_s - self.start_s) / self.growth_s, 0.0, 1.0)
        if self.kind == "bearing_wear":
            return np.asarray(np.expm1(_EXPONENT * linear) / np.expm1(_EXPONENT))
        return np.asarray(linear)


# The first is to be seen within seconds; the others follow while one watches.
DEMO_SCHEDULE: tuple[Fault, ...] = (
    Fault("pump-2", "bearing_wear", start_s=2.0, growth_s=5.0),
    Fault("pump-4", "cavitation", start_s=6.0, growth_s=6.0),
    Fault("compressor-1", "fouling", start_s=8.0, growth_s=20.0),
    Fault("motor-3", "stuck_sensor", start_s=10.0, channel="speed"),
)


def severity(faults: Iterable[Fault], kind: FaultKind, times_s: Floats) -> Floats:
    """The severity of one kind of fault over `times_s`; zeros when no such fault is among `faults`."""
    worst = np.zeros_like(times_s)
    for fault in faults:
        if fault.kind == kind:
            worst = np.maximum(worst, fault.severity(times_s))
    return worst
