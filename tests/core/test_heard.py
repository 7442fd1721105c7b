"""What the aggregator knows of each gateway's clock and of its own vitals."""

import numpy as np

from aggregator.core.heard import Heard, times
from aggregator.core.points import Points, Table
from aggregator.core.vitals import STILL_S, Vitals, ailments, wants
from aggregator.metrics import Metrics
from aggregator.watch import Watch

SECOND = 1_000_000_000
NOW = 1_760_000_000 * SECOND
GATEWAY = ("north", "gw1")
WELL = Vitals(loop_age_s=0.0, is_connected=True, is_store_up=True, write_failures=0.0, is_store_misconfigured=False)


def points(newest_ns: int, beat_ns: int | None = None, lag_s: float = 0.1) -> Points:
    zero = np.zeros(1, np.int32)
    reading = Table("reading", [("n", "a", "c")], zero, np.array([newest_ns]), {"value": np.ones(1)})
    if beat_ns is None:
        return Points((reading,))
    beat = Table("gateway", [GATEWAY], zero, np.array([beat_ns]), {"lag_s": np.array([lag_s])})
    return Points((reading, beat))


def test_a_slow_way_does_not_look_like_a_clock_that_is_behind() -> None:
    heard = Heard()
    for number, delay_s in enumerate([0.2, 40.0, 0.3, 3.0]):
        sealed_ns = NOW + number * 10 * SECOND
        heard.add(GATEWAY, sealed_ns + int((5 + delay_s) * SECOND), sealed_ns)
    skew_s = heard.known()[GATEWAY].skew_s
    assert skew_s is not None
    assert round(skew_s, 3) == 5.2


def test_a_clock_that_was_put_right_is_believed_after_a_while() -> None:
    heard = Heard()
    for skew_s in [-900.0] * 3 + [0.1] * 8:
        heard.add(GATEWAY, NOW, NOW - int(skew_s * SECOND))
    assert heard.known()[GATEWAY].skew_s == 0.1


def test_heartbeats_of_a_gateway_that_was_behind_say_nothing_of_its_clock() -> None:
    assert times(points(NOW, NOW + 5, lag_s=0.2)) == (NOW, NOW + 5)
    assert times(points(NOW, NOW + 5, lag_s=60.0)) == (NOW, None)
    assert times(points(NOW)) == (NOW, None)
    assert times(Points()) == (None, None)


def test_beyond_the_bound_the_gateway_longest_unheard_of_is_forgotten() -> None:
    heard = Heard(max_gateways=2)
    for name in ("a", "b", "a", "c"):
        heard.add(("s", name), NOW, None)
    assert list(heard.known()) == [("s", "a"), ("s", "c")]


def test_the_metrics_say_when_each_gateway_was_heard_how_late_and_how_its_clock_goes() -> None:
    metrics = Metrics()
    watch = Watch(metrics)
    watch.stored(GATEWAY, points(NOW - 2 * SECOND, NOW - SECOND), NOW)
    watch.report()
    value, labels = metrics.registry.get_sample_value, {"site": "north", "gateway": "gw1"}
    assert value("tocsin_aggregator_last_heard_timestamp_seconds", labels) == NOW / 1e9
    assert value("tocsin_aggregator_clock_skew_seconds", labels) == 1.0
    assert value("tocsin_aggregator_lag_seconds_sum") == 2.0


def test_the_oldest_in_hand_is_the_one_that_was_taken_in_first() -> None:
    metrics = Metrics()

    def oldest() -> float:
        return metrics.registry.get_sample_value("tocsin_aggregator_oldest_waiting_seconds") or 0.0

    assert oldest() == 0
    with metrics.in_hand(-1000.0), metrics.in_hand(1e12):
        assert oldest() >= 1000
    assert oldest() == 0


def test_a_store_or_broker_that_is_away_is_a_reason_to_wait_and_none_to_be_restarted() -> None:
    away = WELL._replace(is_connected=False, is_store_up=False, write_failures=3.0)
    assert ailments(away) == {}
    assert set(wants(away)) == {"broker", "store"}
    assert wants(WELL) == {}


def test_a_store_that_was_never_tried_is_no_reason_to_wait() -> None:
    assert wants(WELL._replace(is_store_up=False)) == {}


def test_a_store_that_needs_a_person_is_named_as_that() -> None:
    found = wants(WELL._replace(is_store_up=False, is_store_misconfigured=True, write_failures=1.0))
    assert "person" in found["store"]


def test_a_loop_that_stands_still_is_neither_alive_nor_ready() -> None:
    still = WELL._replace(loop_age_s=STILL_S + 1)
    assert list(ailments(still)) == list(wants(still)) == ["loop"]
    assert ailments(WELL._replace(loop_age_s=STILL_S)) == {}
