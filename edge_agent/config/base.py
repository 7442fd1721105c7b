"""Names that several sections of the configuration share."""

from typing import Annotated

from pydantic import Field

from edge_agent.core.settings import Strict
from models.contract.topics import NAME_PATTERN

__all__ = ["Name", "Port", "Strict"]

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Port = Annotated[int, Field(ge=1, le=65535)]
