"""Says which batches do not come: the map of gaps, told to the operator in metrics and, once, in the log."""

import asyncio
import time
from collections.abc import Callable

import structlog

from aggregator.core.gaps import GapMap, Gateway
from aggregator.metrics import Metrics

REPORT_S = 5.0
LATE_S = 60.0

log = structlog.get_logger()


class Watch:
    """Hears of each batch that is stored."""

    def __init__(self, metrics: Metrics, late_s: float = LATE_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics, self._late_s, self._clock = metrics, late_s, clock
        self._gaps = GapMap()
        self._shown: set[Gateway] = set()  # gateways with a gauge
        self._told: dict[Gateway, int] = {}  # the oldest missing batch that the log has named

    def seen(self, gateway: Gateway, epoch: str, seq: int, oldest: int | None) -> None:
        """A valid batch of this gateway came on its own topic. Without `oldest` nothing can be missed."""
        if oldest is None:
            return
        seen = self._gaps.add(gateway, epoch, seq, oldest, self._clock())
        if seen.is_repeated:
            self._metrics.batches_repeated.inc()
        if seen.replaced:
            self._metrics.epoch_changes.inc()
            log.warning(
                "a gateway has a new outbox: what the old one still held has to be looked for there",
                site=gateway[0],
                gateway=gateway[1],
                epoch=epoch,
                before=seen.replaced,
            )

    def report(self) -> None:
        """Bring the metrics up to date, and name each batch that has been missing for long, once."""
        missing = self._gaps.missing(self._clock())
        for gone in self._shown - missing.keys():
            self._metrics.missing_batches.remove(*gone)
            self._metrics.missing_age.remove(*gone)
            self._told.pop(gone, None)
        self._shown = set(missing)
        for gateway, holes in missing.items():
            self._metrics.missing_batches.labels(*gateway).set(holes.batches)
            self._metrics.missing_age.labels(*gateway).set(holes.age_s)
            if holes.oldest and holes.age_s > self._late_s and self._told.get(gateway) != holes.oldest:
                self._told[gateway] = holes.oldest
                log.warning(
                    "a gateway holds a batch that does not get through, while newer ones do",
                    site=gateway[0],
                    gateway=gateway[1],
                    seq=holes.oldest,
                    missing=holes.batches,
                    for_s=round(holes.age_s),
                )

    async def run(self) -> None:
        """Report now and then, until cancelled."""
        while True:
            self.report()
            await asyncio.sleep(REPORT_S)
