"""What the test part says against a model is told in a line, with a cure that the method has; a good one is let be."""

import numpy as np
import pytest

pytest.importorskip("scipy")

from models.evaluation.metrics import Alarms
from models.training import doubts
from models.training.anomaly.calibrate import WEEK_S, Budget

GOOD = {"held_out_rmse_h": 10.0, "held_out_rmse_of_mean_h": 40.0, "held_out_coverage": 0.78}


def _alarms(false_alarms: int = 0, in_alarm: float = 0.0, already_open: int = 0, weeks: float = 2.0) -> Alarms:
    return Alarms(3, 0, already_open, np.empty(0), false_alarms, weeks * WEEK_S, in_alarm * weeks * WEEK_S)


def _said(found: Alarms, *, per_week: float = 1.0, has_labels: bool = True, follow: float | None = None) -> list[str]:
    budget = Budget(alarms_per_week=per_week)
    return list(doubts.of_alarms(found, budget, has_labels=has_labels, follow=follow))


def test_alarms_within_the_budget_and_a_twentieth_of_the_time_are_no_doubt() -> None:
    assert _said(_alarms(false_alarms=3, in_alarm=0.05)) == []
    assert _said(_alarms(weeks=0)) == []


def test_a_machine_that_is_in_alarm_while_well_is_told_with_the_events_that_tell_nothing() -> None:
    (text,) = _said(_alarms(in_alarm=0.45, already_open=2))
    assert "in 45% of the healthy test time, and before 2 of 3 events began" in text
    assert "follow" not in text
    (text,) = _said(_alarms(in_alarm=0.45), follow=0.3, has_labels=False)
    assert "with model.follow above 0.3" in text
    assert "began" not in text
    assert "without labels all of the time counts as healthy" in text


def test_more_false_alarms_than_chance_makes_of_the_budget_are_told() -> None:
    (text,) = _said(_alarms(false_alarms=18, weeks=0.75), per_week=0.5)
    assert "18 false alarms in the test part, 24 a week, where 0.5 was asked for" in text


def test_lives_that_are_told_well_enough_are_no_doubt() -> None:
    assert list(doubts.of_lives(GOOD, {"test_coverage": 0.76}, 0.8, 30)) == []
    assert list(doubts.of_lives(GOOD, {}, 0.8, 30)) == []


def test_intervals_that_hold_too_few_lives_are_told_for_those_who_judge_too() -> None:
    (text,) = doubts.of_lives(GOOD, {"test_coverage": 0.7205}, 0.8, 9)
    assert "meant for 80% of lives held 72% of those of machines that judge: 9 machines" in text
    (text,) = doubts.of_lives(GOOD | {"held_out_coverage": 0.7}, {"test_coverage": 0.6}, 0.8, 1)
    assert "70% of those of machines that were held out and 60% of those of machines that judge: 1 machine to" in text
