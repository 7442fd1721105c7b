"""What the tests of keepers share: servers to set up, readings to write, and the means of them by numpy."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from aggregator.adapters import stores
from aggregator.config import Influx1, Influx2, Influx3, Retention, Sqlite, StoreConfig
from aggregator.core import minutes
from aggregator.core.points import Points, Table
from aggregator.ports import Keeper, Step
from tests.batches import SECOND, T0
from tests.influx_apis import ORG, Api, Api3
from tests.influx_servers import TOKEN, ask

MINUTE = minutes.MINUTE_NS
Means = dict[tuple[str, int], dict[str, float]]  # (channel, minute) -> mean, min, max, n, bad


class Backend(NamedTuple):
    """A server on which nothing was set up yet."""

    config: StoreConfig
    api: Api | None  # None = a real server

    def keeper(self, raw_d: float = 0, minutes_d: float = 0) -> Keeper:
        return stores.open_keeper(self.config, Retention(raw_d=raw_d, minutes_d=minutes_d))


def of_api(kind: str, url: str, folder: Path, name: str = "tocsin", token: str = TOKEN) -> Influx2 | Influx3:
    file = folder / "token"
    file.write_text(f"{token}\n")
    if kind == "influx2":
        return Influx2(kind="influx2", url=url, bucket=name, org=ORG["name"], token_file=file)
    return Influx3(kind="influx3", url=url, database=name, token_file=file)


def do_all(keeper: Keeper) -> list[Step]:
    for step in keeper.plan():
        if not step.is_done:
            keeper.apply(step)
    return keeper.plan()


@dataclass(frozen=True)
class Written:
    """Readings of two channels, some bad and some without a value."""

    time_ns: NDArray[np.int64]
    index: NDArray[np.int32]
    value: NDArray[np.float64]
    quality: NDArray[np.float64]

    def points(self) -> Points:
        tags: list[tuple[str, ...]] = [("north", "pump 7, a=b", "speed"), ("north", "pump 7, a=b", "temp °C")]
        fields = {"value": self.value, "quality": self.quality}
        return Points((Table("reading", tags, self.index, self.time_ns, fields),))

    def of(self, marked: NDArray[np.bool_]) -> "Written":
        return Written(self.time_ns[marked], self.index[marked], self.value[marked], self.quality[marked])

    def means(self) -> Means:
        """By numpy: the oracle."""
        found: Means = {}
        has_value = ~np.isnan(self.value)
        good = (self.quality < 128) & has_value
        starts = self.time_ns - self.time_ns % MINUTE
        for at, channel in enumerate(("speed", "temp °C")):
            for start in np.unique(starts[self.index == at]):
                here = (self.index == at) & (starts == start)
                values, bad = self.value[here & good], float((here & has_value & ~good).sum())
                if not len(values) and not bad:
                    continue
                row = {"bad": bad} if bad else {}
                if len(values):
                    row |= {"mean": values.mean(), "min": values.min(), "max": values.max(), "n": float(len(values))}
                found[channel, int(start)] = row
        return found


def readings(seed: int = 0) -> Written:
    random = np.random.default_rng(seed)
    n = 3000  # over 25 minutes, from within a minute
    value = random.normal(20, 5, n)
    quality = random.choice([0.0, 65.0, 129.0], n, p=[0.6, 0.3, 0.1])
    value[quality == 129.0] *= random.choice([1.0, np.nan], int((quality == 129.0).sum()))
    quality[1000:1400] = 129.0  # minutes in which all is bad
    return Written(T0 + np.arange(n) * SECOND // 2, (np.arange(n) % 2).astype(np.int32), value, quality)


def write(config: StoreConfig, rows: Written) -> None:
    store = stores.open_store(config)
    assert store.prepare(rows.points())() == []
    store.close()


def stored(backend: Backend) -> Means:
    """What stands in the database."""
    if isinstance(backend.config, Influx1):
        columns = ", ".join(f'"{name}"' for name in (*minutes.MEANS, minutes.BAD))
        query = f'SELECT "channel", {columns} FROM "minutes"."reading_1m"'  # noqa: S608 - a test's own names
        rows = ask(backend.config.url, query, backend.config.database)
        return {(row[1], row[0]): cells(row[2:]) for row in rows}
    if isinstance(backend.config, Sqlite):
        columns = ", ".join(("channel", "time", *minutes.MEANS, minutes.BAD))
        with closing(sqlite3.connect(backend.config.path)) as file:
            rows = file.execute(f"SELECT {columns} FROM reading_1m").fetchall()  # noqa: S608 - a test's own names
        return {(row[0], row[1]): cells(row[2:]) for row in rows}
    assert isinstance(backend.api, Api3)
    found: Means = {}
    # of a minute's rows the one with most readings holds
    for row in sorted(backend.api.rows.get("tocsin_minutes", {}).values(), key=lambda row: int(row.tags[3])):
        assert row.measurement == minutes.MEASUREMENT
        found[row.tags[2], row.time_ns] = {name: float(value) for name, value in row.fields.items()}
    return found


def cells(values: Sequence[float | None]) -> dict[str, float]:
    found = zip((*minutes.MEANS, minutes.BAD), values, strict=True)
    return {name: float(value) for name, value in found if value is not None}


def close_to(expected: Means) -> dict[tuple[str, int], dict[str, Any]]:
    return {key: {name: pytest.approx(value) for name, value in row.items()} for key, row in expected.items()}


def without_zeros(found: Means) -> Means:
    """A store may write a count of none, or nothing."""
    counts = {"n", "bad"}
    return {key: {k: v for k, v in row.items() if k not in counts or v} for key, row in found.items()}
