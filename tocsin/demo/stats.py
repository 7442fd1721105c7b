"""What the store holds, asked through the aggregator's own reader."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from aggregator.app import open_reader
from aggregator.config import load
from aggregator.core.questions import Questions
from aggregator.core.views import Row as StoredRow
from aggregator.core.views import number
from aggregator.ports import RetryLater, StoreMisconfigured
from tocsin.plant.messages import Row

T = TypeVar("T")

_LATER_NS = 3600 * 10**9


class StoreStats:
    """Questions about everything since `since_ns`. While the store does not answer, it holds nothing."""

    def __init__(self, aggregator_config: Path, since_ns: int) -> None:
        self._config = load(aggregator_config)
        self._since_ns = since_ns
        self.openings: dict[str, str] = {}  # alarm id -> what it says, of all that were seen open or closed

    def health(self) -> list[StoredRow]:
        """The newest result of each asset, worst first."""
        return self._ask(lambda reader: [row for row in reader.health() if self._is_new(row)])

    def alarms(self) -> list[StoredRow]:
        """What is open now. Each alarm met here is kept in `openings`: the store answers with the last state only."""
        rows = self._ask(lambda reader: [row for row in reader.alarms(open_only=False) if self._is_new(row)])
        for row in rows:
            self.openings.setdefault(str(row["id"]), f"{row['asset']}: {row['message']}")
        return [row for row in rows if row["is_open"] == 1.0]

    def anomalies(self) -> int:
        """Inferences at or beyond the limit."""
        assets = {str(row["asset"]) for row in self.health()}
        rows = self._ask(lambda reader: [r for asset in assets for r in self._series(reader, asset, "anomaly_score")])
        return sum(number(row, "value") >= 1.0 for row in rows)

    def readings(self) -> list[Row]:
        """Every stored reading."""
        return self._ask(self._all_readings)

    def _all_readings(self, reader: Questions) -> list[Row]:
        channels = [(str(row["asset"]), str(row["channel"])) for row in reader.latest() if self._is_new(row)]
        return [
            Row(asset, channel, int(number(row, "time")), float(number(row, "value")))
            for asset, channel in channels
            for row in self._series(reader, asset, channel)
        ]

    def _series(self, reader: Questions, asset: str, name: str) -> list[StoredRow]:
        return reader.series(asset, name, self._since_ns, time.time_ns() + _LATER_NS)

    def _is_new(self, row: StoredRow) -> bool:
        return number(row, "time") >= self._since_ns

    def _ask(self, question: Callable[[Questions], list[T]]) -> list[T]:
        try:
            reader = open_reader(self._config)
            try:
                return question(reader)
            finally:
                reader.close()
        except (RetryLater, StoreMisconfigured):  # not made yet, or busy: the next question may be answered
            return []
