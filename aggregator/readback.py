"""A sample of what was stored, asked for again: a database may say yes and keep nothing.

Now and then one row of a write that went well is looked up. If it does not come within a while (some databases
answer before they have stored), the write counts as failed: it is done again, its gateways get no receipt, and each
further write is inspected until one is found again. Old rows prove nothing by themselves: a database with a retention
may take and not show them. They are looked up only while others are missing.
"""

import time
from collections.abc import Callable
from random import Random

import numpy as np
import structlog

from aggregator.config import ReadBack as Config
from aggregator.core.points import Points, Table
from aggregator.metrics import Metrics
from aggregator.ports import RetryLater, StoreMisconfigured
from models.contract.config_errors import ConfigError
from models.contract.schema import MEASUREMENTS

log = structlog.get_logger()

# Measurement, tags and time of a row -> whether the store has it. Raises RetryLater, StoreMisconfigured.
Holds = Callable[[str, dict[str, str], int], bool]

_FIRST_PAUSE_S = 0.1
_SURELY_KEPT_NS = 3600 * 1_000_000_000  # a database with a retention may take older rows and not show them


class ReadBack:
    """Inspects writes; used by several writing threads at once."""

    def __init__(
        self,
        holds: Holds,
        config: Config,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._holds, self._config, self._metrics = holds, config, metrics
        self._clock, self._clock_ns = clock, clock_ns
        self._due_s = clock()
        self._is_suspicious = False
        self._is_told = False  # that rows cannot be read here
        self._random = Random()  # noqa: S311 - a sample, no secret

    def inspect(self, points: Points) -> None:
        """If it is time, asks for one of the rows just written. Raises RetryLater when the store does not have it."""
        if not self._is_due():
            return
        kept_ns = 0 if self._is_suspicious else self._clock_ns() - _SURELY_KEPT_NS
        recent = [table for table in points.tables if len(table) and table.time_ns.max() >= kept_ns]
        if not recent:
            return
        self._due_s = self._clock() + self._config.every_s
        try:
            found = self._finds(*self._sample(self._random.choice(recent), kept_ns))
        except (RetryLater, StoreMisconfigured, ConfigError) as error:
            # It took the rows: that they cannot be read is no proof that they are not there.
            if not self._is_told:
                log.warning("stored rows cannot be read back, so what is stored is not inspected", reason=str(error))
            self._is_told = True
            return
        self._is_told = False
        self._is_suspicious = not found
        self._metrics.read_back.labels("found" if found else "missing").inc()
        if not found:
            log.error("the store said that it has rows which it has not; they are kept and written again")
            raise RetryLater("a row that was written is not there")

    def _is_due(self) -> bool:
        """Two threads that ask at the same moment may both be told so: one row more is looked up."""
        return self._config.every_s > 0 and (self._is_suspicious or self._clock() >= self._due_s)

    def _sample(self, table: Table, kept_ns: int) -> tuple[str, dict[str, str], int]:
        row = self._random.choice(np.flatnonzero(table.time_ns >= kept_ns).tolist())
        tags = dict(zip(MEASUREMENTS[table.measurement].tags, table.tags[table.index[row]], strict=True))
        return table.measurement, tags, int(table.time_ns[row])

    def _finds(self, measurement: str, tags: dict[str, str], time_ns: int) -> bool:
        until_s, pause_s = self._clock() + self._config.within_s, _FIRST_PAUSE_S
        while not self._holds(measurement, tags, time_ns):
            if self._clock() >= until_s:
                return False
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 5.0)
        return True
