"""Rows for tests of stores, and what must come back."""

import numpy as np

from aggregator.core.points import Points, Table
from tests.batches import SECOND, T0


def readings(asset: str, values: list[float], start_ns: int = T0) -> Points:
    n = len(values)
    times = start_ns + SECOND * np.arange(n)
    columns = {"value": np.array(values), "quality": np.full(n, 65.0)}
    return Points((Table("reading", [("north", asset, "x")], np.zeros(n, np.int32), times, columns),))


def alarms(messages: list[str]) -> Points:
    n = len(messages)
    columns = {"is_open": np.ones(n), "severity": np.ones(n)}
    texts = {"id": ["a"] * n, "message": messages}
    times = T0 + SECOND * np.arange(n)
    return Points((Table("alarm", [("north", "p", "hot")], np.zeros(n, np.int32), times, columns, texts),))


def expected(values: list[float], start_ns: int = T0) -> list[tuple[int, float]]:
    return [(start_ns + at * SECOND, value) for at, value in enumerate(values)]
