"""From scores to alarms."""

import math
import re
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_agent.core.decide import Decide
from edge_agent.core.model import Scores
from models.contract.batch import Alarm
from models.manifest import Manifest


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


def step(decide: Decide, assets: list[str], times: list[int], scores: Scores) -> list[Alarm]:
    """Assets in the order of their names."""
    names = sorted(set(assets))
    decide.grow(len(names))
    return decide.step(names, np.array([names.index(asset) for asset in assets], np.intp), np.array(times), scores)


def decided(decide: Decide, scores: list[float], start: int = 1) -> list[Alarm]:
    fields: dict[str, NDArray[np.float64]] = {decide.manifest.threshold.output: np.array(scores, float)}
    return step(decide, ["a"] * len(scores), list(range(start, start + len(scores))), Scores(fields, None))


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
        ([10, NAN, 10, 10], {"open_after": 2}, [(3, True)]),  # no evidence for either side
        ([10, 9, NAN, 10, 10], {"open_after": 2}, [(5, True)]),
        ([10, 5, NAN, 5], {"close_after": 2}, [(1, True), (4, False)]),
        ([10, NAN, NAN], {}, [(1, True)]),
        ([NAN, NAN, 10, NAN, 10], {"evidence": 2, "evidence_windows": 3}, [(5, True)]),
        ([NAN, 10, NAN, NAN, 10, NAN, 10], {"evidence": 2, "evidence_windows": 3}, [(7, True)]),
        ([10, 10, NAN, NAN, NAN, 5], {"evidence": 2, "evidence_windows": 2}, [(2, True), (6, False)]),
        ([10, 10, 10], {"evidence": 3, "evidence_windows": 3}, [(3, True)]),
        ([30, 20, 24, 25], {"output": "rul_h", "above": False, "open_at": 20.0, "close_at": 25.0}, [(2, 1), (4, 0)]),
        ([10, 10, 9], {"close_at": 10.0}, [(1, True), (2, False)]),
    ],
)
def test_an_alarm_opens_and_closes_with_hysteresis_and_after_enough_windows_in_a_row(
    scores: list[float], threshold: dict[str, Any], expected: list[tuple[int, bool]]
) -> None:
    assert changes(scores, **threshold) == expected


Limits = tuple[int, int, int, int, int]  # open_after, close_after, evidence, evidence_windows, blind_after


def one_by_one(scores: list[float], limits: Limits) -> list[tuple[int, bool, str]]:
    """(time, is open, kind) by a loop over the windows of one asset: what `Decide` has to give."""
    open_after, close_after, evidence, evidence_windows, blind_after = limits
    found, opened, streak, blind, seen = [], 0, 0, 0, [False] * evidence_windows
    for time, score in enumerate(scores, 1):
        is_scored = not math.isnan(score)
        seen = [*seen[1:], is_scored]
        was_blind, blind = blind, 0 if is_scored else blind + 1
        if not is_scored:
            if opened and blind == blind_after:
                found.append((time, True, "still open"))
            continue
        streak = streak + 1 if (score <= 5 if opened else score >= 10) else 0
        if opened and streak >= close_after:
            opened, streak = 0, 0
            found.append((time, False, "anomaly"))
        elif not opened and streak >= open_after and sum(seen) >= evidence:
            opened, streak = time, 0
            found.append((time, True, "anomaly"))
        elif opened and was_blind >= blind_after:
            found.append((time, True, "judged"))
    return found


windows = st.integers(0, 15).map(float) | st.just(NAN)


@given(
    st.dictionaries(st.sampled_from("abcd"), st.lists(windows, min_size=1, max_size=40), min_size=1),
    st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(3, 6), st.integers(1, 4)),
    st.lists(st.integers(0, 40), max_size=4),
    st.sampled_from([1, 3, 4096]),
)
@settings(deadline=None)
def test_any_cut_gives_the_same_alarms_as_a_loop_over_the_windows_of_each_asset(
    scores: dict[str, list[float]], limits: Limits, cuts: list[int], at_once: int
) -> None:
    keys = ("open_after", "close_after", "evidence", "evidence_windows", "blind_after")
    decide, names = Decide(manifest(**dict(zip(keys, limits, strict=True)))), sorted(scores)
    decide.grow(len(names))
    bounds = [0, *sorted(cuts), 40]
    found: dict[str, list[tuple[int, bool, str]]] = {name: [] for name in names}
    for start, end in pairwise(bounds):
        rows = [(n, t, x) for n, name in enumerate(names) for t, x in enumerate(scores[name], 1) if start < t <= end]
        asset, time, score = (np.array(column) for column in zip(*rows, strict=True)) if rows else ([], [], [])
        with patch("edge_agent.core.decide._ROWS", at_once):
            for alarm in decide.step(
                names,
                np.array(asset, np.intp),
                np.array(time, np.int64),
                Scores({"anomaly_score": np.array(score)}, None),
            ):
                kind = re.match("anomaly|still open|judged", alarm.message)
                assert kind is not None
                found[alarm.asset].append((alarm.time_ns, alarm.is_open, kind[0]))
                opened = alarm.time_ns if kind[0] == "anomaly" and alarm.is_open else opened_at(found[alarm.asset])
                assert alarm.id == f"{alarm.asset}/wear/{opened}"
    assert found == {name: one_by_one(scores[name], limits) for name in names}


