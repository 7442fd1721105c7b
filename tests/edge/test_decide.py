"""From scores to alarms."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.core.decide import Decide, Scores
from models.bundle import Manifest
from models.contract.batch import Alarm


def manifest(**threshold: Any) -> Manifest:
    limits = {"output": "anomaly_score", "open_at": 10.0, "close_at": 5.0} | threshold
    return Manifest.model_validate(
        {
            "name": "wear",
            "version": "1",
            "kind": "anomaly",
            "channels": [{"name": name} for name in ("t", "p", "i", "n")],
            "sample_period_s": 1.0,
            "window": 1,
            "outputs": [limits["output"], "contribution"],
            "threshold": limits,
            "trained_on": "nothing",
        }
    )


def decided(decide: Decide, scores: list[float], start: int = 1, asset: str = "a") -> list[Alarm]:
    times = np.arange(start, start + len(scores), dtype=np.int64)
    output: str = decide.manifest.threshold.output
    fields = {output: np.array(scores)}
    return decide.step([asset] * len(scores), times, Scores(fields, None))


def changes(scores: list[float], **threshold: Any) -> list[tuple[int, bool]]:
    return [(alarm.time_ns, alarm.is_open) for alarm in decided(Decide(manifest(**threshold)), scores)]


NAN = float("nan")


@pytest.mark.parametrize(
    ("scores", "threshold", "expected"),
    [
        ([1, 9, 10, 11, 5], {}, [(3, True), (5, False)]),
        ([10, 9, 6, 10, 6], {}, [(1, True)]),  # between the limits nothing changes
        ([9.999], {}, []),
        ([10, 5, 10, 5], {}, [(1, True), (2, False), (3, True), (4, False)]),
        ([10, 10, 9, 10, 10, 10], {"open_after": 3}, [(6, True)]),
        ([10, 5, 5, 6, 5, 5, 5], {"close_after": 3}, [(1, True), (7, False)]),
        ([10, 10, 5, 5, 10, 10], {"open_after": 2, "close_after": 2}, [(2, True), (4, False), (6, True)]),
        ([10, NAN, 10, 10], {"open_after": 2}, [(4, True)]),
        ([10, NAN, NAN], {}, [(1, True)]),
        ([30, 20, 24, 25], {"output": "rul_h", "above": False, "open_at": 20.0, "close_at": 25.0}, [(2, 1), (4, 0)]),
        ([10, 10, 9], {"close_at": 10.0}, [(1, True), (2, False)]),
    ],
)
def test_an_alarm_opens_and_closes_with_hysteresis_and_after_enough_windows_in_a_row(
    scores: list[float], threshold: dict[str, Any], expected: list[tuple[int, bool]]
) -> None:
    assert changes(scores, **threshold) == expected


@given(
    st.lists(st.integers(0, 15), max_size=40),
    st.integers(1, 4),
    st.integers(1, 4),
    st.lists(st.integers(0, 40), max_size=4),
)
@settings(deadline=None)
def test_any_cut_gives_the_same_alarms_as_a_loop_over_the_scores(
    scores: list[int], open_after: int, close_after: int, cuts: list[int]
) -> None:
    expected, is_open, since = [], False, 0
    for i, score in enumerate(scores):
        towards = score <= 5 if is_open else score >= 10
        since = since + 1 if towards else 0
        if since >= (close_after if is_open else open_after):
            is_open, since = not is_open, 0
            expected.append((i + 1, is_open))
    decide = Decide(manifest(open_after=open_after, close_after=close_after))
    bounds = [0, *sorted(min(c, len(scores)) for c in cuts), len(scores)]
    found = []
    for start, end in pairwise(bounds):
        found += decided(decide, [float(s) for s in scores[start:end]], start + 1)
    assert [(alarm.time_ns, alarm.is_open) for alarm in found] == expected


def test_opening_and_closing_share_an_id_that_a_replay_gives_again() -> None:
    first, again = (decided(Decide(manifest(severity=0.7)), [10, 5, 11]) for _ in range(2))
    assert first == again
    opened, closed, reopened = first
    assert opened.id == closed.id != reopened.id
    assert (opened.asset, opened.code, opened.severity) == ("a", "wear", 0.7)


def test_assets_have_alarms_of_their_own() -> None:
    decide = Decide(manifest(open_after=2))
    fields = {"anomaly_score": np.array([10.0, 10.0, 10.0, 1.0])}
    found = decide.step(["a", "b", "a", "b"], np.array([1, 1, 2, 2], np.int64), Scores(fields, None))
    assert [(alarm.asset, alarm.time_ns) for alarm in found] == [("a", 2)]


def test_the_message_names_the_channels_that_contribute_most_and_none_of_little_weight() -> None:
    share = np.array([[0.05, 0.6, 0.3, 0.05], [0.25, 0.25, 0.25, 0.25], [0.05, 0.05, 0.05, 0.05]])
    times, scores = np.array([1, 1, 1], np.int64), {"anomaly_score": np.array([12.0, 12.0, 12.0])}
    two, three, none = Decide(manifest()).step("abc", times, Scores(scores, share))
    assert two.message == "anomaly score 12 above 10: p 60 %, i 30 %"
    assert three.message.endswith("10: t 25 %, p 25 %, i 25 %")
    assert none.message == "anomaly score 12 above 10"


def test_the_message_of_a_closing_names_the_limit_it_is_back_within() -> None:
    _, closed = decided(Decide(manifest()), [10, 4.5])
    assert closed.message == "anomaly score 4.5 is back within 5"
