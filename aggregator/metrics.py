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

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"tocsin_aggregator_{name}", text, registry=self.registry)
