"""What every part of the configuration is; here, because a filter's settings stand beside the filter."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Unknown keys are refused. No infinity: the configuration is journalled as JSON, which has none."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
