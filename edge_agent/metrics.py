"""The agent's numbers, in the Prometheus text format."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from edge_agent.tally import Tallies, Timings

_RUN_BUCKETS_S = (2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_LATENCY_BUCKETS_S = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5, 10, 30, 60, 300, 3600)


class Metrics:
    """One registry an agent, so that several can live in one test."""

    def __init__(self) -> None:
        r = self.registry = CollectorRegistry()
        self.messages = Counter("tocsin_edge_messages", "MQTT messages received", registry=r)
        self.repeated = Counter("tocsin_edge_repeated_messages", "Messages that came again, taken once", registry=r)
        self.skipped = Counter("tocsin_edge_skipped_values", "Values that topics leave out: nulls, texts", registry=r)
        self.readings = Counter("tocsin_edge_readings", "Readings and waveforms journalled", registry=r)
        self.deadletters = Counter("tocsin_edge_deadletters", "Messages set aside", ["reason"], registry=r)
        self.nodes = Counter(
            "tocsin_edge_sparkplug_events", "Births, deaths and requests of births of Sparkplug", ["event"], registry=r
        )
        self.marked = Counter(
            "tocsin_edge_marked", "Readings marked, and windows not scored, by reason", ["reason"], registry=r
        )
        self.commits = Counter("tocsin_edge_journal_commits", "Journal commits", registry=r)
        self.silences = Counter("tocsin_edge_silences", "No message for longer than learnt", registry=r)
        self.sealed = Counter("tocsin_edge_rows_sealed", "Rows committed to the outbox", registry=r)
        self.waits = Counter("tocsin_edge_full_waits", "Waits because a file had no room", ["file"], registry=r)
        self.alarms = Counter("tocsin_edge_alarms", "Alarms opened", registry=r)
        self.reloads = Counter("tocsin_edge_reloads", "Configuration reloads", ["outcome"], registry=r)
        self.backlog = Gauge("tocsin_edge_outbox_batches", "Batches without a receipt", registry=r)
        self.lag = Gauge("tocsin_edge_journal_lag_entries", "Journal entries not yet used", registry=r)
        self.lost = Gauge("tocsin_edge_lost_rows", "Rows that a full outbox had to drop", ["kind"], registry=r)
        self.clock_behind = Gauge("tocsin_edge_clock_behind", "1 = the wall clock was set back", registry=r)
        self.connected = Gauge("tocsin_edge_connected", "1 = connected", ["broker"], registry=r)
        model = ["model", "version"]
        self.scored = Tallies("tocsin_edge_scored_windows", "Windows that a model has answered", model, registry=r)
        self.padding = Tallies(
            "tocsin_edge_padding_windows", "Copies of windows that filled runs up", model, registry=r
        )
        self.run_failures = Counter("tocsin_edge_run_failures", "Runs that failed or took too long", model, registry=r)
        self.model_memory = Gauge("tocsin_edge_model_memory_bytes", "What loading a model took", model, registry=r)
        self.run_time = Timings(
            "tocsin_edge_run_seconds", "Of ONNX Runtime, for one batch", ["provider"], _RUN_BUCKETS_S, registry=r
        )
        self.provider = Gauge("tocsin_edge_provider_info", "ONNX Runtime provider in use", ["provider"], registry=r)
        self.latency = Histogram(
            "tocsin_edge_receipt_latency_seconds",
            "From arrival at the gateway to the receipt",
            registry=r,
            buckets=_LATENCY_BUCKETS_S,
        )


def total(counter: Counter | Tallies, **labels: str) -> float:
    """What it has counted since the process began, of these labels or of all."""
    return sum(
        sample.value
        for metric in counter.collect()
        for sample in metric.samples
        if sample.name.endswith("_total") and labels.items() <= sample.labels.items()
    )
