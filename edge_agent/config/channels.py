"""Channels: unit, limits, checks and filters of each."""

from typing import Literal

from pydantic import Field, model_validator

from edge_agent.config.base import Strict


class ChannelRule(Strict):
    """Settings for every channel whose `asset/channel` fits `match` (shell wildcards); the first fitting rule holds."""

    match: str = Field(pattern=r"^[^/]+/[^/]+$")
    unit: str = ""
    kind: Literal["value", "waveform"] = "value"
    range: tuple[float, float] | None = Field(None, description="physical limits; a value outside is marked bad")
    max_rate_per_s: float | None = Field(None, gt=0, description="a faster move is marked; units of the value a second")
    flat_s: float | None = Field(None, gt=0, description="exactly the same for longer, in event time, is marked: stuck")
    hampel_window: int = Field(0, description="readings, the newest included; 0 = no denoising")
    hampel_sigmas: float = Field(3.0, gt=0)

    @model_validator(mode="after")
    def _possible(self) -> "ChannelRule":
        if self.range is not None and not self.range[0] < self.range[1]:
            msg = f"range {list(self.range)}: the lower limit must lie below the upper"
            raise ValueError(msg)
        if self.hampel_window and not 3 <= self.hampel_window <= 99:
            msg = f"hampel_window {self.hampel_window}: allowed are 0 (off) and 3 to 99"
            raise ValueError(msg)
        if self.kind == "waveform" and (self.range or self.hampel_window or self.max_rate_per_s or self.flat_s):
            msg = (
                "a waveform takes no range, max_rate_per_s, flat_s and hampel_window: its features are what is checked"
            )
            raise ValueError(msg)
        return self
