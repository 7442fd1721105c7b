"""Recorded tables as messages: a file of any kind, told by its suffix, row by row."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

from edge_agent.core.intake import Message
from tocsin.errors import UserError
from tocsin.plant.messages import Row, packed
from tocsin.plant.table import Layout, read_table

OnRead = Callable[[int, int], None]
_LINES = 256  # between two looks at how far we are


def read_messages(path: Path, layout: Layout, topic: str, on_read: OnRead) -> Iterator[Message]:
    """Each row as one message that arrives at its own time, on `topic` with {asset} put in.

    `on_read(done, total)`: bytes of a CSV file, rows of a Parquet file. Raises UserError, OSError.
    """
    if topic.count("{") != 1 or "{asset}" not in topic:
        msg = f"topic {topic!r} (allowed: a topic with {{asset}} in it, and no other name in braces)"
        raise UserError(msg)
    is_empty = True
    for rows in read_rows(path, layout, on_read):
        if rows:
            is_empty = False
            message = packed(topic.format(asset=rows[0].asset), rows)
            yield Message(message.topic, message.payload, rows[0].time_ns)
    if is_empty:
        msg = f"{path}: holds no readings (allowed: rows with a time and at least one number)"
        raise UserError(msg)


def read_rows(path: Path, layout: Layout, on_read: OnRead) -> Iterator[tuple[Row, ...]]:
    """The readings of each row, as `read_messages`. Raises UserError, OSError."""
    if path.suffix.lower() == ".parquet":
        from tocsin.replaying.parquet import read_parquet  # noqa: PLC0415 - polars only where it is used

        return read_parquet(path, layout, on_read)
    return _read_csv(path, layout, on_read)


def _read_csv(path: Path, layout: Layout, on_read: OnRead) -> Iterator[tuple[Row, ...]]:
    with path.open("rb") as file:
        total = file.seek(0, io.SEEK_END)
        file.seek(0)
        number = 0
        try:
            lines = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
            for number, rows in enumerate(read_table(lines, layout, str(path)), 1):
                if number % _LINES == 0:
                    on_read(file.tell(), total)
                yield rows
        except UnicodeDecodeError as error:
            msg = (
                f"{path}: after line {number}: {error.reason} (allowed: UTF-8; a Parquet file's name ends in .parquet)"
            )
            raise UserError(msg) from error
        on_read(total, total)
