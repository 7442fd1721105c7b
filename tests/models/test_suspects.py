"""Inputs that know the answer, that are labels, or that count rows are asked about; honest sensors are not."""

import numpy as np

from models.training.data.frames import Run
from models.training.suspects import Floats, counters, flags, lifelines, tellers

RNG = np.random.default_rng(0)


def _run(*columns: Floats) -> Run:
    return Run("m", np.arange(len(columns[0])), np.column_stack(columns))


def test_what_rises_by_one_step_from_row_to_row_is_a_counter_and_a_sensor_is_none() -> None:
    rows = np.arange(50.0)
    runs = [_run(rows + 7, rows * -0.5, RNG.normal(size=50), np.ones(50)), _run(*RNG.normal(size=(4, 1)))]
    (told,) = counters(["number", "countdown", "flow", "still"], runs)
    assert told.startswith("inputs number, countdown move by the same step")
    assert not list(counters(["number"], [_run(rows), _run(RNG.normal(size=9))]))


def test_a_clock_of_decimal_fractions_counts_too_and_a_few_rows_are_no_count() -> None:
    seconds, since_1970 = (np.array([float(f"{begin + at / 10:.1f}") for at in range(200)]) for begin in (0, 1.7e9))
    (told,) = counters(["seconds", "since_1970"], [_run(seconds, since_1970)])
    assert told.startswith("inputs seconds, since_1970 move by the same step")
    assert not list(lifelines(["seconds"], [_run(seconds), _run(seconds[:180])]))
    assert not list(counters(["flow"], [_run(np.array([1.0, 3.0]))]))


def test_columns_of_zeros_and_ones_are_asked_about_unless_they_never_change() -> None:
    runs = [_run(np.zeros(9), np.zeros(9), np.arange(9.0)), _run(np.ones(9), np.zeros(9), np.arange(9.0))]
    (told,) = flags(["broken", "never", "flow"], runs)
    assert told.startswith("input broken is 0 or 1")


def test_a_column_that_alone_sorts_the_bad_from_the_good_is_asked_about() -> None:
    bad = (RNG.random(1000) < 0.05).astype(np.float64)
    values = np.column_stack([bad + 0.1 * RNG.normal(size=1000), bad + RNG.normal(size=1000), -100 * bad])
    told = list(tellers(["after", "sensor", "minus"], values, bad, "broken"))
    assert [each.split(" alone ")[0] for each in told] == ["input after", "input minus"]
    assert "tells broken (area under ROC 1.000)" in told[0]


def test_a_flag_that_is_always_right_is_asked_about_however_rarely_it_is_raised() -> None:
    bad = np.zeros(1000)
    bad[:100] = 1
    mode, chance = np.zeros((2, 1000))
    mode[:20] = chance[90:110] = 1
    (told,) = tellers(["mode", "chance"], np.column_stack([mode, chance]), bad, "broken")
    assert "input mode alone tells broken (right 20 of 20 times, of 100 in all)" in told


def test_a_measured_outcome_is_told_by_its_own_copy_in_other_units_and_gaps_do_not_matter() -> None:
    quality = RNG.normal(size=400)
    outcome = np.where(np.arange(400) % 2, quality, np.nan)
    values = np.column_stack([np.exp(-quality), quality + RNG.normal(size=400)])
    (told,) = tellers(["copy", "sensor"], values, outcome, "quality")
    assert told.startswith("input copy alone tells quality (rank correlation 1.000)")


def test_the_life_left_is_told_by_a_countdown_while_an_age_is_an_honest_input() -> None:
    ages = [np.linspace(0, n, n + 1) for n in (100, 101, 102)]
    runs = [_run(age, 3 * age[::-1], RNG.normal(size=len(age))) for age in ages]
    (told,) = lifelines(["age", "left", "noise"], runs)
    assert told.startswith("input left alone tells the life left")


def test_too_few_outcomes_tell_nothing() -> None:
    bad = np.zeros(100)
    bad[:5] = 1
    assert not list(tellers(["copy"], bad[:, None], bad, "broken"))
    measured = np.where(np.arange(100) < 3, np.arange(100.0), np.nan)
    assert not list(tellers(["chance"], np.arange(100.0)[:, None], measured, "quality"))
    assert not list(counters(["one"], [_run(np.ones(1))]))
