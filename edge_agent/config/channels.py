"""Channels: unit, limits, checks and filters of each."""

from typing import Literal

from pydantic import Field, model_validator

from edge_agent.config.base import Strict
from edge_agent.config.waveforms import WaveformRule
from edge_agent.core.denoise import AnyFilterSettings, AnyReportSettings

_OF_VALUES = (
    "range",
    "operating_range",
    "max_rate_per_s",
    "flat_s",
    "no_data_factor",
    "quantum_factor",
    "denoise",
    "report",
)


class ChannelRule(Strict):
    """Settings for every channel whose `asset/channel` fits `match` (shell wildcards); the first fitting rule holds."""

    match: str = Field(pattern=r"^[^/]+/[^/]+$")
    unit: str = ""
    kind: Literal["value", "waveform"] = "value"
    range: tuple[float, float] | None = Field(None, description="physical limits; a value outside is marked bad")
    operating_range: tuple[float, float] | None = Field(
        None, description="limits of normal operation; a value outside is marked, and used"
    )
    max_rate_per_s: float | None = Field(None, gt=0, description="a faster move is marked; units of the value a second")
    flat_s: float | None = Field(None, gt=0, description="the same for longer, in event time, is marked: stuck")
    flat_band: float = Field(0.0, ge=0, description="a move of at most so much counts as the same")
    no_data_factor: float | None = Field(
        None, gt=1, description="silence of so many usual intervals is reported; none = not looked for"
    )
    quantum_factor: float | None = Field(
        None, ge=2, description="steps between values that are so many times coarser than learnt are marked"
    )
    max_skew_s: float = Field(
        30.0, ge=0, description="how far the sender's clock may be ahead, or jump back; 0 = not looked at"
    )
    max_delay_s: float | None = Field(
        None, gt=0, description="a steady delay that is longer is marked: the sender's clock is behind"
    )
    align: Literal["hold", "linear", "mean", "max", "min", "last"] = Field(
        "hold", description="a cell's value: the last reading so far, a line between two, or of the cell's own readings"
    )
    max_gap_s: float = Field(5.0, gt=0, le=3600, description="with linear: the longest gap that a line bridges")
    denoise: tuple[AnyFilterSettings, ...] = Field((), max_length=8, description="filters, one after the other")
    report: AnyReportSettings | None = Field(None, description="what is sent on; models see every reading")
    waveform: WaveformRule = Field(WaveformRule(), description="with kind waveform")

    @model_validator(mode="after")
    def _possible(self) -> "ChannelRule":
        for name in ("range", "operating_range"):
            limits = getattr(self, name)
            if limits is not None and not limits[0] < limits[1]:
                msg = f"{name} {list(limits)}: the lower limit must lie below the upper"
                raise ValueError(msg)
        if self.max_delay_s is not None and not self.max_skew_s:
            msg = "max_delay_s needs max_skew_s above 0"
            raise ValueError(msg)
        if self.flat_band and self.flat_s is None:
            msg = "flat_band needs flat_s"
            raise ValueError(msg)
        taken = [name for name in _OF_VALUES if getattr(self, name)]
        if self.kind == "waveform" and taken:
            msg = f"a waveform takes no {', '.join(taken)}: its features are what is checked"
            raise ValueError(msg)
        if self.kind == "value" and self.waveform != WaveformRule():
            msg = 'waveform needs kind = "waveform"'
            raise ValueError(msg)
        return self
