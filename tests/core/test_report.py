"""From rows to a report: each figure against what it claims to be."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import lognorm, norm

from aggregator.core.report import failing
from aggregator.core.report.alarms import alarms
from aggregator.core.report.assets import assets
from aggregator.core.report.content import Alarm, Forecast
from aggregator.core.report.doubts import TOLD_FROM, fetch_doubts
from aggregator.core.report.forecasts import forecast
from aggregator.core.report.gaps import gaps, gateways
from aggregator.core.report.intervals import Intervals
from aggregator.core.report.moved import moved
from aggregator.core.report.qualities import qualities
from aggregator.core.report.readings import Readings
from aggregator.core.select import Select
from aggregator.core.views import Row
from models.contract.quality import UNCERTAIN_FROM, label

S = 1_000_000_000
HOUR = 3600 * S
SPAN = Intervals(1000 * HOUR, 1010 * HOUR, HOUR)


# --- intervals ---


@given(st.integers(0, 2**60), st.integers(1, 400 * 24 * HOUR))
def test_a_span_is_covered_by_at_most_sixty_intervals_or_so(since_ns: int, length_ns: int) -> None:
    span = Intervals.of(since_ns, since_ns + length_ns)
    assert 1 <= len(span) <= 61  # one more where both ends are cut
    assert span.time_ns(0) == since_ns
    assert span.begin_ns + len(span) * span.every_ns >= span.until_ns > span.time_ns(len(span) - 1)


def test_a_curve_has_a_hole_where_there_is_no_row() -> None:
    rows: list[Row] = [{"time": 1000 * HOUR, "mean": 1.0}, {"time": 1009 * HOUR, "mean": 2.0}]
    assert SPAN.curve(rows, "mean").tolist() == pytest.approx([1.0, *[math.nan] * 8, 2.0], nan_ok=True)


# --- alarms ---


def change(hour: float, name: str = "a", *, is_open: bool = True, severity: float = 0.5, message: str = "m") -> Row:
    return {
        "time": round((1000 + hour) * HOUR),
        "site": "n",
        "asset": "p",
        "code": "wear",
        "is_open": float(is_open),
        "severity": severity,
        "id": name,
        "message": message,
    }


def test_an_alarm_lasts_from_its_first_opening_to_its_closing_and_counts_within_the_span() -> None:
    rows = [
        change(-2, message="first"),
        change(1, severity=0.9, message="worse"),
        change(2, is_open=False, message="back"),
        change(4, "b", message="again"),
        change(4.5, "b", is_open=False),
    ]
    [found] = alarms(rows[::-1], SPAN)
    assert (found.is_open, found.times, found.severity, found.message) == (False, 2, 0.9, "again")
    assert (found.begin_ns, found.end_ns) == (1004 * HOUR, round(1004.5 * HOUR))
    assert found.total_s == 2.5 * 3600


def test_an_open_alarm_goes_on_until_the_spans_end_and_is_told_before_a_newer_closed_one() -> None:
    [found] = alarms([change(-3, "a"), change(5, "b"), change(6, "b", is_open=False)], SPAN)
    assert found.is_open
    assert found.begin_ns == 997 * HOUR
    assert found.total_s == 11 * 3600


def test_a_closing_whose_opening_is_not_stored_any_more_has_no_begin() -> None:
    [found] = alarms([change(3, is_open=False)], SPAN)
    assert (found.begin_ns, found.total_s) == (0, 3 * 3600)


def test_an_alarm_that_closed_before_the_span_is_no_part_of_it() -> None:
    assert alarms([change(-3), change(-1, is_open=False)], SPAN) == ()


# --- remaining life, and what follows from it ---


def test_without_an_interval_of_the_model_the_spread_of_its_forecasts_is_taken_and_called_so() -> None:
    centre = np.arange(10) + 0.5
    failing_at = 30.0 + np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9.0])  # hours after the span's begin
    found = forecast(failing_at - centre, SPAN)
    low, high = np.quantile(failing_at - 10, [0.1, 0.9]).tolist()
    assert found == Forecast(29.0, low, high, "spread of the forecasts")


def test_the_models_own_interval_is_counted_from_the_spans_end_on() -> None:
    curve = np.full(10, np.nan)
    curve[5] = 20.0
    assert forecast(curve, SPAN, 10.0, 30.0) == Forecast(15.5, 5.5, 25.5, "the model's interval")
    assert forecast(curve, SPAN, 30.0, 10.0) == Forecast(15.5, 5.5, 25.5, "the model's interval")
    assert forecast(curve, SPAN) == Forecast(15.5, 15.5, 15.5, "one forecast")
    assert forecast(np.full(10, np.nan), SPAN, 1.0, 2.0) is None


def test_a_life_that_is_over_is_no_less_than_nothing() -> None:
    assert forecast(np.zeros(10), SPAN, 0.0, 0.2) == Forecast(0.0, 0.0, 0.0, "the model's interval")


lives = st.floats(0, 1e5)


@given(lives, lives, st.lists(st.floats(0, 1e5), min_size=2, max_size=20))
def test_a_failure_becomes_likelier_with_time_whatever_the_interval(a: float, b: float, times: list[float]) -> None:
    life = Forecast((a + b) / 2, min(a, b), max(a, b), "the model's interval")
    before = failing.of_forecast(life, np.array(sorted(times)))
    assert np.isfinite(before).all()
    assert ((before >= -1e-12) & (before <= 1 + 1e-12)).all()
    assert all(later >= sooner - 1e-12 for sooner, later in pairwise(before.tolist()))


def test_the_interval_holds_eighty_percent_of_a_log_normal_distribution() -> None:
    life = Forecast(50, 20.0, 80.0, "the model's interval")
    before = failing.of_forecast(life, np.array([0.0, 20.0, 40.0, 80.0, 400.0]))
    assert before[[0, 1, 2, 3]] == pytest.approx([0.0, 0.1, 0.5, 0.9])
    sigma = np.log(4) / (2 * norm.ppf(0.9))
    assert before[4] == pytest.approx(lognorm(sigma, scale=40).cdf(400))


def test_an_interval_down_to_now_is_normal_and_starts_with_a_machine_that_runs() -> None:
    life = Forecast(50, 0.0, 100.0, "the model's interval")
    law = norm(50, 50 / norm.ppf(0.9))
    hours = np.array([0.0, 30.0, 100.0])
    wanted = (law.cdf(hours) - law.cdf(0)) / law.sf(0)
    assert failing.of_forecast(life, hours) == pytest.approx(wanted)


def test_a_failure_probability_holds_for_its_horizon_and_grows_at_a_constant_hazard() -> None:
    before = failing.of_probability(0.19, 24.0, np.array([0.0, 12.0, 24.0, 48.0]))
    assert before == pytest.approx([0.0, 0.1, 0.19, 1 - 0.81**2])
    assert failing.of_probability(1.0, 24.0, np.array([0.0, 1.0])).tolist() == [0.0, 1.0]


# --- assets ---


def score(asset: str, hour: int, model: str = "m", **columns: float) -> Row:
    return {"time": (1000 + hour) * HOUR, "site": "n", "asset": asset, "model": model, "mean": 0.0, **columns}


def newest(asset: str, model: str = "m", **fields: float | None) -> Row:
    return {"time": 1009 * HOUR + 5, "site": "n", "asset": asset, "model": model, "version": "1", **fields}


def open_alarm(asset: str, severity: float, *, is_open: bool = True) -> Alarm:
    return Alarm("n", asset, "wear", is_open, 1, 1, 0 if is_open else 2, 60.0, severity, "m")


def test_risk_is_the_largest_of_alarm_probability_and_health_and_names_it() -> None:
    rows = {"health": [score(name, 9) for name in ("a", "b", "c", "d", "e")]}
    last = [
        newest("a", health=30.0),
        newest("b", health=90.0, failure_prob=0.6),
        newest("c", health=95.0),
        newest("d", health=95.0),
        newest("e", health=95.0),
    ]
    found = assets(rows, last, [open_alarm("c", 0.3), open_alarm("d", 0.8, is_open=False)], [("n", "f")], SPAN)
    assert [(one.name, one.state, round(one.risk, 3), one.reason) for one in found] == [
        ("c", "alarm", 0.3, "alarm wear is open"),
        ("a", "look", 0.7, "health"),
        ("b", "look", 0.6, "failure probability"),
        ("d", "ok", 0.4, "alarm wear was open"),
        ("e", "ok", 0.05, "health"),
        ("f", "not judged", 0.0, ""),
    ]


def test_of_several_models_the_worst_counts() -> None:
    scores = {
        "health": [score("a", 3, "x", mean=80.0), score("a", 3, "y", mean=60.0)],
        "anomaly_score": [score("a", 4, "x", mean=1.0, max=5.0), score("a", 4, "y", mean=2.0, max=3.0)],
        "rul_h": [score("a", 9, "x", mean=50.0), score("a", 9, "y", mean=20.0)],
    }
    last = [newest("a", "x", health=81.0, anomaly_score=1.5), newest("a", "y", health=None, failure_prob=0.1)]
    [found] = assets(scores, last, [], [], SPAN)
    assert found.health == 60.0  # y's newest row says nothing: the mean of its last interval
    assert found.health_curve[3] == 60.0
    assert (found.anomaly, found.anomaly_peak, found.anomaly_peak_ns) == (2.0, 5.0, 1004 * HOUR)
    assert (found.failure_prob, found.forecast) == (0.1, Forecast(19.5, 19.5, 19.5, "one forecast"))


def test_an_asset_without_judgements_at_the_end_is_silent() -> None:
    [found] = assets({"health": [score("a", 5)]}, [newest("a", health=99.0)], [], [], SPAN)
    assert (found.state, found.judged_ns) == ("silent", 1005 * HOUR)
    [found] = assets({"health": [score("a", 6)]}, [newest("a", health=99.0)], [], [], SPAN)
    assert found.state == "ok"


# --- channels that moved ---


def means(channel: str, before: list[float], recent: list[float]) -> list[Row]:
    times = [*range(990, 990 + len(before)), *range(1008, 1008 + len(recent))]
    return [{"time": t * HOUR, "channel": channel, "mean": v} for t, v in zip(times, before + recent, strict=True)]


def test_a_movement_is_told_in_robust_sigmas_of_the_span_before() -> None:
    before = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 1000.0]  # median 4, median deviation 2
    [found] = moved(means("v", before, [40.0, 40.0]), SPAN)
    assert (found.channel, found.before, found.now) == ("v", 4.0, 40.0)
    assert found.sigmas == pytest.approx(36 / (1.4826 * 2))


def test_the_channels_that_moved_most_come_first_and_small_movements_not_at_all() -> None:
    before = [1.0, 2.0, 3.0, 4.0, 5.0]
    rows = [
        *means("little", before, [4.0]),
        *means("down", before, [-30.0]),
        *means("far", before, [90.0]),
        *means("still", [2.0] * 6, [2.5]),
        *means("new", [1.0], [9.0]),
        *means("same", [2.0] * 6, [2.0]),
    ]
    assert [(one.channel, math.copysign(1, one.sigmas)) for one in moved(rows, SPAN)] == [
        ("still", 1.0),
        ("far", 1.0),
        ("down", -1.0),
    ]


# --- gaps ---


def counts(channel: str, each: list[int], asset: str = "p") -> list[Row]:
    return [
        {
            "time": (1000 + at) * HOUR,
            "site": "n",
            "asset": asset,
            "channel": channel,
            "count": float(count),
            "mean": 0.0,
            "max": 0.0,
        }
        for at, count in enumerate(each)
        if count
    ]


def stretches(*rows: list[Row], before: list[Row] | None = None, span: Intervals = SPAN) -> list[tuple[object, ...]]:
    found = gaps(Readings.of([row for each in rows for row in each], span), before or [], span)
    return [(one.channels, one.of, one.begin_ns / HOUR - 1000, one.end_ns / HOUR - 1000, one.is_over) for one in found]


def test_a_hole_in_a_steady_channel_is_a_gap_and_channels_that_share_it_are_told_together() -> None:
    holed, well = [9, 9, 9, 0, 0, 9, 9, 9, 9, 9], [9] * 10
    assert stretches(counts("b", holed), counts("a", holed), counts("c", well)) == [(("a", "b"), 3, 3.0, 5.0, True)]


def test_a_channel_that_ended_goes_on_being_a_gap() -> None:
    assert stretches(counts("a", [9, 9, 9, 9, 9, 9, 0, 0, 0, 0])) == [(("a",), 1, 6.0, 10.0, False)]


def test_a_sparse_channel_has_no_gaps_and_a_slow_one_only_long_ones() -> None:
    assert stretches(counts("a", [1, 0, 0, 0, 0, 0, 1, 0, 0, 1])) == []
    assert stretches(counts("a", [2, 2, 2, 2, 0, 2, 2, 2, 2, 2])) == []
    assert stretches(counts("a", [2, 2, 2, 2, 0, 0, 0, 2, 2, 2])) == [(("a",), 1, 4.0, 7.0, True)]


def test_a_channel_that_had_readings_only_before_the_span_is_silent_for_all_of_it() -> None:
    before: list[Row] = [{"site": "n", "asset": "p", "channel": name} for name in ("often",) * 5 + ("seldom",) * 2]
    assert stretches(counts("a", [9] * 10), before=before) == [(("often",), 2, 0.0, 10.0, False)]


def test_an_interval_that_the_spans_end_cuts_makes_no_gap_alone() -> None:
    cut = Intervals(SPAN.since_ns, SPAN.until_ns - HOUR + S, HOUR)
    assert stretches(counts("a", [9] * 9), span=cut) == []
    assert stretches(counts("a", [9] * 8), span=cut) == [(("a",), 1, 8.0, pytest.approx(9 + 1 / 3600), False)]


def test_what_many_rows_say_is_kept_by_channel_and_interval() -> None:
    rows = [
        {**row, "mean": 2.0 * at, "max": 65.0 * at}
        for at, row in enumerate([*counts("a", [3, 0, 4]), *counts("b", [0, 0, 0, 0, 0, 0, 0, 0, 0, 5])])
    ]
    found = Readings.of(rows[::-1], SPAN)
    assert found.channels == [("n", "p", "b"), ("n", "p", "a")]
    assert found.counts.tolist() == [[0] * 9 + [5], [3, 0, 4] + [0] * 7]
    assert found.code_sums.tolist() == [20.0, 8.0]
    assert found.codes == {0, 65, 130}
    assert Readings.of([], SPAN).totals.tolist() == []


# --- quality and gateways ---


class Codes:
    """A store of quality codes that fulfils what a question for their counts needs."""

    def __init__(self, codes: dict[tuple[str, str, str], list[int]]) -> None:
        self.codes, self.asked = codes, 0

    def every(self) -> list[Row]:
        rows: list[Row] = []
        for (site, asset, channel), codes in self.codes.items():
            counted = {"count": float(len(codes)), "mean": float(np.mean(codes)), "max": float(max(codes))}
            rows.append({"time": SPAN.since_ns, "site": site, "asset": asset, "channel": channel, **counted})
        return rows

    def select(self, question: Select, /) -> list[Row]:
        self.asked += 1
        wanted = set(question.where[0].values)
        return [
            {"site": s, "asset": a, "channel": c, "count": float(count)}
            for (s, a, c), codes in self.codes.items()
            if question.tags in ({}, {"site": s, "asset": a}) and (count := sum(code in wanted for code in codes))
        ]

    def raw(self, text: str, language: str | None = None) -> list[Row]:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


names = st.tuples(st.just("n"), st.integers(0, 80).map(str), st.sampled_from("ab"))
codes = st.lists(st.sampled_from([0, 0, 0, 0, 0x41, 0x4F, 0x81, 0x82, 5, 77, 200]), min_size=1, max_size=20)


@given(st.dictionaries(names, codes | codes.map(lambda few: few + [0] * 3000), max_size=70))
def test_the_shares_of_all_codes_are_those_of_counting_them_one_by_one(
    plant: dict[tuple[str, str, str], list[int]],
) -> None:
    store = Codes(plant)
    readings = Readings.of(store.every(), SPAN)
    found = {
        (one.site, one.asset, one.channel): dict(one.reasons)
        for one in qualities(readings, fetch_doubts(store, SPAN, readings))
    }
    wanted = {}
    for key, each in plant.items():
        shares = {label(code): each.count(code) / len(each) for code in each if code >= UNCERTAIN_FROM}
        if sum(shares.values()) > TOLD_FROM:
            wanted[key] = shares
    assert found == wanted


def test_where_few_readings_are_doubtful_nothing_more_is_asked() -> None:
    store = Codes({("n", "p", "v"): [0x81] + [0] * 1000})
    assert fetch_doubts(store, SPAN, Readings.of(store.every(), SPAN)) == {}
    assert store.asked == 0


def test_reasons_are_shares_of_all_readings_and_few_doubts_are_not_told() -> None:
    rows = [*counts("a", [50, 50]), *counts("b", [100]), *counts("c", [1000])]
    found = qualities(
        Readings.of(rows, SPAN),
        {0x81: counts("a", [20]), 0x41: counts("a", [30]) + counts("c", [10]), 200: counts("b", [7])},
    )
    assert [(one.channel, one.readings, one.reasons) for one in found] == [
        ("a", 100, (("uncertain: spike", 0.3), ("bad: range", 0.2))),
        ("b", 100, (("bad: 200", 0.07),)),
    ]
    assert [one.bad_share for one in found] == [0.2, 0.07]


def test_gateways_tell_what_was_lost_within_the_span_also_over_a_restart() -> None:
    def of(name: str, **fields: float) -> Row:
        return {"site": "n", "gateway": name, **fields}

    end = SPAN.until_ns
    told = gateways(
        [
            of("well", time=end - S, lag_s=1.0, backlog_batches=0.0),
            of("gone", time=end - HOUR),
            of("odd", time=end - S, provider_is_first=0.0, clock_is_behind=1.0),
        ],
        {
            "lost_total": [
                of("gone", time=1, min=5.0, max=7.0),
                of("gone", time=2, min=7.0, max=9.0),
                of("gone", time=3, min=0.0, max=3.0),
            ]
        },
        SPAN,
    )
    assert [(one.name, one.is_silent, one.counts, one.remarks) for one in told] == [
        ("gone", True, (("rows lost on the gateway", 7.0),), ()),
        ("well", False, (), ()),
        ("odd", False, (), ("its clock was set back", "models run on a fall-back provider")),
    ]
