"""Results to a file, in the format that its suffix names.

    .csv, .parquet   long form: a row a value, with measurement, time, asset, name, field
    .lp              InfluxDB line protocol, line by line as the aggregator would write it

The file appears whole, when all is written: a run that is broken off leaves none behind.
"""

import csv
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from aggregator.core.validate import Refused, validate
from models.contract.batch import Batch, encode_batch
from models.contract.topics import topic
from tocsin.errors import UserError
from tocsin.replaying.long_form import long_form

SUFFIXES = (".csv", ".parquet", ".lp")
Add = Callable[[Batch], None]
_COLUMNS = ("measurement", "time_ns", "asset", "name", "field", "value")


@contextmanager
def open_output(path: Path) -> Iterator[Add]:
    """Takes batches until the end of the block; then the file is there. Raises UserError, OSError."""
    with tempfile.TemporaryDirectory(dir=path.absolute().parent, prefix=".replay-") as scratch:
        partial = Path(scratch) / "partial"
        with _open(path.suffix.lower(), partial, Path(scratch)) as add:
            yield add
        partial.replace(path)


def check_place(option: str, path: Path | None, allowed: tuple[str, ...]) -> None:
    """Whether a file can be written there, before there is anything to write. Raises UserError."""
    if path is None:
        return
    if path.suffix.lower() not in allowed:
        msg = f"{option} {path}: the suffix names the format (allowed: {', '.join(allowed)})"
        raise UserError(msg)
    if not path.absolute().parent.is_dir():
        msg = f"{option} {path}: there is no folder {path.parent}"
        raise UserError(msg)


@contextmanager
def _open(suffix: str, path: Path, scratch: Path) -> Iterator[Add]:
    if suffix == ".parquet":
        from tocsin.replaying.parquet_parts import ParquetParts  # noqa: PLC0415 - polars only where it is used

        parts = ParquetParts(scratch)
        yield parts.add
        parts.join(path)
    elif suffix == ".lp":
        with path.open("wb") as lines:
            yield lambda batch: lines.writelines(line + b"\n" for line in _lines(batch))
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerow(_COLUMNS)
            yield lambda batch: _write_csv(file, batch)


def _write_csv(file: TextIO, batch: Batch) -> None:
    writer = csv.writer(file)
    for part in long_form(batch):
        rows = zip(part.position.tolist(), part.time_ns.tolist(), part.value.tolist(), strict=True)
        writer.writerows(
            (part.measurement, time_ns, *part.series[at], part.field, value) for at, time_ns, value in rows
        )


def _lines(batch: Batch) -> list[bytes]:
    """What the aggregator makes of the batch, by its own code. Raises UserError where it would refuse rows."""
    found = validate(topic(batch.site, batch.gateway, "batch"), encode_batch(batch))
    if isinstance(found, Refused):
        msg = f"the aggregator would refuse these results: {found.reason}"
        raise UserError(msg)
    if found.refused:
        row, reason = found.refused[0].row, found.refused[0].reason
        msg = f"the aggregator would refuse {len(found.refused) + found.unnamed} of these rows, such as {row}: {reason}"
        raise UserError(msg)
    return found.points.lines()
