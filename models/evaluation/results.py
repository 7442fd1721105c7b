"""The files that a benchmark leaves: columns of numbers in the layout of its own scorer."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path


def write_columns(path: Path, columns: Mapping[str, Sequence[float]]) -> None:
    """A CSV file with a header; columns of one length. Its folder is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([tuple(columns), *zip(*columns.values(), strict=True)])
