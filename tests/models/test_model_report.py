"""Figures are those of outside oracles; the report is one file that holds all it shows."""

import re
from functools import cache
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.evaluation.metrics import alarms, coverage, hysteresis, precision_recall, reliability, roc
from models.manifest import Channel, Manifest, Threshold

metrics = pytest.importorskip("sklearn.metrics")
calibration = pytest.importorskip("sklearn.calibration")

LABELS = st.lists(st.tuples(st.booleans(), st.integers(-5, 5)), min_size=2, max_size=40).filter(
    lambda rows: 0 < sum(wrong for wrong, _ in rows) < len(rows)
)


@settings(max_examples=40, deadline=None)
@given(LABELS)
def test_areas_are_those_of_scikit_learn_also_with_equal_scores(rows: list[tuple[bool, int]]) -> None:
    wrong, scores = np.array([w for w, _ in rows]), np.array([float(s) for _, s in rows])
    assert roc(wrong, scores).area == pytest.approx(metrics.roc_auc_score(wrong, scores))
    found = precision_recall(wrong, scores)
    assert found.area == pytest.approx(metrics.average_precision_score(wrong, scores))
    precision, recall, _ = metrics.precision_recall_curve(wrong, scores)
    np.testing.assert_allclose(found.y[::-1], precision[:-1])
    np.testing.assert_allclose(found.x[::-1], recall[:-1])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60))
def test_reliability_is_that_of_scikit_learn(rows: list[tuple[float, bool]]) -> None:
    probability, happened = np.array([p for p, _ in rows]), np.array([h for _, h in rows])
    # Theirs puts an edge into the bin below it, ours above: edges are left out.
    probability = np.where(np.isclose(probability * 10 % 1, 0), 0.55, probability)
    found = reliability(probability, happened)
    observed, predicted = calibration.calibration_curve(happened.astype(int), probability, n_bins=10)
    np.testing.assert_allclose(found.predicted, predicted)
    np.testing.assert_allclose(found.observed, observed)
    assert found.cases.sum() == len(rows)
    assert found.brier == pytest.approx(((probability - happened) ** 2).mean())


def test_events_delays_and_false_alarms_are_counted() -> None:
    wrong = np.array([0, 0, 1, 1, 1, 0, 0, 1, 1, 0, 0, 0], np.bool_)
    opened = np.array([0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 1, 0], np.bool_)
    found = alarms([opened], [wrong], 2.0)
    assert (found.events, found.found, found.false_alarms) == (2, 1, 1)
    assert found.delays_s.tolist() == [2.0]
    assert found.well_s == 14.0
    assert found.well_open_s == 4.0


def test_an_event_that_an_open_alarm_met_is_not_found_unless_one_opens_in_it() -> None:
    wrong = np.array([0, 0, 1, 1, 0, 0, 1, 1, 1, 0], np.bool_)
    opened = np.array([0, 1, 1, 1, 1, 1, 1, 0, 1, 1], np.bool_)
    found = alarms([opened], [wrong], 1.0)
    assert (found.events, found.found, found.already_open, found.false_alarms) == (2, 1, 1, 0)
    assert found.delays_s.tolist() == [2.0]
    assert found.well_open_s == 4.0


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=40))
def test_each_event_is_found_or_met_by_an_open_alarm_or_missed(rows: list[tuple[bool, bool]]) -> None:
    opened, wrong = (np.array([row[at] for row in rows], np.bool_) for at in (0, 1))
    found = alarms([opened], [wrong], 1.0)
    assert found.found + found.already_open <= found.events
    assert found.well_open_s + float((opened & wrong).sum()) == float(opened.sum())
    events = [
        range(begin, next((at for at in range(begin, len(wrong)) if not wrong[at]), len(wrong)))
        for begin in range(len(wrong))
        if wrong[begin] and not wrong[:begin][-1:].any()
    ]
    assert found.events == len(events)
    assert found.found + found.already_open == sum(bool(opened[list(event)].any()) for event in events)


