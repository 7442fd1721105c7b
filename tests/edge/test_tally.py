"""Counters without a lock say what those of `prometheus_client` say."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from edge_agent.tally import Tallies, Timings

BOUNDS_S = (2e-5, 0.001, 0.5, 1, 10)
LABELS = st.sampled_from(["cpu", "cuda"])


def text(registry: CollectorRegistry) -> list[str]:
    """What a scrape gets, but for the times at which theirs were made."""
    return sorted(line for line in generate_latest(registry).decode().splitlines() if "_created" not in line)


@given(st.lists(st.tuples(LABELS, st.integers(0, 10**6))))
def test_a_tally_is_a_counter(steps: list[tuple[str, int]]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    tallies, counter = Tallies("a", "b", ["c"], registry=ours), Counter("a", "b", ["c"], registry=theirs)
    for label, count in steps:
        tallies.labels(label).inc(count)
        counter.labels(label).inc(count)
    assert text(ours) == text(theirs)


@given(st.lists(st.tuples(LABELS, st.sampled_from(BOUNDS_S) | st.floats(0, 20))))
def test_a_timing_is_a_histogram(steps: list[tuple[str, float]]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    timings = Timings("a", "b", ["c"], BOUNDS_S, registry=ours)
    histogram = Histogram("a", "b", ["c"], buckets=BOUNDS_S, registry=theirs)
    for label, seconds in steps:
        timings.labels(label).observe(seconds)
        histogram.labels(label).observe(seconds)
    assert text(ours) == text(theirs)
