"""The map of gaps against a set that remembers everything."""

from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from aggregator.core.gaps import GapMap, Missing
from aggregator.metrics import Metrics
from aggregator.watch import Watch

GATEWAY = ("north", "gw1")
arrivals = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 59), st.floats(0, 10)), min_size=1, max_size=60)


class Naive:
    """All seqs ever seen, and the floor."""

    def __init__(self) -> None:
        self.seen: set[int] = set()
        self.floor = 0
        self.highest = 0
        self.oldest, self.since_s = 0, 0.0

    def add(self, seq: int, floor: int, now_s: float) -> bool:
        before = self.floor or floor
        is_repeated = seq in self.seen or seq < before
        if seq >= before:  # what is settled makes nothing newer
            self.highest = max(self.highest, seq)
        self.seen.add(seq)
        self.floor = max(before, floor)
        oldest = min(self.missing(), default=0)
        if oldest != self.oldest:
            self.oldest, self.since_s = oldest, now_s
        return is_repeated

    def missing(self) -> list[int]:
        return [seq for seq in range(self.floor, self.highest + 1) if seq not in self.seen]


@given(arrivals)
@settings(max_examples=500)
def test_the_map_says_what_a_set_would_say(script: list[tuple[int, int, float]]) -> None:
    naive, gaps, now_s = Naive(), GapMap(), 0.0
    for seq, below, wait_s in script:
        now_s += wait_s
        floor = max(1, seq - below)
        assert gaps.add(GATEWAY, "e", seq, floor, now_s).is_repeated == naive.add(seq, floor, now_s)
        expected = naive.missing()
        age_s = now_s - naive.since_s if expected else 0.0
        assert gaps.missing(now_s)[GATEWAY] == Missing(len(expected), naive.oldest, age_s)


@given(arrivals, st.integers(2, 4))
@settings(max_examples=300)
def test_a_bounded_map_never_names_too_many(script: list[tuple[int, int, float]], bound: int) -> None:
    whole, small = GapMap(), GapMap(max_intervals=bound)
    for seq, below, _ in script:
        floor = max(1, seq - below)
        whole.add(GATEWAY, "e", seq, floor, 0.0)
        small.add(GATEWAY, "e", seq, floor, 0.0)
        assert small.missing(0.0)[GATEWAY].batches <= whole.missing(0.0)[GATEWAY].batches


def test_a_bounded_map_keeps_the_oldest_hole() -> None:
    gaps = GapMap(max_intervals=3)
    for seq in range(2, 200, 2):
        gaps.add(GATEWAY, "e", seq, 1, 0.0)
    assert gaps.missing(9.0)[GATEWAY] == Missing(3, 1, 9.0)


def test_a_floor_that_moves_on_closes_holes() -> None:
    gaps = GapMap()
    gaps.add(GATEWAY, "e", 1, 1, 0.0)
    gaps.add(GATEWAY, "e", 5, 1, 1.0)
    assert gaps.missing(31.0)[GATEWAY] == Missing(3, 2, 30.0)
    gaps.add(GATEWAY, "e", 6, 4, 40.0)
    assert gaps.missing(50.0)[GATEWAY] == Missing(1, 4, 10.0)
    gaps.add(GATEWAY, "e", 7, 6, 60.0)
    assert gaps.missing(70.0)[GATEWAY] == Missing(0, 0, 0.0)


def test_a_floor_that_cannot_be_misses_nothing() -> None:
    gaps = GapMap()
    for oldest in (0, -3, 8, 2**70):
        gaps.add(GATEWAY, "e", 7, oldest, 0.0)
        assert gaps.missing(0.0)[GATEWAY].batches == 0


def test_a_new_outbox_is_noticed_once_also_when_two_take_turns() -> None:
    gaps = GapMap()
    found = [gaps.add(GATEWAY, epoch, 1, 1, 0.0).replaced for epoch in ("a", "b", "a", "b", "a")]
    assert found == ["", "a", "", "", ""]


def test_of_many_gateways_the_one_longest_unheard_of_is_forgotten() -> None:
    gaps = GapMap(max_gateways=2)
    for name in ("a", "b", "a", "c"):
        gaps.add(("s", name), "e", 1, 1, 0.0)
    assert set(gaps.missing(0.0)) == {("s", "a"), ("s", "c")}


def test_a_batch_that_does_not_get_through_stands_in_the_metrics_and_goes_when_it_came() -> None:
    now_s = 0.0
    metrics = Metrics()
    watch = Watch(metrics, late_s=60, clock=lambda: now_s)

    def value(name: str) -> float | None:
        labels = {"site": "north", "gateway": "gw1"}
        return metrics.registry.get_sample_value(f"tocsin_aggregator_{name}", labels)

    for seq in (1, 3, 3):
        watch.seen(GATEWAY, "e", seq, 1)
    now_s = 61.0
    watch.report()
    assert (value("missing_batches"), value("missing_age_seconds")) == (1, 61)
    assert metrics.registry.get_sample_value("tocsin_aggregator_batches_repeated_total") == 1
    watch.seen(GATEWAY, "e", 2, 2)
    watch.report()
    assert (value("missing_batches"), value("missing_age_seconds")) == (0, 0)


def test_a_batch_that_is_held_is_told_of_once_and_again_when_an_hour_passed_without() -> None:
    watch = Watch(Metrics(), clock=iter([0.0, 3000.0, 6000.0, 9601.0]).__next__)
    with capture_logs() as said:
        for _ in range(4):
            watch.held("tocsin/v1/north/gw1/batch", "a reason")
    assert len(said) == 2


def test_a_gateway_that_does_not_name_its_oldest_is_not_watched() -> None:
    metrics = Metrics()
    watch = Watch(metrics)
    watch.seen(GATEWAY, "e", 5, None)
    watch.report()
    assert [metric.samples for metric in metrics.missing_batches.collect()] == [[]]
