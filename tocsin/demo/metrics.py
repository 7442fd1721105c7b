"""The edge agent's `/metrics`, as numbers. `parse` is pure."""

import urllib.request
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

_LATENCY = "tocsin_edge_receipt_latency_seconds"


class EdgeMetrics(NamedTuple):
    """What the demo shows of the agent; latencies in ms from arrival to receipt, None before the first receipt."""

    messages: int = 0
    journaled: int = 0
    is_connected: bool = False
    latency_p50_ms: float | None = None
    latency_p99_ms: float | None = None
    provider: str = ""


def scrape(port: int) -> EdgeMetrics:
    """Ask the agent on this machine; all zero while it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2) as answer:
            return parse(answer.read().decode())
    except OSError:
        return EdgeMetrics()


def parse(text: str) -> EdgeMetrics:
    """From the Prometheus text format; what is absent counts as 0."""
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    totals: dict[str, float] = {}
    for sample in samples:
        totals[sample.name] = totals.get(sample.name, 0.0) + sample.value
    connected = {s.labels["broker"] for s in samples if s.name == "tocsin_edge_connected" and s.value == 1}
    providers = [s.labels["provider"] for s in samples if s.name == "tocsin_edge_provider_info" and s.value == 1]
    buckets = sorted((float(s.labels["le"]), s.value) for s in samples if s.name == f"{_LATENCY}_bucket")
    return EdgeMetrics(
        messages=int(totals.get("tocsin_edge_messages_total", 0)),
        journaled=int(totals.get("tocsin_edge_readings_total", 0)),
        is_connected=connected >= {"sensor", "uplink"},
        latency_p50_ms=quantile_ms(buckets, 0.50),
        latency_p99_ms=quantile_ms(buckets, 0.99),
        provider=",".join(sorted(providers)),
    )


def quantile_ms(buckets: list[tuple[float, float]], q: float) -> float | None:
    """A quantile of a histogram [(upper bound in s, cumulative count)], linear within a bucket; None when empty.

    Beyond the last finite bound nothing is known but that bound.
    """
    total = buckets[-1][1] if buckets else 0
    if not total:
        return None
    lower_s = below = 0.0
    for upper_s, count in buckets:
        if count >= q * total:
            if upper_s == float("inf"):
                break
            share = (q * total - below) / (count - below) if count > below else 1.0
            return round(1000 * (lower_s + share * (upper_s - lower_s)), 1)
        lower_s, below = upper_s, count
    return round(1000 * lower_s, 1)
