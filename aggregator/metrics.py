"""What the aggregator counts, for Prometheus. All names begin with `tocsin_aggregator_`."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from aggregator.core.vitals import Vitals

_LAG_BUCKETS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 21_600, 86_400)
BATCH_OUTCOMES = ("stored", "refused", "held", "dropped")
READ_BACK_OUTCOMES = ("found", "missing")


class Metrics:
    """Counters in a registry of their own, so that two aggregators in one process do not share them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.rows_written = self._counter("rows_written", "Rows that the store has, re-sent ones included.")
        self.rows_refused = self._counter("rows_refused", "Rows that no attempt will store; receipts name them.")
        self.rows_beyond = self._counter(
            "rows_beyond_max_series", "Of these, rows of series beyond validation.max_series: a gateway invents names."
        )
        self.batches = Counter(
            "tocsin_aggregator_batches",
            "Batches by outcome: stored; refused whole; held = left to the gateway until a person acts; "
            "dropped because too much waited (gateways send those again).",
            ["outcome"],
            registry=self.registry,
        )
        self.batches_repeated = self._counter("batches_repeated", "Batches stored before: they cost time, no more.")
        self.missing_batches = self._of_gateway(
            "missing_batches", "Batches that a gateway still holds and this aggregator has not seen, while newer came."
        )
        self.missing_age = self._of_gateway("missing_age_seconds", "How long the oldest of them has been the oldest.")
        self.epoch_changes = self._counter("epoch_changes", "Gateways that came with a new outbox.")
        self.receipts_lost = self._counter("receipts_lost", "Receipts not sent or not confirmed; gateways send again.")
        self.write_failures = self._counter("write_failures", "Attempts to write that will be repeated.")
        self.read_back = Counter(
            "tocsin_aggregator_read_back",
            "Stored rows asked for again: found, or missing although the store had said that it has them.",
            ["outcome"],
            registry=self.registry,
        )
        self.store_up = self._gauge("store_up", "1 when the last write went well, 0 when it did not.")
        self.store_misconfigured = self._gauge("store_misconfigured", "1 while a person has to put the store right.")
        self.broker_up = self._gauge("broker_up", "1 while connected and subscribed.")
        self.waiting_bytes = self._gauge("waiting_bytes", "Compressed bytes of the batches that wait to be written.")
        self.oldest_waiting = self._gauge(
            "oldest_waiting_seconds", "For how long the oldest batch in hand has waited for its answer."
        )
        self.last_heard = self._of_gateway("last_heard_timestamp_seconds", "When a batch of it was stored last.")
        self.clock_skew = self._of_gateway(
            "clock_skew_seconds", "How far its clock is behind ours, the way to the store included; below 0 = ahead."
        )
        self.lag = Histogram(
            "tocsin_aggregator_lag_seconds",
            "From a batch's newest event to its receipt.",
            registry=self.registry,
            buckets=_LAG_BUCKETS_S,
        )
        self._in_hand: dict[object, float] = {}  # since when, monotonic
        self.oldest_waiting.set_function(self._oldest_waiting_s)
        self._beaten_s = time.monotonic()
        for outcome in BATCH_OUTCOMES:
            self.batches.labels(outcome)
        for outcome in READ_BACK_OUTCOMES:
            self.read_back.labels(outcome)

    @contextmanager
    def in_hand(self, since_s: float) -> Iterator[None]:
        """Around the work on batches that were taken in at `since_s`, on the monotonic clock."""
        mark = object()
        self._in_hand[mark] = since_s
        try:
            yield
        finally:
            del self._in_hand[mark]

    def loop_beat(self) -> None:
        """The event loop comes round. To be called every few seconds."""
        self._beaten_s = time.monotonic()

    def vitals(self) -> Vitals:
        """For any thread."""
        return Vitals(
            time.monotonic() - self._beaten_s,
            bool(_value(self.broker_up)),
            bool(_value(self.store_up)),
            _value(self.write_failures),
            bool(_value(self.store_misconfigured)),
        )

    def _oldest_waiting_s(self) -> float:
        since_s = list(self._in_hand.values())
        return time.monotonic() - min(since_s) if since_s else 0.0

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(f"tocsin_aggregator_{name}", text, registry=self.registry)

    def _of_gateway(self, name: str, text: str) -> Gauge:
        """For the gateways heard of lately, of which `core/gaps.py` knows a bounded number."""
        return Gauge(f"tocsin_aggregator_{name}", text, ["site", "gateway"], registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"tocsin_aggregator_{name}", text, registry=self.registry)


def _value(metric: Counter | Gauge) -> float:
    """Of one without labels."""
    return next(iter(metric.collect())).samples[0].value
