"""Says which batches do not come: the map of gaps, told to the operator in metrics and, once, in the log."""

import asyncio
import math
import re
import time
from collections.abc import Callable

import structlog

from aggregator.core.gaps import MAX_GATEWAYS, GapMap, Gateway
from aggregator.core.heard import Heard, times
from aggregator.core.points import Points
from aggregator.metrics import Metrics

REPORT_S = 5.0
LATE_S = 60.0
_NEW_FAULT_S = 3600.0

log = structlog.get_logger()

_FIGURES = re.compile(r"\d+")


class Watch:
    """Hears of each batch that is stored."""

    def __init__(self, metrics: Metrics, late_s: float = LATE_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics, self._late_s, self._clock = metrics, late_s, clock
        self._gaps, self._heard = GapMap(), Heard()
        self._shown: set[Gateway] = set()  # gateways with a gauge
        self._said: dict[str, tuple[str | None, float]] = {}  # what was said of a place, and when it last held
        self._refused: dict[str, tuple[str, int]] = {}  # topic -> first reason and rows since the last report
        self._named: set[Gateway] = set()  # gateways with a gauge of when they were heard of
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

    def stored(self, gateway: Gateway, points: Points, now_ns: int) -> None:
        """Its rows are stored, at `now_ns` on this machine's clock."""
        newest_ns, beat_ns = times(points)
        self._heard.add(gateway, now_ns, beat_ns)
        if newest_ns is not None:
            self._metrics.lag.observe(max(0, now_ns - newest_ns) / 1e9)

    def held(self, topic: str, reason: str) -> None:
        """A batch was left to its gateway, neither stored nor refused. It comes again and again: said once."""
        if self._is_new(topic, reason):
            log.error("a batch is left to its gateway until a person puts this right", topic=topic, reason=reason)

    def ahead(self, gateway: Gateway) -> None:
        """A heartbeat from the future was left out."""
        if self._is_new("/".join(gateway), ""):
            log.warning("a gateway's clock is ahead; its heartbeats are left out", site=gateway[0], gateway=gateway[1])

    def _is_new(self, place: str, reason: str) -> bool:
        """Whether this is another fault of the place than last time. After an hour without, it is a new one."""
        now_s = self._clock()
        said, last_s = self._said.pop(place, (None, now_s))
        if len(self._said) >= MAX_GATEWAYS:
            del self._said[next(iter(self._said))]
        kind = _FIGURES.sub("", reason)  # a fault that goes on may tell other figures each time
        self._said[place] = kind, now_s
        return said != kind or now_s - last_s > _NEW_FAULT_S

    def refused(self, topic: str, reason: str, rows: int) -> None:
        """Rows of a stored batch were refused: they are dead letters on their gateway. Said with the next report."""
        first, so_far = self._refused.get(topic, (reason, 0))
        self._refused[topic] = (first, so_far + rows)

    def report(self) -> None:
        """Bring the metrics up to date, and name each batch that has been missing for long, once."""
        self._metrics.loop_beat()
        self._report_heard()
        for topic, (reason, rows) in self._refused.items():
            log.error("rows refused", topic=topic, rows=rows, reason=reason)
        self._refused.clear()
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

    def _report_heard(self) -> None:
        known = self._heard.known()
        for gone in self._named - known.keys():
            self._metrics.last_heard.remove(*gone)
            self._metrics.clock_skew.remove(*gone)
        self._named = set(known)
        for gateway, one in known.items():
            self._metrics.last_heard.labels(*gateway).set(one.heard_ns / 1e9)
            self._metrics.clock_skew.labels(*gateway).set(math.nan if one.skew_s is None else one.skew_s)

    async def run(self) -> None:
        """Report now and then, until cancelled."""
        while True:
            self.report()
            await asyncio.sleep(REPORT_S)
