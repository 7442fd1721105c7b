"""The columns of a Parquet file; needs polars."""

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.training.table import DataError


class ParquetColumns:
    """Numbers, booleans, texts and times; times become texts in ISO 8601."""

    def __init__(self, path: Path) -> None:
        """Read the file. Raises DataError."""
        try:
            with path.open("rb") as file:
                frame = pl.read_parquet(file)
        except OSError as error:
            msg = f"{path}: cannot be read: {error.strerror or error}"
            raise DataError(msg) from error
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            text = str(error).partition("\n")[0]
            msg = f"{path}: no Parquet: {text}"
            raise DataError(msg) from error
        if not frame.height or not frame.width:
            msg = f"{path}: no rows"
            raise DataError(msg)
        self.path, self.names, self.rows = path, tuple(frame.columns), frame.height
        self._frame = frame

    def is_numeric(self, name: str) -> bool:
        """See `Columns`."""
        kind = self._frame.schema[name]
        return kind.is_numeric() or kind == pl.Boolean

    def numbers(self, name: str) -> NDArray[np.float64]:
        """See `Columns`."""
        if not self.is_numeric(name):
            msg = f"{self.path}: column {name} is of type {self._frame.schema[name]}; numbers are needed"
            raise DataError(msg)
        values: NDArray[np.float64] = self._frame[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        return values

    def texts(self, name: str) -> list[str]:
        """See `Columns`."""
        column = self._frame[name]
        if isinstance(column.dtype, pl.Datetime):
            if column.dtype.time_zone:
                column = column.dt.convert_time_zone("UTC")
            column = column.dt.strftime("%Y-%m-%dT%H:%M:%S%.6f")
        return [str(cell) for cell in column.cast(pl.String).fill_null("").to_list()]

    def place(self, row: int) -> str:
        """See `Columns`."""
        return f"row {row + 1}"
