"""Recorded data as frames to learn from: read, put on the grid as the edge agent does, and cut into runs."""

from models.training.data.frames import Data, Run, Source
from models.training.data.read import read_data
from models.training.data.section import DataSection

__all__ = ["Data", "DataSection", "Run", "Source", "read_data"]