def test_coverage_counts_both_ends() -> None:
    one = np.array([1.0, 2.0, 3.0, 4.0])
    assert coverage(one - 1, one, np.array([1.0, 0.9, 3.0, 4.1])) == 0.5


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 2), max_size=40), st.integers(1, 4), st.integers(1, 4), st.booleans())
def test_an_alarm_opens_and_closes_as_its_rule_says(
    values: list[float], open_after: int, close_after: int, above: bool
) -> None:
    scores = np.array(values) if above else 2 - np.array(values)
    found = hysteresis(
        scores,
        open_at=1.0,
        close_at=0.8 if above else 1.2,
        open_after=open_after,
        close_after=close_after,
        above=above,
    )
    is_open, beyond, back, expected = False, 0, 0, []
    for value in values:
        beyond = beyond + 1 if value >= 1.0 else 0
        back = back + 1 if value <= 0.8 else 0
        is_open = beyond >= open_after or (is_open and back < close_after)
        expected.append(is_open)
    assert found.tolist() == expected


class _Checker(HTMLParser):
    """Whether every element is closed, and what the page asks for."""

    VOID = frozenset({"meta", "br", "hr", "img", "link", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wanted: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        self.wanted += [value or "" for name, value in attrs if name in {"src", "href", "xlink:href"}]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def _page() -> str:
    pytest.importorskip("matplotlib")
    pytest.importorskip("onnx")
    from models.evaluation.judging.anomaly import JudgedAnomaly, JudgedRun
    from models.evaluation.report import anomaly
    from models.evaluation.report.page import page
    from models.training.anomaly.calibrate import Budget, calibrate

    rng = np.random.default_rng(0)
    held_out = [rng.gamma(2, size=2000)]
    limit = calibrate(held_out, Budget(), sample_period_s=60.0)
    score = rng.gamma(2, size=500) / limit.limit
    score[300:400] += 2
    wrong: NDArray[np.bool_] = (np.arange(500) >= 300) & (np.arange(500) < 400)
    run = JudgedRun("<pump & co>", np.arange(500) * 60 * 10**9, score, rng.dirichlet([1, 1], 500), score > 1, wrong)
    judged = JudgedAnomaly(
        (run,), alarms([run.is_open], [wrong], 60.0), roc(wrong, score), precision_recall(wrong, score)
    )
    manifest = Manifest(
        name="pump",
        version="1",
        kind="anomaly",
        channels=(Channel(name="a<b"), Channel(name="c")),
        sample_period_s=60.0,
        window=1,
        outputs=("anomaly_score",),
        threshold=Threshold(output="anomaly_score", open_at=1, close_at=0.9),
        trained_on="",
    )
    charts = list(anomaly.charts(manifest, judged, limit, held_out, has_times=True))
    assert len(charts) == 7
    return page("pump <1>", "lead", ["mind & see"], {"Figures": {"a<b": "1"}}, charts)


_first_page = cache(_page)


def test_the_page_is_whole_escaped_and_asks_for_nothing_from_elsewhere() -> None:
    text = _first_page()
    checker = _Checker()
    checker.feed(text)
    assert checker.open == []
    assert all(place.startswith("#") for place in checker.wanted)
    assert "<script" not in text
    assert "@import" not in text
    assert "url(http" not in text
    assert "pump &lt;1&gt;" in text
    assert "<pump" not in text
    assert "prefers-color-scheme: dark" in text
    assert "currentColor" in text
    assert not re.search(r"(?:stroke|fill): ?(?:#000000|black)", text)


def test_the_same_figures_give_the_same_page() -> None:
    assert _page() == _first_page()


def test_a_long_series_is_thinned_without_losing_a_peak() -> None:
    pytest.importorskip("matplotlib")
    from models.evaluation.report.charts import thinned

    values = np.zeros(100_000)
    values[54_321] = 9
    time, thin = thinned(np.arange(100_000.0), values)
    assert len(time) == len(thin) <= 1600
    assert thin.max() == 9
