"""What the aggregator counts, for Prometheus. All names begin with `tocsin_aggregator_`."""

from prometheus_client import CollectorRegistry, Counter, Gauge

BATCH_OUTCOMES = ("stored", "refused", "dropped")


class Metrics:
    """Counters in a registry of their own, so that two aggregators in one process do not share them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.rows_written = self._counter("rows_written", "Rows that the store has, re-sent ones included.")
        self.rows_refused = self._counter("rows_refused", "Rows that no attempt will store; receipts name them.")
        self.batches = Counter(
            "tocsin_aggregator_batches",
            "Batches by outcome: stored; refused whole; dropped because too much waited (gateways send those again).",
            ["outcome"],
            registry=self.registry,
        )
        self.batches_repeated = self._counter("batches_repeated", "Batches stored before: they cost time, no more.")
        self.missing_batches = self._of_gateway(
            "missing_batches", "Batches that a gateway still holds and this aggregator has not seen, while newer came."
        )
        self.missing_age = self._of_gateway("missing_age_seconds", "How long the oldest of them has been the oldest.")
        self.epoch_changes = self._counter("epoch_changes", "Gateways that came with a new outbox.")
        self.receipts_lost = self._counter("receipts_lost", "Receipts not sent; gateways send those batches again.")
        self.write_failures = self._counter("write_failures", "Attempts to write that will be repeated.")
        self.store_up = self._gauge("store_up", "1 when the last write went well, 0 when it did not.")
        self.store_misconfigured = self._gauge("store_misconfigured", "1 while a person has to put the store right.")
        self.broker_up = self._gauge("broker_up", "1 while connected and subscribed.")
        self.waiting_bytes = self._gauge("waiting_bytes", "Compressed bytes of the batches that wait to be written.")
        for outcome in BATCH_OUTCOMES:
            self.batches.labels(outcome)

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(f"tocsin_aggregator_{name}", text, registry=self.registry)

    def _of_gateway(self, name: str, text: str) -> Gauge:
        """For the gateways heard of lately, of which `core/gaps.py` knows a bounded number."""
        return Gauge(f"tocsin_aggregator_{name}", text, ["site", "gateway"], registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"tocsin_aggregator_{name}", text, registry=self.registry)
