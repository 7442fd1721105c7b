"""Waiting batches, merged into writes of a good size."""

from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

# The optimum for InfluxDB: twice as many rows gain a twentieth and double the delay.
MAX_ROWS = 5000

Batch = TypeVar("Batch", bound=Sized)


def merge(batches: Iterable[Batch], max_rows: int = MAX_ROWS) -> Iterator[list[Batch]]:
    """Groups in order of arrival, each as large as it can be within `max_rows`.

    A batch is never cut here, because its receipt is one: one that is larger makes a group of its own. Batches are
    drawn only when needed, so that what waits is not decoded all at once.
    """
    group: list[Batch] = []
    rows = 0
    for batch in batches:
        if group and rows + len(batch) > max_rows:
            yield group
            group, rows = [], 0
        group.append(batch)
        rows += len(batch)
    if group:
        yield group
