"""Butterworth filter: lets a band of frequencies pass, as evenly as possible, and takes out the others.

For readings at an even rate. Causal. Delay: the group delay; for a low-pass at low frequencies, about
0.22 / `cutoff_hz` seconds at order 2; for a band-pass in the middle of its band; for a high-pass next to none. Warm-up:
begins in the steady state of the first reading, which a low-pass passes unchanged and the others take for 0.

Source: Butterworth 1930, Experimental Wireless 7, 536-541; digital by the bilinear transform (Oppenheim & Schafer,
Discrete-Time Signal Processing, chapter 7).
"""

from typing import Literal

import numpy as np
from pydantic import Field, PositiveFloat, model_validator

from edge_agent.core.denoise.runs import EvenRateSettings, Floats
from edge_agent.core.denoise.sections import SecondOrderSections, group_delay

_LOWEST = 1e-5  # of the rate: below, the poles lie so close together that rounding decides


class ButterworthSettings(EvenRateSettings):
    """Low-pass, high-pass or band-pass."""

    filter: Literal["butterworth"] = "butterworth"
    kind: Literal["lowpass", "highpass", "bandpass"] = "lowpass"
    cutoff_hz: PositiveFloat | tuple[PositiveFloat, PositiveFloat] = Field(
        description="Hz, where 71 % of the amplitude passes; of a bandpass [low, high]"
    )
    order: int = Field(2, ge=1, le=8, description="each adds 20 dB a decade outside the band")

    @model_validator(mode="after")
    def _possible(self) -> "ButterworthSettings":
        edges = self.edges_hz
        if (len(edges) == 2) != (self.kind == "bandpass"):
            raise ValueError("cutoff_hz: a bandpass takes [low, high], lowpass and highpass take one number")
        lowest, highest = _LOWEST * self.rate_hz, self.rate_hz / 2
        if not lowest <= edges[0] <= edges[-1] < highest:
            raise ValueError(
                f"cutoff_hz {list(edges)}: must ascend from {lowest:g} Hz (rate_hz / 100000) "
                f"to less than {highest:g} Hz (rate_hz / 2)"
            )
        if self.kind == "bandpass" and edges[1] - edges[0] < lowest:
            raise ValueError(
                f"cutoff_hz {list(edges)}: the band must be at least {lowest:g} Hz wide (rate_hz / 100000)"
            )
        return self

    @property
    def edges_hz(self) -> tuple[float, ...]:
        """Of the band: one or two."""
        return self.cutoff_hz if isinstance(self.cutoff_hz, tuple) else (self.cutoff_hz,)

    def delay_s(self, period_s: float) -> float:
        """The group delay where the filter passes most: 0 Hz, the middle of the band, half the rate."""
        middle = float(np.sqrt(np.prod(np.tan(np.pi * np.array(self.edges_hz) / self.rate_hz))))
        best = {"lowpass": 0.0, "bandpass": np.arctan(middle) / np.pi, "highpass": 0.5}[self.kind]
        return group_delay(_sections(self), best) * period_s


class Butterworth(SecondOrderSections):
    """State: of `SecondOrderSections`."""

    def __init__(self, settings: ButterworthSettings) -> None:
        super().__init__(_sections(settings), passes_constant=settings.kind == "lowpass")


def _sections(settings: ButterworthSettings) -> Floats:
    from scipy.signal import butter  # noqa: PLC0415 - slow to import

    edges = settings.edges_hz
    out: Floats = butter(
        settings.order, edges if len(edges) == 2 else edges[0], settings.kind, fs=settings.rate_hz, output="sos"
    )
    return out
