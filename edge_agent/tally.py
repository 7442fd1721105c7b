"""Counters and histograms where each microsecond counts: plain numbers, read when Prometheus asks for them.

Those of `prometheus_client` take a lock each time, which for a small model is a tenth of its run. Only one thread at a
time adds to these.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

_Child = TypeVar("_Child")


class Tally:
    """How many."""

    def __init__(self) -> None:
        self.count = 0

    def inc(self, count: int = 1) -> None:
        """So many more."""
        self.count += count


class Timing:
    """How many seconds, how often."""

    def __init__(self, bounds_s: Sequence[float]) -> None:
        self._bounds_s, self.counts, self.sum_s = bounds_s, [0] * (len(bounds_s) + 1), 0.0

    def observe(self, seconds: float) -> None:
        """Once more. A time that equals a bound lies below it."""
        self.counts[bisect_left(self._bounds_s, seconds)] += 1
        self.sum_s += seconds


class _Labelled(Collector, Generic[_Child]):
    """One for each tuple of labels."""

    def __init__(self, make: Callable[[], _Child], registry: CollectorRegistry) -> None:
        self._make, self._children = make, dict[tuple[str, ...], _Child]()
        registry.register(self)

    def labels(self, *values: str) -> _Child:
        """The one with these labels, from now on listed."""
        return self._children.setdefault(values, self._make())

    def _all(self) -> list[tuple[tuple[str, ...], _Child]]:
        return list(self._children.items())  # another thread may load a model


class Tallies(_Labelled[Tally]):
    """As a labelled `Counter`."""

    def __init__(self, name: str, text: str, labels: Sequence[str], *, registry: CollectorRegistry) -> None:
        self._about = (name, text)
        self._names = labels
        super().__init__(Tally, registry)

    def collect(self) -> Iterator[Metric]:
        """As Prometheus wants it."""
        family = CounterMetricFamily(*self._about, labels=self._names)
        for values, tally in self._all():
            family.add_metric(values, tally.count)
        yield family


class Timings(_Labelled[Timing]):
    """As a labelled `Histogram`."""

    def __init__(
        self, name: str, text: str, labels: Sequence[str], bounds_s: Sequence[float], *, registry: CollectorRegistry
    ) -> None:
        self._about = (name, text)
        self._names, self._ends = labels, [*(str(float(bound)) for bound in bounds_s), "+Inf"]
        super().__init__(lambda: Timing(bounds_s), registry)

    def collect(self) -> Iterator[Metric]:
        """As Prometheus wants it: each bucket holds those below it too."""
        family = HistogramMetricFamily(*self._about, labels=self._names)
        for values, timing in self._all():
            upto = accumulate(list(timing.counts))
            family.add_metric(values, list(zip(self._ends, upto, strict=True)), timing.sum_s)
        yield family
