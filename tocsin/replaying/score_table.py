"""The table of `tocsin model score`: a row a window, as CSV or Parquet."""

import csv
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.rescore import Rescored
from models.bundle import Bundle
from models.manifest import PER_CHANNEL

Columns = dict[str, NDArray[Any]]  # n rows each


def columns_of(part: Rescored, bundle: Bundle) -> Columns:
    """The table's columns: asset, time_ns, the outputs, then `<output>.<channel>`."""
    columns: Columns = {"asset": np.array(part.asset, object), "time_ns": part.time_ns, **part.scores.fields}
    for output in PER_CHANNEL:
        values = getattr(part.scores, output)
        if values is not None:
            names = (f"{output}.{channel.name}" for channel in bundle.manifest.channels)
            columns |= dict(zip(names, values.T, strict=True))
    return columns


@contextmanager
def open_table(out: Path | None, bundle: Bundle) -> Iterator[Callable[[Columns], None]]:
    """Takes columns until the end of the block; then the file is there, whole."""
    if out is None:
        yield lambda _columns: None
        return
    with tempfile.TemporaryDirectory(dir=out.absolute().parent, prefix=".score-") as scratch:
        partial = Path(scratch) / out.name
        if out.suffix.lower() == ".parquet":
            import polars as pl  # noqa: PLC0415 - only where it is used

            tables = [pl.DataFrame(schema=_schema(bundle))]
            yield lambda columns: tables.append(pl.DataFrame(columns, schema=_schema(bundle)))
            pl.concat(tables).write_parquet(partial)
        else:
            with partial.open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(_header(bundle))
                yield lambda columns: writer.writerows(zip(*(each.tolist() for each in columns.values()), strict=True))
        partial.replace(out)


def _schema(bundle: Bundle) -> dict[str, Any]:
    import polars as pl  # noqa: PLC0415 - only where it is used

    return dict.fromkeys(_header(bundle), pl.Float64()) | {"asset": pl.String(), "time_ns": pl.Int64()}


def _header(bundle: Bundle) -> list[str]:
    """As `columns_of` names them."""
    manifest = bundle.manifest
    single = [name for name in manifest.outputs if name not in PER_CHANNEL]
    shared = [f"{name}.{each.name}" for name in PER_CHANNEL if name in manifest.outputs for each in manifest.channels]
    return ["asset", "time_ns", *single, *shared]
