"""Assets: the grid of each, what is derived on it, and the models that watch it."""

from pathlib import Path

from pydantic import Field

from edge_agent.config.base import Strict


class AssetRule(Strict):
    """Settings for every asset that fits `match`: its grid, its models; the first fitting rule holds."""

    match: str
    period_s: float = Field(1.0, ge=0.001, description="grid to which the asset's channels are aligned")
    hold_s: float = Field(5.0, ge=0, description="how long a value stands in for missing ones")
    lateness_s: float = Field(1.0, ge=0, description="how long a frame waits for late readings")
    idle_s: float = Field(5.0, gt=0, description="silence on the gateway's clock after which open frames are closed")
    models: tuple[Path, ...] = ()
