"""Notch filter: takes out one frequency, such as the mains or the speed of a shaft, and hardly anything else.

For readings at an even rate. Causal. Delay: none to speak of; at low frequencies the group delay, about
1 / (pi * `quality` * `frequency_hz`) seconds where the rate is high. Warm-up: begins in the steady state of the first
reading; a tone that is there from the start fades within about `quality` of its periods.

Source: Orfanidis 1996, Introduction to Signal Processing, 11.3.
"""

from typing import Literal

from pydantic import Field, model_validator

from edge_agent.core.denoise.runs import EvenRateSettings, Floats
from edge_agent.core.denoise.sections import SecondOrderSections, group_delay


class NotchSettings(EvenRateSettings):
    """One frequency is taken out."""

    filter: Literal["notch"] = "notch"
    frequency_hz: float = Field(gt=0, description="Hz, what is taken out")
    quality: float = Field(
        30.0, ge=0.5, le=1000, description="frequency over the width of the band where less than 71 % passes"
    )

    @model_validator(mode="after")
    def _possible(self) -> "NotchSettings":
        lowest, highest = self.rate_hz / 10_000, self.rate_hz / 2
        if not lowest <= self.frequency_hz < highest:
            raise ValueError(
                f"frequency_hz {self.frequency_hz:g}: must be from {lowest:g} Hz (rate_hz / 10000) "
                f"to less than {highest:g} Hz (rate_hz / 2)"
            )
        return self

    def delay_s(self, period_s: float) -> float:
        """The group delay at low frequencies."""
        return group_delay(_sections(self), 0.0) * period_s


class Notch(SecondOrderSections):
    """State: of `SecondOrderSections`."""

    def __init__(self, settings: NotchSettings) -> None:
        super().__init__(_sections(settings), passes_constant=True)


def _sections(settings: NotchSettings) -> Floats:
    from scipy.signal import iirnotch, tf2sos  # noqa: PLC0415 - slow to import

    out: Floats = tf2sos(*iirnotch(settings.frequency_hz, settings.quality, fs=settings.rate_hz))
    return out