def opened_at(changes: list[tuple[int, bool, str]]) -> int:
    return [time for time, is_open, kind in changes if is_open and kind == "anomaly"][-1]


def test_an_open_alarm_that_is_not_judged_for_long_says_so_and_says_when_it_is_judged_again() -> None:
    found = decided(Decide(manifest(blind_after=3)), [10, NAN, NAN, NAN, NAN, 7, 5])
    assert [(alarm.time_ns, alarm.is_open, alarm.message) for alarm in found] == [
        (1, True, "anomaly score 10 above 10"),
        (4, True, "still open, but not judged: the last 3 windows could not be scored"),
        (6, True, "judged again and still open: anomaly score 7"),
        (7, False, "anomaly score 5 is back within 5"),
    ]
    assert {alarm.id for alarm in found} == {"a/wear/1"}


def test_another_version_goes_on_with_the_open_alarm_and_the_windows_in_a_row() -> None:
    old, same, other = Decide(manifest(open_after=3)), Decide(manifest(open_after=3)), Decide(manifest(open_after=2))
    decided(old, [10, 10])
    for new in (same, other):
        new.grow(1)
        new.take_over(old, np.array([0]))
    assert [alarm.time_ns for alarm in decided(same, [10], 3)] == [3]
    assert [alarm.time_ns for alarm in decided(other, [10, 10], 3)] == [4]  # other limits: counted anew
    opened = Decide(manifest())
    opened.grow(1)
    opened.take_over(same, np.array([0]))
    (closed,) = decided(opened, [5], 4)
    assert (closed.is_open, closed.id) == (False, "a/wear/3")
    assert decided(same, [5], 4) == []  # it is no longer its


def test_what_is_open_when_nobody_judges_an_asset_any_more_is_closed_with_a_word() -> None:
    decide = Decide(manifest())
    decided(decide, [10], 7)
    (closed,) = decide.close(["a"], np.array([0]), 3)
    assert (closed.time_ns, closed.is_open, closed.id) == (8, False, "a/wear/7")  # never before its opening
    assert closed.message == "closed without a judgement: no model wear watches this asset any more"
    assert decide.close(["a"], np.array([0]), 9) == []


def test_opening_and_closing_share_an_id_that_a_replay_gives_again() -> None:
    first, again = (decided(Decide(manifest(severity=0.7)), [10, 5, 11]) for _ in range(2))
    assert first == again
    opened, closed, reopened = first
    assert opened.id == closed.id != reopened.id
    assert (opened.asset, opened.code, opened.severity) == ("a", "wear", 0.7)


def test_assets_have_alarms_of_their_own() -> None:
    fields = {"anomaly_score": np.array([10.0, 10.0, 10.0, 1.0])}
    found = step(Decide(manifest(open_after=2)), ["a", "b", "a", "b"], [1, 1, 2, 2], Scores(fields, None))
    assert [(alarm.asset, alarm.time_ns) for alarm in found] == [("a", 2)]


def test_the_message_names_the_channels_that_contribute_most_and_none_of_little_weight() -> None:
    share = np.array([[0.05, 0.6, 0.3, 0.05], [0.25, 0.25, 0.25, 0.25], [0.05, 0.05, 0.05, 0.05]])
    scores = Scores({"anomaly_score": np.array([12.0, 12.0, 12.0])}, share)
    two, three, none = step(Decide(manifest()), ["a", "b", "c"], [1, 1, 1], scores)
    assert two.message == "anomaly score 12 above 10: p 60 %, i 30 %"
    assert three.message.endswith("10: t 25 %, p 25 %, i 25 %")
    assert none.message == "anomaly score 12 above 10"


def test_the_message_of_a_quality_model_says_which_way_to_move_each_channel() -> None:
    share = np.array([[0.15, 0.6, 0.2, 0.05], [np.nan] * 4])
    push = np.array([[0.01, -0.9, 0.4, 1.0], [0.3, -0.02, 0.0, -0.5]])
    limits = {"output": "quality_score", "above": False, "open_at": 70.0, "close_at": 80.0}
    fields = {"quality_score": np.array([62.0, 61.0])}
    named, unnamed = step(Decide(manifest(**limits)), ["a", "b"], [1, 1], Scores(fields, share, push))
    assert named.message == "quality score 62 below 70: lower p 60 %, raise i 20 %, t 15 %"
    assert unnamed.message == "quality score 61 below 70"
    (by_push,) = step(
        Decide(manifest(**limits)), ["a"], [1], Scores({"quality_score": np.array([60.0])}, None, push[1:])
    )
    assert by_push.message == "quality score 60 below 70: lower n, raise t"


def test_the_message_of_a_closing_names_the_limit_it_is_back_within() -> None:
    _, closed = decided(Decide(manifest()), [10, 4.5])
    assert closed.message == "anomaly score 4.5 is back within 5"


def test_evidence_of_more_windows_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="evidence 3 is more than there are in evidence_windows 2"):
        manifest(evidence=3, evidence_windows=2)
