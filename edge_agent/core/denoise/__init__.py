"""Filters and reporters, one file each, and the tables of them.

FILTERS     decide what the models see; chain.py puts them behind each other
REPORTERS   decide which readings are sent on; reports.py runs them
"""

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field

from edge_agent.core.denoise.butterworth import Butterworth, ButterworthSettings
from edge_agent.core.denoise.deadband import Deadband, DeadbandSettings
from edge_agent.core.denoise.exponential import Exponential, ExponentialSettings
from edge_agent.core.denoise.hampel import Hampel, HampelSettings
from edge_agent.core.denoise.kalman import Kalman, KalmanSettings
from edge_agent.core.denoise.median import MedianSettings, MovingMedian
from edge_agent.core.denoise.notch import Notch, NotchSettings
from edge_agent.core.denoise.reporting import Reporter
from edge_agent.core.denoise.runs import Filter
from edge_agent.core.denoise.savitzky_golay import SavitzkyGolay, SavitzkyGolaySettings
from edge_agent.core.denoise.swinging_door import SwingingDoor, SwingingDoorSettings

AnyFilterSettings = Annotated[
    HampelSettings
    | MedianSettings
    | ExponentialSettings
    | SavitzkyGolaySettings
    | ButterworthSettings
    | NotchSettings
    | KalmanSettings,
    Field(discriminator="filter"),
]

FILTERS: dict[str, Callable[[Any], Filter]] = {
    "hampel": Hampel,
    "median": MovingMedian,
    "exponential": Exponential,
    "savitzky-golay": SavitzkyGolay,
    "butterworth": Butterworth,
    "notch": Notch,
    "kalman": Kalman,
}

AnyReportSettings = Annotated[DeadbandSettings | SwingingDoorSettings, Field(discriminator="filter")]

REPORTERS: dict[str, Callable[[Any], Reporter]] = {"deadband": Deadband, "swinging-door": SwingingDoor}
