"""What every section of the configuration is, and names that several share."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from models.contract.topics import NAME_PATTERN

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Port = Annotated[int, Field(ge=1, le=65535)]


class Strict(BaseModel):
    """Unknown keys are refused. No infinity: the configuration is journalled as JSON, which has none."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
