"""The plant's ledger: each reading that the broker acknowledged, on disk, to compare the store with later."""

import csv
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from tocsin.errors import UserError
from tocsin.plant.messages import Row

_HEADER = list(Row._fields)


class Ledger:
    """A CSV file that grows by `write`; a context that closes it. Values are written so that they read back exactly."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = path.open("w", newline="", encoding="utf-8")
        except OSError as error:
            msg = f"{path}: the ledger cannot be written: {error.strerror}"
            raise UserError(msg) from error
        self._writer = csv.writer(self._file)
        self._writer.writerow(_HEADER)

    def write(self, rows: Iterable[Row]) -> None:
        """Append rows."""
        self._writer.writerows((row.asset, row.channel, row.time_ns, repr(row.value)) for row in rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def read_ledger(path: Path) -> list[Row]:
    """All rows. Raises UserError naming the line when the file is no ledger."""
    with path.open(newline="", encoding="utf-8") as file:
        lines = csv.reader(file)
        if next(lines, None) != _HEADER:
            msg = f"{path}: line 1: no ledger (allowed: {','.join(_HEADER)})"
            raise UserError(msg)
        try:
            return [Row(asset, channel, int(time_ns), float(value)) for asset, channel, time_ns, value in lines]
        except ValueError as error:
            msg = f"{path}: line {lines.line_num}: no row of a ledger: {error}"
            raise UserError(msg) from error
