"""Filters, one file each, and the table of them: `FILTERS`. chain.py puts them behind each other."""

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field

from edge_agent.core.denoise.hampel import Hampel, HampelSettings
from edge_agent.core.denoise.median import MedianSettings, MovingMedian
from edge_agent.core.denoise.runs import Filter

AnyFilterSettings = Annotated[HampelSettings | MedianSettings, Field(discriminator="filter")]

FILTERS: dict[str, Callable[[Any], Filter]] = {"hampel": Hampel, "median": MovingMedian}
