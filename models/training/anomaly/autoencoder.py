"""What can be chosen in both auto-encoders; without PyTorch, so that recipes can be read where it is not installed."""

from pydantic import BaseModel, Field


class AutoencoderParams(BaseModel, extra="forbid", frozen=True):
    """Settings; each recipe adds its layers'."""

    window: int = Field(20, ge=2, description="frames per window")
    hide: float = Field(0.2, ge=0, lt=1, description="share of channels hidden while learning")
    epochs: int = Field(50, ge=1, description="at most; it stops when the held-out error no longer falls")
    held_out: float = Field(0.25, gt=0, lt=1, description="last share of each run, not learnt from")
