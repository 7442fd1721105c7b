"""Results as a Parquet file in long form. Parts on disk, joined at the end, keep the memory bounded."""

from pathlib import Path

import polars as pl

from models.contract.batch import Batch
from tocsin.replaying.long_form import LongForm, long_form

_PART_ROWS = 1_000_000
_SCHEMA = pl.Schema(
    {
        "measurement": pl.String(),
        "time": pl.Datetime("ns", "UTC"),
        "asset": pl.String(),
        "name": pl.String(),
        "field": pl.String(),
        "value": pl.Float64(),
    }
)


class ParquetParts:
    """`scratch`: a folder for the parts."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._frames = [pl.DataFrame(schema=_SCHEMA)]
        self._rows = 0
        self._parts: list[Path] = []

    def add(self, batch: Batch) -> None:
        """A row a value; null where there is none."""
        for part in long_form(batch):
            if len(part.position):
                self._frames.append(_frame(part))
                self._rows += len(part.position)
        if self._rows >= _PART_ROWS:
            self._write_part()

    def join(self, path: Path) -> None:
        """All of it as one file."""
        self._write_part()
        pl.scan_parquet(self._parts, glob=False).sink_parquet(path)

    def _write_part(self) -> None:
        part = self._scratch / f"part-{len(self._parts)}"
        pl.concat(self._frames).write_parquet(part)
        self._parts.append(part)
        self._frames, self._rows = self._frames[:1], 0


def _frame(part: LongForm) -> pl.DataFrame:
    series = pl.DataFrame(part.series, schema=["asset", "name"], orient="row")[part.position]
    return pl.DataFrame(
        {
            "measurement": pl.repeat(part.measurement, len(part.position), eager=True),
            "time": pl.Series(part.time_ns).cast(_SCHEMA["time"]),
            "asset": series["asset"],
            "name": series["name"],
            "field": pl.repeat(part.field, len(part.position), eager=True),
            "value": pl.Series(part.value).fill_nan(None),
        },
        schema=_SCHEMA,
    )
